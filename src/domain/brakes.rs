//! Brakes: how many removals a target takes within a while before a person has to agree.

use serde::{Deserialize, Serialize};

use super::Action;

/// A way to take something away from somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemovalKind {
    /// An account is deactivated.
    Deactivation,
    /// An account is deleted.
    Deletion,
    /// An account is taken out of a group.
    MembershipRemoval,
}

impl RemovalKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deactivation, Self::Deletion, Self::MembershipRemoval];

    /// As stored and shown: the key under `[mapping.brakes]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deactivation => "deactivations",
            Self::Deletion => "deletions",
            Self::MembershipRemoval => "membership_removals",
        }
    }

    /// Reads [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Stands where a group could stand, for what concerns the whole target.
pub const WHOLE_TARGET: &str = "";

/// One removal: its kind, and the group for a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// How.
    pub kind: RemovalKind,
    /// The group, for a membership; [`WHOLE_TARGET`] for an account.
    pub group: String,
}

impl Action {
    /// What the action takes away, if it takes something away.
    pub fn removal(&self) -> Option<Removal> {
        let (kind, group) = match self {
            Self::Deactivate { .. } => (RemovalKind::Deactivation, String::new()),
            Self::DeleteUser { .. } => (RemovalKind::Deletion, String::new()),
            Self::RemoveMember { group, .. } => (RemovalKind::MembershipRemoval, group.clone()),
            Self::CreateUser { .. }
            | Self::UpdateUser { .. }
            | Self::RenameUser { .. }
            | Self::Reactivate { .. }
            | Self::CreateGroup { .. }
            | Self::AddMember { .. } => return None,
        };
        Some(Removal { kind, group })
    }
}

/// A part of a whole, in ten-thousandths: `0.10` is 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u32);

impl Share {
    /// The whole.
    const WHOLE: u32 = 10_000;

    /// From ten-thousandths, at the most the whole.
    pub const fn new(ten_thousandths: u32) -> Self {
        Self(if ten_thousandths > Self::WHOLE {
            Self::WHOLE
        } else {
            ten_thousandths
        })
    }

    /// In percent, for people.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// That part of `n`, rounded down.
    pub fn of(self, n: u64) -> u64 {
        n.saturating_mul(u64::from(self.0)) / u64::from(Self::WHOLE)
    }

    /// The smallest `n` of which this part is at least `part`.
    fn reaches(self, part: u64) -> u64 {
        match u64::from(self.0) {
            0 => u64::MAX,
            share => part.saturating_mul(u64::from(Self::WHOLE)).div_ceil(share),
        }
    }
}

impl std::fmt::Display for Share {
    /// As the configuration file has it: `0.1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(Self::WHOLE))
    }
}

/// The limit on one kind of removals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// So many pass within the window, and no more.
    pub count: u32,
    /// No more than this part of what there is.
    pub share: Share,
    /// So many pass whatever the share is (never more than `count`): a tenth of twenty people is two, and three
    /// leavers on one day are no accident.
    pub at_least: u32,
    /// The sliding window, in seconds.
    pub window_s: u64,
    /// For memberships: the share also holds within each group that has at least so many members.
    pub group_size: u32,
}

impl Brake {
    /// How many removals pass within the window where there are `population` of what is removed.
    pub fn limit(&self, population: u64) -> u64 {
        let share = self.share.of(population).max(u64::from(self.at_least));
        share.min(u64::from(self.count))
    }

    /// How many members pass within the window out of a group of `size`. `None`: the group is too small for a
    /// limit of its own.
    pub fn group_limit(&self, size: u64) -> Option<u64> {
        (size >= u64::from(self.group_size))
            .then(|| self.share.of(size).max(1).min(u64::from(self.count)))
    }

    /// From this population on the limit does not grow any more: nobody needs to count further.
    pub fn enough(&self) -> u64 {
        self.share
            .reaches(u64::from(self.count))
            .max(u64::from(self.group_size))
    }
}

/// `[mapping.brakes]`. `None`: that brake is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Brakes {
    /// On deactivations.
    pub deactivations: Option<Brake>,
    /// On deletions.
    pub deletions: Option<Brake>,
    /// On memberships that end.
    pub membership_removals: Option<Brake>,
}

impl Brakes {
    /// The brake on one kind of removals.
    pub fn on(&self, kind: RemovalKind) -> Option<&Brake> {
        match kind {
            RemovalKind::Deactivation => self.deactivations.as_ref(),
            RemovalKind::Deletion => self.deletions.as_ref(),
            RemovalKind::MembershipRemoval => self.membership_removals.as_ref(),
        }
    }
}

impl Default for Brakes {
    fn default() -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            deactivations: Some(Brake {
                count: 25,
                share: Share::new(1_000),
                at_least: 3,
                window_s: HOUR,
                group_size: 0,
            }),
            // Nobody can take a deletion back.
            deletions: Some(Brake {
                count: 10,
                share: Share::new(500),
                at_least: 3,
                window_s: HOUR,
                group_size: 0,
            }),
            // Whoever moves to another department leaves a handful of groups at once.
            membership_removals: Some(Brake {
                count: 200,
                share: Share::new(2_000),
                at_least: 20,
                window_s: HOUR,
                group_size: 10,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_count_and_share_is_the_limit_and_a_few_always_pass() {
        let brake = Brakes::default().deactivations.unwrap();
        for (population, limit) in [
            (0, 3),
            (20, 3),
            (39, 3),
            (40, 4),
            (249, 24),
            (250, 25),
            (100_000, 25),
        ] {
            assert_eq!(brake.limit(population), limit, "{population}");
        }
        assert_eq!(brake.enough(), 250);
        assert_eq!(brake.limit(brake.enough()), 25);
        let none = Brake { count: 0, ..brake };
        assert_eq!(none.limit(1_000_000), 0, "a count is never exceeded");
    }

    #[test]
    fn a_group_has_a_limit_of_its_own_from_a_size_on() {
        let brake = Brakes::default().membership_removals.unwrap();
        let limits = [9, 10, 14, 15, 100, 5_000].map(|size| brake.group_limit(size));
        assert_eq!(
            limits,
            [None, Some(2), Some(2), Some(3), Some(20), Some(200)]
        );
        let fine = Brake {
            share: Share::new(1),
            ..brake
        };
        assert_eq!(fine.group_limit(10), Some(1));
    }

    #[test]
    fn shares_read_as_the_file_writes_them() {
        assert_eq!(Share::new(1_000).to_string(), "0.1");
        assert_eq!(Share::new(25).to_string(), "0.0025");
        assert_eq!(Share::new(20_000).to_string(), "1");
        assert_eq!(Share::new(0).reaches(1), u64::MAX);
    }
}
