//! Who may change something. Reading is for everybody who reaches the address; a change is for those who bring the token, and
//! where there is none, for this machine alone. A request with an Origin header comes from a web page: without a token it
//! may be anybody's page in an operator's browser.

use crate::config::{Admin, AdminAddress};
use hyper::header::{AUTHORIZATION, HeaderMap, ORIGIN};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// More than any token has; a device file or a log has more.
const TOKEN_BYTES_MAX: u64 = 4096;

/// The key that names the file.
pub(super) const TOKEN_KEY: &str = "admin.token_file";

/// Where a request comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// Through the Unix socket, whose mode has let it in.
    Socket,
    /// From an address of this machine's own.
    Loopback,
    /// From anywhere else.
    Remote,
}

/// Why a change is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Denial {
    /// A token is wanted, and this is not it. 401.
    Token(&'static str),
    /// Not from there. 403.
    Place(&'static str),
    /// The token cannot be read. 500.
    Broken(String),
}

/// The rule.
#[derive(Debug)]
pub(super) struct Access {
    token_file: Option<PathBuf>,
}

impl Access {
    /// # Errors
    /// When the token cannot be read.
    pub(super) fn new(admin: &Admin) -> Result<Self, String> {
        if let Some(path) = &admin.token_file {
            read_token(path)?;
            warn_of_readers(path);
        } else if let AdminAddress::Tcp(address) = &admin.listen
            && !address.ip().is_loopback()
        {
            tracing::warn!(
                "admin.listen = \"{address}\" without a token_file: everybody who reaches it can read, and changes are \
                 taken from this machine alone"
            );
        }
        Ok(Self {
            token_file: admin.token_file.clone(),
        })
    }

    /// Whether a change may be made. The token is read each time: it may have been replaced.
    pub(super) fn check(&self, peer: Peer, headers: &HeaderMap) -> Result<(), Denial> {
        match &self.token_file {
            Some(path) => {
                let broken = |mistake| Denial::Broken(format!("{TOKEN_KEY}: {mistake}"));
                let token = read_token(path).map_err(broken)?;
                check_token(&token, headers)
            }
            None if headers.contains_key(ORIGIN) => Err(Denial::Place(
                "a change that a web page asks for needs a token; set admin.token_file",
            )),
            None => match peer {
                Peer::Socket | Peer::Loopback => Ok(()),
                Peer::Remote => Err(Denial::Place(
                    "changes are taken from this machine alone; ask from there, or set admin.token_file",
                )),
            },
        }
    }
}

fn check_token(token: &[u8], headers: &HeaderMap) -> Result<(), Denial> {
    let Some(given) = headers.get(AUTHORIZATION) else {
        return Err(Denial::Token(
            "a change needs the header \"Authorization: Bearer TOKEN\", with the token in admin.token_file",
        ));
    };
    let given = bearer(given.as_bytes()).unwrap_or_default();
    if bool::from(given.ct_eq(token)) {
        Ok(())
    } else {
        Err(Denial::Token("this is not the token in admin.token_file"))
    }
}

/// The token of `Bearer TOKEN`, whose first word is of any case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// The first line of the file, which is not empty.
pub(super) fn read_token(path: &Path) -> Result<Vec<u8>, String> {
    let refused = |why: &str| {
        format!(
            "{}: {why}; write one line there that this process can read, such as the output of \
             `openssl rand -hex 32`",
            path.display()
        )
    };
    let bytes = read_bounded(path).map_err(|e| refused(&e.to_string()))?;
    let line = bytes.split(|byte| *byte == b'\n').next();
    let token = line.unwrap_or_default().trim_ascii();
    let fits = token.iter().all(u8::is_ascii_graphic);
    match (token.is_empty(), fits) {
        (true, _) => Err(refused("it holds no token")),
        (false, false) => Err(refused("a token has ASCII letters, digits and signs alone")),
        (false, true) => Ok(token.to_vec()),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(TOKEN_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn warn_of_readers(path: &Path) {
    const READ_BY_OTHERS: u32 = 0o004;
    let mode = path.metadata().map_or(0, |meta| meta.permissions().mode());
    if mode & READ_BY_OTHERS != 0 {
        let path = path.display();
        tracing::warn!(
            "admin.token_file: everybody on this machine can read {path}; `chmod 640 {path}`, or 600"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn with_token(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        (dir, path)
    }

    #[test]
    fn without_a_token_changes_are_for_this_machine_and_never_for_a_web_page() {
        let access = Access { token_file: None };
        let check = |peer, pairs| access.check(peer, &headers(pairs)).is_ok();
        assert!(check(Peer::Loopback, &[]) && check(Peer::Socket, &[]));
        assert!(!check(Peer::Remote, &[]));
        assert!(!check(Peer::Remote, &[("authorization", "Bearer x")]));
        for peer in [Peer::Loopback, Peer::Socket, Peer::Remote] {
            assert!(!check(peer, &[("origin", "https://example.com")]));
            assert!(!check(peer, &[("origin", "null")]));
        }
    }

    #[test]
    fn with_a_token_everybody_needs_it_and_it_is_enough() {
        let (_dir, path) = with_token("s3cret\n");
        let access = Access {
            token_file: Some(path),
        };
        for peer in [Peer::Loopback, Peer::Socket, Peer::Remote] {
            let check = |pairs: &[_]| access.check(peer, &headers(pairs));
            assert_eq!(check(&[("authorization", "Bearer s3cret")]), Ok(()));
            assert_eq!(check(&[("authorization", "bearer  s3cret")]), Ok(()));
            let from_page = [("authorization", "Bearer s3cret"), ("origin", "http://a")];
            assert_eq!(check(&from_page), Ok(()));
            for wrong in [
                "Bearer s3cre",
                "Bearer s3cretx",
                "Bearer ",
                "s3cret",
                "Basic s3cret",
                "",
            ] {
                let denied = check(&[("authorization", wrong)]);
                assert!(matches!(denied, Err(Denial::Token(_))), "{wrong:?}");
            }
            assert!(matches!(check(&[]), Err(Denial::Token(_))));
        }
    }

    #[test]
    fn a_token_that_was_replaced_holds_at_once_and_one_that_is_gone_lets_nobody_in() {
        let (_dir, path) = with_token("old");
        let access = Access {
            token_file: Some(path.clone()),
        };
        let check = |token| access.check(Peer::Loopback, &headers(&[("authorization", token)]));
        std::fs::write(&path, "new").unwrap();
        assert_eq!(check("Bearer new"), Ok(()));
        assert!(check("Bearer old").is_err());
        for nothing in ["", "\n", " \nnew", "a b\n", "\u{e4}\n"] {
            std::fs::write(&path, nothing).unwrap();
            let denied = check("Bearer ");
            assert!(matches!(denied, Err(Denial::Broken(_))), "{nothing:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(check("Bearer new"), Err(Denial::Broken(_))));
    }
}
