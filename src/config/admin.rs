//! `[admin]`: where the running proxy answers questions and takes orders.

use super::address::parse_address;
use super::document::Table;
use super::value::{self, Parsed, quoted};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::de::DeValue;

/// What the path of a Unix socket begins with.
const UNIX: &str = "unix:";

/// sun_path of unix(7), less the NUL at its end.
const PATH_BYTES_MAX: usize = 107;

/// `[admin]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admin {
    /// Where it listens.
    pub listen: AdminAddress,
    /// Whose content a change must bring along. Default none: changes are for loopback and the Unix socket.
    pub token_file: Option<PathBuf>,
}

/// `admin.listen`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminAddress {
    /// Port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:PATH`
    Unix(PathBuf),
}

impl Admin {
    /// One that listens here and asks for no token.
    pub fn at(listen: AdminAddress) -> Self {
        Self {
            listen,
            token_file: None,
        }
    }
}

impl AdminAddress {
    /// Where verbs such as `ringway status` look unless they are told.
    pub const DEFAULT: &str = "127.0.0.1:9090";
}

impl fmt::Display for AdminAddress {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Reads the table.
pub(super) fn admin(mut table: Table<'_>) -> Admin {
    let example =
        "an address, such as listen = \"127.0.0.1:9090\" or \"unix:/run/ringway/admin.sock\"";
    let listen = table.required("listen", example, |v| parse_admin_address(value::text(v)?));
    let mut admin = Admin::at(listen.unwrap_or_else(|| AdminAddress::Unix(PathBuf::new())));
    table.set("token_file", &mut admin.token_file, token_file);
    table.finish();
    admin
}

/// `IP:PORT` or `unix:PATH`
pub(super) fn parse_admin_address(text: &str) -> Parsed<AdminAddress> {
    let Some(path) = text.strip_prefix(UNIX) else {
        return parse_address(text).map(AdminAddress::Tcp);
    };
    if path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains('\0') {
        return Err(format!(
            "{} is not the path of a socket; write unix: and 1 to {PATH_BYTES_MAX} bytes, such as \
             \"unix:/run/ringway/admin.sock\"",
            quoted(text)
        ));
    }
    Ok(AdminAddress::Unix(PathBuf::from(path)))
}

/// A path; the empty string is none.
fn token_file(value: &DeValue) -> Parsed<Option<PathBuf>> {
    let path = value::text(value)?;
    if path.contains('\0') {
        return Err(format!("{} is not a path", quoted(path)));
    }
    Ok((!path.is_empty()).then(|| PathBuf::from(path)))
}
