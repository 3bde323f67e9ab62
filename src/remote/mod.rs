//! The verbs that talk to a running proxy: a question or an order over its admin address, and the answer for people or for
//! programs. Nothing of the proxy's own code is used but the words of the command line: what is not in the answers
//! (`docs/admin.md`) is not known here.

mod http;
mod seen;
mod table;
mod top;

use crate::config::cli::{self, Change, ChangeBackend, Target, exit};
use crate::config::{AdminAddress, duration_text};
use http::{Answer, Question};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use seen::Status;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// What may be asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// `ringway drain`
    Drain,
    /// `ringway undrain`
    Undrain,
    /// `ringway reload`
    Reload,
    /// `ringway backend`
    Backend(ChangeBackend),
    /// `ringway kill`
    Kill(u64),
}

/// Why a verb came to nothing: what to say, and what to end with.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

/// What the proxy would not do (plainly 1).
const REFUSED: u8 = 1;

/// `ringway status`
pub fn status(args: &cli::Status) -> ExitCode {
    conclude(
        question(&args.target, "GET", "/status.json").and_then(|question| {
            let answer = question.ask()?;
            if args.json {
                return Ok(answer.body + "\n");
            }
            let status: Status = answer.read()?;
            Ok(table::status(&status))
        }),
    )
}

/// `ringway top`
pub fn top(args: &cli::Top) -> ExitCode {
    match question(&args.target, "GET", "/status.json").and_then(|it| top::watch(&it, args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The verbs that change something.
pub fn change(target: &Target, asked: &Asked) -> ExitCode {
    conclude(order(target, asked).and_then(|question| {
        let done: seen::Done = question.ask()?.read()?;
        Ok(done.done + "\n")
    }))
}

fn order(target: &Target, asked: &Asked) -> Result<Question, Failure> {
    let post = |path: &str| question(target, "POST", path);
    match asked {
        Asked::Drain => post("/drain"),
        Asked::Undrain => post("/undrain"),
        Asked::Reload => Ok(Question {
            // What is wrong then is the configuration.
            code_of_400: exit::CONFIG,
            ..post("/reload")?
        }),
        Asked::Backend(args) => {
            let segment = |name| utf8_percent_encode(name, NON_ALPHANUMERIC);
            let (upstream, backend) = (segment(&args.upstream), segment(&args.backend));
            Ok(Question {
                body: body(args),
                ..post(&format!("/upstreams/{upstream}/backends/{backend}"))?
            })
        }
        Asked::Kill(id) => question(target, "DELETE", &format!("/connections/{id}")),
    }
}

/// What does not go together, the proxy says.
fn body(args: &ChangeBackend) -> String {
    let change = match args.change {
        Change::State(state) => format!("\"state\": \"{}\"", state.word()),
        Change::Weight(weight) => format!("\"weight\": {weight}"),
    };
    let over = args.over.map(duration_text);
    let over = over.map_or_else(String::new, |over| format!(", \"over\": \"{over}\""));
    format!("{{{change}{over}}}")
}

fn question(target: &Target, method: &'static str, path: &str) -> Result<Question, Failure> {
    let token = target.token_file.as_deref().map(read_token).transpose()?;
    Ok(Question {
        admin: target.admin.clone(),
        method,
        path: path.to_owned(),
        token,
        body: String::new(),
        code_of_400: REFUSED,
    })
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure {
        message: format!("--token-file {}: {e}", path.display()),
        code: exit::OS,
    })?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

impl Question {
    /// The answer of a proxy that did what it was asked.
    fn ask(&self) -> Result<Answer, Failure> {
        let answer = http::exchange(self).map_err(|e| self.unreachable(&e))?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let message = match serde_json::from_str::<seen::Mistake>(&answer.body) {
            Ok(mistake) => mistake.error,
            Err(_) => format!("{} answers {} and no ringway's", self.admin, answer.status),
        };
        let code = if answer.status == 400 {
            self.code_of_400
        } else {
            REFUSED
        };
        Err(Failure { message, code })
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let fix = match (&self.admin, error.kind()) {
            (_, io::ErrorKind::PermissionDenied) => {
                "its mode is 0660: run this as its owner or in its group"
            }
            (AdminAddress::Tcp(_), io::ErrorKind::ConnectionRefused) => {
                "nobody listens there: is ringway running, with [admin] in its configuration or --admin? Another address is \
                 named with --admin"
            }
            (AdminAddress::Unix(_), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                "nobody listens there: is ringway running, with this path as admin.listen? Another one is named with --admin"
            }
            (AdminAddress::Tcp(_) | AdminAddress::Unix(_), _) => {
                "is it ringway that listens there? Another address is named with --admin"
            }
        };
        Failure {
            message: format!("cannot ask {}: {error}; {fix}", self.admin),
            code: exit::OS,
        }
    }
}

impl Answer {
    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(|e| Failure {
            message: format!("an answer that this version does not understand: {e}"),
            code: REFUSED,
        })
    }
}

impl Failure {
    fn report(self) -> ExitCode {
        eprintln!("ringway: {}", self.message);
        ExitCode::from(self.code)
    }
}

fn conclude(told: Result<String, Failure>) -> ExitCode {
    match told.and_then(|text| print(&text)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// To standard output. `false` when its reader has seen enough.
fn print(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure {
            message: format!("cannot write to standard output: {e}"),
            code: exit::OS,
        }),
    }
}
