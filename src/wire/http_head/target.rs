//! What a request asks for: a path, or a URL as clients send it to proxies (RFC 9112, section 3.2).

use super::{Host, Refusal};

/// How the client's bytes travel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// In TLS.
    Https,
}

/// A request target in its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target<'a> {
    /// Of a URL, whose host goes before the Host field.
    pub(super) authority: Option<(Scheme, Host<'a>)>,
    /// At least `/`.
    pub(super) path: &'a str,
    /// Without its question mark.
    pub(super) query: Option<&'a str>,
}

impl Scheme {
    /// The word in a URL and in X-Forwarded-Proto.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is said.
    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.word().eq_ignore_ascii_case(word))
    }
}

impl<'a> Target<'a> {
    pub(super) fn parse(method: &str, text: &'a str) -> Result<Self, Refusal> {
        if method == "CONNECT" {
            return Err(Refusal::Connect);
        }
        if text == "*" {
            return Err(Refusal::Asterisk);
        }
        // A fragment never leaves a client, and servers differ on whether it is part of the path (CVE-2023-45539).
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        {
            return Err(Refusal::Target);
        }
        if text.starts_with('/') {
            return Ok(Self::from_path(None, text));
        }
        Self::parse_url(text)
    }

    fn parse_url(text: &'a str) -> Result<Self, Refusal> {
        let (scheme, rest) = text.split_once("://").ok_or(Refusal::Target)?;
        let scheme = Scheme::of(scheme).ok_or(Refusal::Target)?;
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = Host::parse(host).ok_or(Refusal::HostSyntax)?;
        Ok(Self::from_path(Some((scheme, host)), path))
    }

    fn from_path(authority: Option<(Scheme, Host<'a>)>, text: &'a str) -> Self {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        Self {
            authority,
            path: if path.is_empty() { "/" } else { path },
            query,
        }
    }
}
