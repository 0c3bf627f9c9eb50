//! What a run did, in numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Requests sent to the domain.
    pub requests: u64,
    /// Users read.
    pub users: u64,
    /// Groups read.
    pub groups: u64,
    /// Memberships read.
    pub members: u64,
    /// Grants read.
    pub grants: u64,
    /// Users and groups made.
    pub created: u64,
    /// Users and groups changed.
    pub changed: u64,
    /// Users and groups that the domain has no more.
    pub removed: u64,
    /// Memberships added.
    pub joined: u64,
    /// Memberships removed.
    pub left: u64,
    /// Users whom the application is granted to from now on.
    pub granted: u64,
    /// Users whom it is granted to no more.
    pub ungranted: u64,
    /// Users whom a push took away and who stay away.
    pub revoked: u64,
    /// What the mirror refused.
    pub refused: u64,
    /// What was not seen and not asked about in this run; it stays, and the next run asks.
    pub unconfirmed: u64,
    /// Changes that a push should have brought.
    pub missed_pushes: u64,
}

impl Counts {
    /// Those that are not zero, in words.
    pub fn in_words(&self) -> Vec<(&'static str, u64)> {
        let mut words = vec![
            ("requests to the domain", self.requests),
            ("users read", self.users),
            ("groups read", self.groups),
            ("memberships read", self.members),
            ("grants read", self.grants),
            ("created", self.created),
            ("changed", self.changed),
            ("removed", self.removed),
            ("memberships added", self.joined),
            ("memberships removed", self.left),
            ("granted", self.granted),
            ("not granted any more", self.ungranted),
            ("taken away by a push, left away", self.revoked),
            ("refused", self.refused),
            (
                "not seen, to be asked about in the next run",
                self.unconfirmed,
            ),
            ("missed pushes", self.missed_pushes),
        ];
        words.retain(|(_, number)| *number > 0);
        words
    }

    /// How much of the mirror changed.
    pub fn changes(&self) -> u64 {
        self.created + self.changed + self.removed + self.joined + self.left
    }

    /// Adds what became of one user.
    pub(super) fn note(&mut self, synced: &super::Synced) {
        self.removed += u64::from(synced.removed && synced.changed);
        self.revoked += u64::from(synced.revoked);
        self.refused += u64::from(synced.refused.is_some());
        self.joined += synced.joined as u64;
        self.left += synced.left as u64;
        self.changed += u64::from(synced.changed && !synced.removed);
        self.missed_pushes += u64::from(synced.missed_push);
    }
}
