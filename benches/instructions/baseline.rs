//! Stored counts, and what the new ones are beside them.

use crate::cases::Case;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// A count of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) case: Case,
    /// Instructions per unit.
    pub(crate) instructions: f64,
}

/// What counts depend on besides our code: another compiler makes other instructions of the same source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Compiler {
    /// What `rustc --version` says.
    rustc: String,
    /// The processor's family.
    arch: String,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// How much more, in percent, is a regression.
    tolerance: f64,
    compiler: Compiler,
    /// Instructions per unit, by case.
    instructions: BTreeMap<String, f64>,
}

/// What a count is beside the stored one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Judgement {
    /// Nothing is stored, or another compiler's.
    None,
    /// Within the tolerance; the change in percent.
    Same { stored: f64, change: f64 },
    /// Fewer than stored: worth storing.
    Better { stored: f64, change: f64 },
    /// A regression.
    Worse { stored: f64, change: f64 },
}

/// Far above what the same binary differs by from run to run (nothing), far below what anybody should get used to.
const TOLERANCE: f64 = 3.0;

impl Compiler {
    /// The one that cargo has just used: the first in the path, unless RUSTC names another.
    pub(crate) fn current() -> io::Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc).arg("--version").output()?;
        Ok(Self {
            rustc: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        })
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.rustc, self.arch)
    }
}

impl Baseline {
    /// What is stored there; `None` when there is no such file.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let parsed = toml::from_str(&text);
        parsed.map(Some).map_err(|error| {
            let error = format!("{}: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }

    /// Puts new counts in the place of old ones. Those of cases that were not counted stay, unless they are another
    /// compiler's.
    pub(crate) fn updated(stored: Option<Self>, compiler: Compiler, counts: &[Count]) -> Self {
        let tolerance = stored.as_ref().map_or(TOLERANCE, |it| it.tolerance);
        let kept = stored.filter(|it| it.compiler == compiler);
        let mut instructions = kept.map(|it| it.instructions).unwrap_or_default();
        for count in counts {
            let rounded = (count.instructions * 10.0).round() / 10.0;
            instructions.insert(count.case.to_string(), rounded);
        }
        Self {
            tolerance,
            compiler,
            instructions,
        }
    }

    /// Stores it.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let head = "# Instructions per unit, see docs/benchmarks.md. \
                    Written by `cargo bench --bench instructions -- --write`.\n";
        fs::write(path, format!("{head}{text}"))
    }

    /// Why nothing can be judged by it.
    pub(crate) fn mismatch(&self, compiler: &Compiler) -> Option<String> {
        (self.compiler != *compiler).then(|| {
            format!(
                "not judged: the stored counts are of {}, these of {compiler}; --write stores these",
                self.compiler
            )
        })
    }

    /// A count beside the stored one.
    pub(crate) fn judge(&self, count: Count) -> Judgement {
        let Some(&stored) = self.instructions.get(&count.case.to_string()) else {
            return Judgement::None;
        };
        let change = (count.instructions / stored - 1.0) * 100.0;
        if change > self.tolerance {
            Judgement::Worse { stored, change }
        } else if change < -self.tolerance {
            Judgement::Better { stored, change }
        } else {
            Judgement::Same { stored, change }
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stored, change, word) = match *self {
            Self::None => return write!(f, "{:>10} {:>9}", "–", "–"),
            Self::Same { stored, change } => (stored, change, ""),
            Self::Better { stored, change } => (stored, change, "  better: --write keeps it"),
            Self::Worse { stored, change } => (stored, change, "  REGRESSED"),
        };
        write!(f, "{stored:>10.1} {change:>+8.2}%{word}")
    }
}
