//! What an account can lose where a product knows no inactive accounts.

use serde::{Deserialize, Serialize};

use super::Owner;

/// What gives an account its access: taken from it when the person leaves, and given back on return.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Holdings {
    /// The groups that it is a direct member of.
    #[serde(default)]
    pub groups: Vec<HeldGroup>,
    /// Permissions that it holds itself, as the product writes them.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Groups that it stays in: they are protected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

/// A membership that is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HeldGroup {
    /// Name of the group, as the target writes it.
    pub name: String,
    /// Whose the membership is.
    pub owner: Owner,
}

impl Holdings {
    /// Adds what is not remembered yet. Of what was taken half, the first half is seen no more: so nothing is ever
    /// forgotten here, and a membership stays whose it was.
    pub fn add(&mut self, more: Self) {
        for group in more.groups {
            let folded = group.name.to_lowercase();
            if !self.groups.iter().any(|g| g.name.to_lowercase() == folded) {
                self.groups.push(group);
            }
        }
        for permission in more.permissions {
            if !self.permissions.contains(&permission) {
                self.permissions.push(permission);
            }
        }
        self.kept = more.kept;
    }

    /// Whose the membership in a group was.
    pub fn owner_of(&self, group: &str) -> Option<Owner> {
        let folded = group.to_lowercase();
        let mut groups = self.groups.iter();
        groups
            .find(|held| held.name.to_lowercase() == folded)
            .map(|held| held.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, owner: Owner) -> HeldGroup {
        let name = name.to_owned();
        HeldGroup { name, owner }
    }

    #[test]
    fn a_poorer_memory_never_takes_the_place_of_a_fuller_one() {
        let mut memory = Holdings {
            groups: vec![held("Devs", Owner::Created), held("ops", Owner::Foreign)],
            permissions: vec!["PROJECT_CREATE".to_owned()],
            kept: Vec::new(),
        };
        let full = memory.clone();
        memory.add(Holdings::default());
        assert_eq!(memory, full);
        memory.add(Holdings {
            groups: vec![held("devs", Owner::Foreign), held("late", Owner::Adopted)],
            permissions: vec!["LICENSED_USER".to_owned()],
            kept: vec!["admins".to_owned()],
        });
        let names: Vec<&str> = memory.groups.iter().map(|g| g.name.as_str()).collect();
        assert_eq!(names, ["Devs", "ops", "late"]);
        assert_eq!(memory.owner_of("DEVS"), Some(Owner::Created));
        assert_eq!(memory.permissions, ["PROJECT_CREATE", "LICENSED_USER"]);
        assert_eq!(memory.kept, ["admins"]);
    }
}
