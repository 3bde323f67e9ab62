//! What an admin has changed of backends that the file does not say: shown wherever backends are shown, and told when a
//! reload takes it back.

use crate::config::{AdminState, Backend, Config};
use crate::upstream::Upstream;

/// What is not as in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The backend is in no file.
    Added,
    /// It is in the file alone.
    Removed,
    /// It has another share.
    Weight,
    /// Something else is wanted of it.
    State,
}

impl Change {
    /// The word for status and the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Weight => "weight",
            Self::State => "state",
        }
    }
}

/// A change, and of what: the names of the upstream and the backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Changed {
    pub(super) upstream: String,
    pub(super) backend: String,
    pub(super) change: Change,
}

/// What is different of a backend that runs. `written` is its upstream's part of the file.
pub(super) fn of(written: &[Backend], now: &Backend, wanted: AdminState) -> Vec<Change> {
    let Some(before) = written.iter().find(|it| is_of(now, it)) else {
        return vec![Change::Added];
    };
    // The weights of an SRV name are its records', and its backends have other names than it has.
    let weight = before.name == now.name && before.weight != now.weight;
    let changes = [
        (Change::Weight, weight),
        (Change::State, before.state != wanted),
    ];
    let different = changes.into_iter().filter(|(_, is)| *is);
    different.map(|(change, _)| change).collect()
}

/// The names of those that the file has and the running upstream has not.
pub(super) fn removed(written: &[Backend], now: &[Backend]) -> Vec<String> {
    let is_gone = |it: &&Backend| !now.iter().any(|backend| is_of(backend, it));
    let gone = written.iter().filter(is_gone);
    gone.map(|it| it.name.clone()).collect()
}

/// Everything that is different.
pub(super) fn all(file: &Config, running: &[Upstream]) -> Vec<Changed> {
    let each = running.iter().flat_map(|upstream| {
        let settings = upstream.settings();
        let written = written_of(file, &settings.name);
        let live = settings.backends.iter().zip(upstream.live().members());
        let changes = live.flat_map(|(backend, live)| {
            let changes = of(written, backend, live.admin()).into_iter();
            changes.map(|change| (backend.name.clone(), change))
        });
        let removed = removed(written, &settings.backends).into_iter();
        let removed = removed.map(|name| (name, Change::Removed));
        changes
            .chain(removed)
            .map(|(backend, change)| Changed {
                upstream: settings.name.clone(),
                backend,
                change,
            })
            .collect::<Vec<_>>()
    });
    each.collect()
}

/// The backends that the file has for an upstream.
pub(super) fn written_of<'a>(file: &'a Config, upstream: &str) -> &'a [Backend] {
    let found = file.upstreams.iter().find(|it| it.name == upstream);
    found.map_or(&[], |it| &it.backends)
}

/// Whether a backend that runs is this one of the file, or one of the addresses of its name.
fn is_of(now: &Backend, written: &Backend) -> bool {
    let rest = now.name.strip_prefix(&written.name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Changes in a line: `feed/b weight, feed/c added`.
pub(super) fn listed(changes: &[Changed]) -> String {
    let each = changes.iter().map(|it| {
        let Changed {
            upstream,
            backend,
            change,
        } = it;
        format!("{upstream}/{backend} {}", change.word())
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also one of the addresses of a name: no file has a slash in it.
    fn backend(name: &str, weight: u16) -> Backend {
        let any = Backend::parse("address = \"10.0.0.1:80\"\n", "backend").unwrap();
        Backend {
            name: name.to_owned(),
            weight,
            ..any
        }
    }

    #[test]
    fn what_is_as_in_the_file_is_no_change() {
        let file = [backend("a", 2)];
        assert_eq!(of(&file, &backend("a", 2), AdminState::Ready), []);
        let both = [Change::Weight, Change::State];
        assert_eq!(of(&file, &backend("a", 3), AdminState::Drain), both);
        assert_eq!(
            of(&file, &backend("ab", 2), AdminState::Ready),
            [Change::Added]
        );
    }

    #[test]
    fn the_addresses_of_a_name_are_its_own_with_whatever_weight() {
        let file = [backend("db.example.com:5432", 1)];
        // Nobody can write such a name: it is made of the name and what DNS said.
        let mut address = backend("x", 9);
        address.name = "db.example.com:5432/10.0.0.7".into();
        assert_eq!(of(&file, &address, AdminState::Ready), []);
        assert_eq!(removed(&file, &[address]), [""; 0]);
        assert_eq!(removed(&file, &[backend("x", 1)]), ["db.example.com:5432"]);
    }
}
