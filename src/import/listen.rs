//! `listen` and its parameters.

use super::draft::Item;
use super::remarks::{Kind, Remark};
use super::syntax::Directive;
use super::values::{duration, listen, time};
use std::net::{Ipv4Addr, SocketAddr};

/// What the `listen` directives of a server say together.
#[derive(Default)]
pub(super) struct Listen<'a> {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) ssl: Option<&'a Directive>,
    pub(super) proxy_protocol: Option<&'a Directive>,
    pub(super) is_default: bool,
    /// `backlog` and `keepalive`.
    pub(super) keys: Vec<Item<'a>>,
}

impl<'a> Listen<'a> {
    pub(super) fn read(directives: &[&'a Directive], remarks: &mut Vec<Remark>) -> Self {
        let mut this = Self::default();
        for directive in directives {
            this.add(directive, remarks);
        }
        this.addresses.sort_unstable();
        this.addresses.dedup();
        this
    }

    fn add(&mut self, directive: &'a Directive, remarks: &mut Vec<Remark>) {
        let mut lost = |text: &str| remarks.push(Remark::new(directive, Kind::Lost, text));
        if directive.words.iter().any(|word| word == "udp") {
            return lost("ringway relays TCP; leave UDP to nginx");
        }
        let Some(addresses) = listen(directive.word()) else {
            return lost("write it as IP:PORT; at most 1024 ports in a range");
        };
        if directive.words.iter().any(|word| word == "ipv6only=off") {
            let both = addresses.iter().filter(|it| it.ip().is_unspecified());
            let v4 = both.map(|it| SocketAddr::from((Ipv4Addr::UNSPECIFIED, it.port())));
            self.addresses.extend(v4);
        }
        self.addresses.extend(addresses);
        for parameter in directive.words.iter().skip(1) {
            if let Err((kind, text)) = self.parameter(parameter, directive) {
                remarks.push(Remark::new(directive, kind, format!("{parameter}: {text}")));
            }
        }
    }

    fn parameter(
        &mut self,
        parameter: &str,
        from: &'a Directive,
    ) -> Result<(), (Kind, &'static str)> {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key {
            "ssl" => self.ssl = Some(from),
            "proxy_protocol" => self.proxy_protocol = Some(from),
            "default" | "default_server" => self.is_default = true,
            "backlog" => self.keys.push(Item::key("backlog", value, from)),
            "so_keepalive" => return self.keepalive(value, from),
            // So it is anyhow.
            "bind" | "ipv6only" | "reuseport" | "accept_filter" | "tcp_nodelay" => {}
            "deferred" => return Err((Kind::Note, "clients are accepted at once")),
            "rcvbuf" | "sndbuf" => {
                return Err((
                    Kind::Lost,
                    "the system sizes buffers (net.ipv4.tcp_rmem, tcp_wmem)",
                ));
            }
            _ => return Err((Kind::Lost, "has no counterpart")),
        }
        Ok(())
    }

    /// `on`, `off`, or `idle:interval:count` with any of them left out.
    fn keepalive(&mut self, value: &str, from: &'a Directive) -> Result<(), (Kind, &'static str)> {
        match value {
            "on" => return Ok(()),
            "off" => {
                return Err((
                    Kind::Note,
                    "clients always have keepalive; a long `idle` comes close to none",
                ));
            }
            _ => {}
        }
        let mut words = value.split(':');
        let parts = ["idle", "interval"].into_iter().filter_map(|name| {
            let time = time(words.next()?)?;
            Some(format!("{name} = {}", duration(time)))
        });
        let mut parts: Vec<_> = parts.collect();
        let count = value.split(':').nth(2).filter(|count| !count.is_empty());
        parts.extend(count.map(|count| format!("count = {count}")));
        if parts.is_empty() {
            return Err((Kind::Lost, "is no keepalive that nginx knows"));
        }
        let table = format!("{{ {} }}", parts.join(", "));
        self.keys.push(Item::key("keepalive", table, from));
        Ok(())
    }
}
