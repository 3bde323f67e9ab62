//! What one configuration has and another has not, for the log: an operator who reloads wants to see that the change is
//! the one meant.

use crate::config::{Backend, Config, Listener, Upstream};
use std::fmt;

/// Names of what came, went and changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Difference(Vec<(&'static str, Changes)>);

#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

/// More names than this say less than their number.
const NAMES_MAX: usize = 8;

impl Difference {
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let mut all = vec![
            ("process", Changes::of_one(old.process == new.process)),
            ("log", Changes::of_one(old.log == new.log)),
            (
                "listeners",
                Changes::between(&old.listeners, &new.listeners),
            ),
            (
                "upstreams",
                Changes::between(&old.upstreams, &new.upstreams),
            ),
            ("backends", backends(old, new)),
        ];
        all.retain(|(_, changes)| *changes != Changes::default());
        Self(all)
    }
}

/// Of upstreams that both have.
fn backends(old: &Config, new: &Config) -> Changes {
    let mut all = Changes::default();
    for upstream in &new.upstreams {
        let mut others = old.upstreams.iter();
        let Some(other) = others.find(|it| it.name == upstream.name) else {
            continue;
        };
        let mut changes = Changes::between(&other.backends, &upstream.backends);
        changes
            .names_mut()
            .for_each(|name| *name = format!("{}/{name}", upstream.name));
        all.added.append(&mut changes.added);
        all.removed.append(&mut changes.removed);
        all.changed.append(&mut changes.changed);
    }
    all
}

impl Changes {
    fn of_one(same: bool) -> Self {
        let changed = (!same).then(String::new);
        Self {
            changed: changed.into_iter().collect(),
            ..Self::default()
        }
    }

    fn between<T: Named>(old: &[T], new: &[T]) -> Self {
        let without = |these: &[T], those: &[T]| {
            let has = |it: &&T| those.iter().any(|other| other.name() == it.name());
            let missing = these.iter().filter(|it| !has(it));
            missing.map(|it| it.name().to_owned()).collect()
        };
        let differs = |it: &&T| {
            let same = old.iter().find(|other| other.name() == it.name());
            same.is_some_and(|other| !other.is_same(it))
        };
        let changed = new.iter().filter(differs);
        Self {
            added: without(new, old),
            removed: without(old, new),
            changed: changed.map(|it| it.name().to_owned()).collect(),
        }
    }

    fn names_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let lists = [&mut self.added, &mut self.removed, &mut self.changed];
        lists.into_iter().flatten()
    }
}

/// What a configuration has several of.
trait Named {
    fn name(&self) -> &str;
    /// Whether nothing about it is different but what is told of elsewhere.
    fn is_same(&self, other: &Self) -> bool;
}

impl Named for Listener {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_same(&self, other: &Self) -> bool {
        // Where upstreams stand in their list is nobody's change.
        let without_places = |it: &Self| {
            let mut it = it.clone();
            it.upstream = it.upstream.map(|_| 0);
            it.routes.iter_mut().for_each(|route| route.upstream = 0);
            it
        };
        without_places(self) == without_places(other)
    }
}

impl Named for Upstream {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_same(&self, other: &Self) -> bool {
        let without_backends = |it: &Self| Self {
            backends: Vec::new(),
            ..it.clone()
        };
        without_backends(self) == without_backends(other)
    }
}

impl Named for Backend {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

impl fmt::Display for Difference {
    /// `listeners +feed; backends +feed/10.0.0.3:80 -feed/10.0.0.1:80 ~feed/10.0.0.2:80`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (at, (what, changes)) in self.0.iter().enumerate() {
            let before = if at == 0 { "" } else { "; " };
            write!(f, "{before}{what}")?;
            let lists = [
                ('+', &changes.added),
                ('-', &changes.removed),
                ('~', &changes.changed),
            ];
            for (sign, names) in lists {
                write_names(f, sign, names)?;
            }
        }
        Ok(())
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, sign: char, names: &[String]) -> fmt::Result {
    if names.len() > NAMES_MAX {
        return write!(f, " {sign}{}", names.len());
    }
    let named = names.iter().filter(|name| !name.is_empty());
    named
        .into_iter()
        .try_for_each(|name| write!(f, " {sign}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "test").expect("a valid configuration")
    }

    fn feed(listener: &str, upstream: &str, addresses: &[&str]) -> String {
        let backend = |address: &&str| format!("[[upstream.backend]]\naddress = \"{address}\"\n");
        let backends: String = addresses.iter().map(backend).collect();
        format!(
            "[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n{listener}\n\
             [[upstream]]\nname = \"feed\"\n{upstream}\n{backends}"
        )
    }

    fn told(old: &str, new: &str) -> String {
        Difference::between(&config(old), &config(new)).to_string()
    }

    #[test]
    fn what_came_went_and_changed_is_named() {
        let old = feed("", "", &["10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(told(&old, &old), "nothing");
        let new = feed("nodelay = false", "", &["10.0.0.2:80", "10.0.0.3:80"]);
        assert_eq!(
            told(&old, &new),
            "listeners ~feed; backends +feed/10.0.0.3:80 -feed/10.0.0.1:80"
        );
        let new = feed("", "max_fails = 9", &["10.0.0.1:80", "10.0.0.2:80"]) + "weight = 3\n";
        assert_eq!(
            told(&old, &new),
            "upstreams ~feed; backends ~feed/10.0.0.2:80"
        );
    }

    #[test]
    fn an_upstream_that_moves_in_the_file_changes_nothing_of_others() {
        let old = feed("", "", &["10.0.0.1:80"]);
        let other =
            "[[upstream]]\nname = \"other\"\n[[upstream.backend]]\naddress = \"10.0.0.9:80\"\n";
        let new = other.to_owned() + &old;
        assert_eq!(told(&old, &new), "upstreams +other");
    }

    #[test]
    fn many_names_are_a_number() {
        let many: Vec<_> = (1..=20).map(|n| format!("10.0.0.{n}:80")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let (old, new) = (feed("", "", &many[..1]), feed("", "", &many));
        assert_eq!(told(&old, &new), "backends +19");
    }
}
