//! Who is live already in a mapping that is in shadow mode for everybody else.

use super::pattern::Patterns;
use crate::domain::Mode;

/// Begins an entry that is about groups.
const GROUP: &str = "group:";

/// `live_for`, compiled.
#[derive(Debug, Clone, Default)]
pub(super) struct Pilot {
    names: Patterns,
    groups: Patterns,
}

impl Pilot {
    /// Reads the list; the error says what is wrong with it.
    pub(super) fn compile(mode: Mode, entries: &[String]) -> Result<Self, String> {
        if mode == Mode::Live && !entries.is_empty() {
            return Err(
                "in live mode everyone is live: set mode = \"shadow\", or leave live_for out"
                    .to_owned(),
            );
        }
        let (groups, names): (Vec<&String>, Vec<&String>) =
            entries.iter().partition(|entry| entry.starts_with(GROUP));
        let groups: Vec<String> = groups
            .iter()
            .filter_map(|entry| entry.strip_prefix(GROUP))
            .map(|name| name.trim().to_owned())
            .collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        Ok(Self {
            names: Patterns::compile(&names).map_err(|(_, text)| text)?,
            groups: Patterns::compile(&groups).map_err(|(_, text)| text)?,
        })
    }

    /// Whether somebody who goes by these names and is in these groups is among them.
    pub(super) fn includes<'a>(
        &self,
        mut names: impl Iterator<Item = &'a str>,
        mut groups: impl Iterator<Item = &'a str>,
    ) -> bool {
        names.any(|name| self.names.matching(name).is_some())
            || groups.any(|name| self.groups.matching(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(entries: &[&str], names: &[&str], groups: &[&str]) -> bool {
        let entries: Vec<String> = entries.iter().map(|&e| e.to_owned()).collect();
        Pilot::compile(Mode::Shadow, &entries)
            .unwrap()
            .includes(names.iter().copied(), groups.iter().copied())
    }

    #[test]
    fn names_addresses_and_groups_are_told_apart() {
        let entries = ["ada@example.com", "*@pilot.example.com", "group:Pilot *"];
        assert!(includes(&entries, &["ada", "Ada@Example.com"], &[]));
        assert!(includes(&entries, &["joe@pilot.example.com"], &[]));
        assert!(includes(&entries, &["joe"], &["pilot users"]));
        assert!(!includes(&entries, &["joe", "pilot users"], &["Staff"]));
        assert!(!includes(&[], &["ada"], &["Pilot 1"]));
    }

    #[test]
    fn a_list_that_means_nothing_is_refused() {
        let all = ["*".to_owned()];
        assert!(Pilot::compile(Mode::Live, &all).is_err());
        assert!(Pilot::compile(Mode::Live, &[]).is_ok());
        assert!(Pilot::compile(Mode::Paused, &all).is_ok());
        assert!(Pilot::compile(Mode::Shadow, &["group: ".to_owned()]).is_err());
    }
}
