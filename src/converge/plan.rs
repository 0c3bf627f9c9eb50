//! From what is wanted and what is there to the fewest operations. Pure.

use std::collections::BTreeMap;

use crate::clock::{Micros, rfc3339};
use crate::domain::{
    Action, Desired, DesiredAccount, ExistingGroups, Holdings, MappingSettings, OnDelete,
    Operation, Owner, Presence,
};
use crate::scim::fold::fold_text;
use crate::targets::Capabilities;

/// What a target has for one user, as far as it is known: the ledger, corrected by what was just read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Current {
    /// The account, if there is one.
    pub account: Option<CurrentAccount>,
    /// Its memberships by folded group name: the name as the target writes it, and whose it is.
    pub groups: BTreeMap<String, (String, Owner)>,
    /// Since when the person is not wanted, as far as is known.
    pub unwanted_since: Option<Micros>,
}

/// The account part of [`Current`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CurrentAccount {
    /// The product's own stable key.
    pub remote_id: String,
    /// User name.
    pub username: String,
    /// Display name.
    pub display_name: String,
    /// E-mail address.
    pub email: String,
    /// Whether it can sign in.
    pub active: bool,
    /// Whose it is.
    pub owner: Owner,
    /// What was taken from it, or may have been, and was not given back.
    pub taken: Option<Holdings>,
}

/// What the planner needs to know about a wanted group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupState {
    /// The target has it.
    Exists,
    /// The target has it, and Usher did not make it.
    Foreign,
    /// The target does not have it.
    Missing,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// In this order. Memberships of an account that is yet to be made carry an empty `remote_id`.
    pub actions: Vec<Action>,
    /// Memberships that are wanted and were there before Usher: they become Usher's.
    pub adopt: Vec<String>,
    /// What the rules or the protections kept from being done, in words.
    pub notes: Vec<String>,
    /// The account cannot be made yet: what the source has not sent.
    pub waiting: Option<String>,
    /// When the account is to be deleted, if that is not now.
    pub delete_at: Option<Micros>,
    /// What a brake holds of it, and why. It is not among the actions any more.
    pub held: Option<String>,
    /// The same as operations.
    pub held_actions: Vec<Action>,
    /// Some of the actions are there because of an undo.
    pub gives_back: bool,
}

/// What a person had given back that was taken, and that stays until somebody releases it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Undone {
    /// Access to the account.
    pub(super) access: bool,
    /// Memberships: the group, and whose the membership was.
    pub(super) groups: Vec<(String, Owner)>,
    /// Who had it given back, and why that was taken: in words.
    pub(super) because: String,
}

impl Undone {
    /// Whose the membership in a group was, if it is given back.
    pub(super) fn owner_of(&self, group: &str) -> Option<Owner> {
        let folded = fold_text(group);
        let mut groups = self.groups.iter();
        groups
            .find(|(name, _)| fold_text(name) == folded)
            .map(|(_, owner)| *owner)
    }
}

/// The protections that hold for one target: names that are never changed.
pub(super) trait Protection {
    /// The pattern that protects this user name.
    fn user(&self, name: &str) -> Option<String>;
    /// The pattern that protects this group.
    fn group(&self, name: &str) -> Option<String>;
}

/// What may be done: by the rules, and by the product's nature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    /// The rules.
    pub(super) settings: &'a MappingSettings,
    /// The product.
    pub(super) capabilities: &'a Capabilities,
    /// The present.
    pub(super) now: Micros,
}

impl Means<'_> {
    /// `Err`: why not, in words.
    fn may(self, operation: Operation) -> Result<(), String> {
        let (name, able) = match operation {
            Operation::Create => ("create", self.capabilities.create),
            Operation::Update => ("update", self.capabilities.update),
            Operation::Rename => ("rename", self.capabilities.rename),
            Operation::Deactivate => ("deactivate", self.capabilities.deactivate),
            Operation::Reactivate => ("reactivate", self.capabilities.reactivate),
            Operation::Delete => ("delete", self.capabilities.delete),
        };
        if !able {
            return Err(format!(
                "{} cannot {name} accounts",
                self.capabilities.product
            ));
        }
        if !self.settings.may(operation) {
            return Err(format!("the operation \"{name}\" is off"));
        }
        Ok(())
    }
}

/// Plans. `groups` tells about every wanted group that the account is not in yet.
pub(super) fn plan(
    desired: &Desired,
    means: Means<'_>,
    current: &Current,
    groups: &BTreeMap<String, GroupState>,
    protection: &dyn Protection,
) -> Plan {
    let mut plan = Plan::default();
    if let Some(account) = &current.account
        && let Some(pattern) = protection.user(&account.username)
    {
        plan.notes.push(format!(
            "{:?} is protected by {pattern:?}: nothing is changed",
            account.username
        ));
        return plan;
    }
    match desired.presence {
        Presence::Active => wanted(desired, means, current, groups, protection, &mut plan),
        Presence::Inactive => {
            if let Some(account) = &current.account {
                deactivate(means, current, account, protection, &mut plan);
            } else {
                plan.notes
                    .push("inactive at the source and no account here: nothing to do".to_owned());
            }
        }
        Presence::Deleted | Presence::OutOfScope => {
            if let Some(account) = &current.account {
                deprovision(means, current, account, protection, &mut plan);
            } else {
                plan.notes
                    .push("not wanted and no account here: nothing to do".to_owned());
            }
        }
    }
    plan
}

/// Adds what an undo gives back and is not there. `gone`: groups that the target does not have any more.
pub(super) fn give_back(
    plan: &mut Plan,
    undone: &Undone,
    means: Means<'_>,
    current: &Current,
    gone: &[String],
    protection: &dyn Protection,
) {
    let Some(account) = &current.account else {
        return;
    };
    if protection.user(&account.username).is_some() {
        return;
    }
    let is_planned = |plan: &Plan| {
        let mut actions = plan.actions.iter();
        actions.any(|action| matches!(action, Action::Reactivate { .. }))
    };
    if undone.access && (!account.active || account.taken.is_some()) && !is_planned(plan) {
        plan.actions
            .retain(|action| !matches!(action, Action::Deactivate { .. }));
        match means.may(Operation::Reactivate) {
            Ok(()) => {
                let gives = account.taken.as_ref().map(|taken| Holdings {
                    groups: taken
                        .groups
                        .iter()
                        .filter(|held| protection.group(&held.name).is_none())
                        .cloned()
                        .collect(),
                    permissions: taken.permissions.clone(),
                    kept: Vec::new(),
                });
                plan.gives_back = true;
                plan.actions.insert(
                    0,
                    Action::Reactivate {
                        remote_id: account.remote_id.clone(),
                        username: account.username.clone(),
                        gives,
                    },
                );
            }
            Err(why) => plan
                .notes
                .push(format!("access cannot be given back: {why}")),
        }
    }
    for (group, _) in &undone.groups {
        let folded = fold_text(group);
        let is_planned = plan.actions.iter().any(|action| {
            matches!(action, Action::AddMember { group, .. } if fold_text(group) == folded)
        });
        if current.groups.contains_key(&folded) || is_planned {
            continue;
        }
        if let Some(pattern) = protection.group(group) {
            plan.notes.push(format!(
                "is not put back into {group:?}: it is protected by {pattern:?}"
            ));
        } else if gone.contains(&folded) {
            plan.notes.push(format!(
                "cannot be put back into {group:?}: the group is gone at the target"
            ));
        } else {
            plan.gives_back = true;
            plan.actions.push(Action::AddMember {
                remote_id: account.remote_id.clone(),
                username: account.username.clone(),
                group: group.clone(),
            });
        }
    }
}

fn wanted(
    desired: &Desired,
    means: Means<'_>,
    current: &Current,
    groups: &BTreeMap<String, GroupState>,
    protection: &dyn Protection,
    plan: &mut Plan,
) {
    let account = match &desired.account {
        Ok(account) => account,
        Err(why) => {
            plan.waiting = Some(why.clone());
            return;
        }
    };
    if let Some(pattern) = protection.user(&account.username) {
        plan.notes.push(format!(
            "{:?} is protected by {pattern:?}: nothing is changed",
            account.username
        ));
        return;
    }
    let (remote_id, username) = match &current.account {
        Some(existing) => {
            adjust(account, desired, means, existing, protection, plan);
            let renamed = plan
                .actions
                .iter()
                .any(|a| matches!(a, Action::RenameUser { .. }));
            let username = if renamed {
                &account.username
            } else {
                &existing.username
            };
            (existing.remote_id.clone(), username.clone())
        }
        None => {
            if let Err(why) = means.may(Operation::Create) {
                plan.notes.push(format!("no account, and {why}"));
                return;
            }
            let Some(email) = &account.email else {
                plan.waiting = Some("the source has not sent an e-mail address yet".to_owned());
                return;
            };
            plan.actions.push(Action::CreateUser {
                username: account.username.clone(),
                display_name: account.display_name.clone(),
                email: email.clone(),
            });
            (String::new(), account.username.clone())
        }
    };
    memberships(
        desired,
        means,
        current,
        groups,
        protection,
        (&remote_id, &username),
        plan,
    );
}

/// Brings an existing account in step.
fn adjust(
    wanted: &DesiredAccount,
    desired: &Desired,
    means: Means<'_>,
    existing: &CurrentAccount,
    protection: &dyn Protection,
    plan: &mut Plan,
) {
    // Back first: an inactive account may refuse other changes.
    if existing.taken.is_some() || (!existing.active && !means.capabilities.takes_memberships) {
        let gives = existing.taken.as_ref();
        match means.may(Operation::Reactivate) {
            Ok(()) => plan.actions.push(Action::Reactivate {
                remote_id: existing.remote_id.clone(),
                username: existing.username.clone(),
                gives: gives.map(|taken| given_back(taken, desired, means, protection)),
            }),
            Err(why) => plan
                .notes
                .push(format!("the account is inactive, and {why}")),
        }
    } else if !existing.active {
        // Access that the rules do not give is not Usher's to give.
        plan.notes.push(format!(
            "{:?} has no access to {}, and Usher took none from it: a group has to give it",
            existing.username, means.capabilities.product
        ));
    }
    // The products compare user names without case, so a difference of case is none.
    if fold_text(&wanted.username) != fold_text(&existing.username) {
        match means.may(Operation::Rename) {
            Ok(()) => plan.actions.push(Action::RenameUser {
                remote_id: existing.remote_id.clone(),
                from: existing.username.clone(),
                to: wanted.username.clone(),
            }),
            Err(why) => plan
                .notes
                .push(format!("should be called {:?}, and {why}", wanted.username)),
        }
    }
    let display_name =
        (wanted.display_name != existing.display_name).then(|| wanted.display_name.clone());
    // No address at the source is no reason to take one away.
    let email = wanted
        .email
        .clone()
        .filter(|email| *email != existing.email);
    if display_name.is_some() || email.is_some() {
        if let Err(why) = means.may(Operation::Update) {
            plan.notes.push(format!("attributes differ, and {why}"));
        } else {
            let renamed = plan
                .actions
                .iter()
                .any(|a| matches!(a, Action::RenameUser { .. }));
            plan.actions.push(Action::UpdateUser {
                remote_id: existing.remote_id.clone(),
                username: if renamed {
                    wanted.username.clone()
                } else {
                    existing.username.clone()
                },
                display_name,
                email,
            });
        }
    }
}

/// Of what was taken, what the rules do not object to by now: what is wanted, and where they leave foreign
/// memberships alone those too.
fn given_back(
    taken: &Holdings,
    desired: &Desired,
    means: Means<'_>,
    protection: &dyn Protection,
) -> Holdings {
    let wanted: Vec<String> = desired.groups.iter().map(|g| fold_text(&g.name)).collect();
    let groups = taken.groups.iter().filter(|held| {
        let is_wanted = wanted.contains(&fold_text(&held.name));
        let is_foreign = !held.owner.is_ours() && means.settings.groups.keep_existing;
        (is_wanted || is_foreign) && protection.group(&held.name).is_none()
    });
    Holdings {
        groups: groups.cloned().collect(),
        permissions: taken.permissions.clone(),
        kept: Vec::new(),
    }
}

fn memberships(
    desired: &Desired,
    means: Means<'_>,
    current: &Current,
    groups: &BTreeMap<String, GroupState>,
    protection: &dyn Protection,
    (remote_id, username): (&str, &str),
    plan: &mut Plan,
) {
    // Removals first: what a person loses must not wait for what somebody else's group refuses.
    let wanted: Vec<String> = desired.groups.iter().map(|g| fold_text(&g.name)).collect();
    for (folded, (name, owner)) in &current.groups {
        if wanted.contains(folded) {
            continue;
        }
        if !owner.is_ours() && means.settings.groups.keeps_members(name) {
            continue;
        }
        remove_member(name, protection, (remote_id, username), plan);
    }
    for group in &desired.groups {
        let folded = fold_text(&group.name);
        let skips = means.settings.groups.existing_groups == ExistingGroups::Skip
            && !group.express
            && groups.get(&folded) == Some(&GroupState::Foreign);
        match current.groups.get(&folded) {
            Some((_, owner)) if owner.is_ours() => {}
            _ if skips => plan.notes.push(format!(
                "group {:?} is there and not Usher's: existing_groups = \"skip\" leaves it alone; a manual rule \
                 that leads to it would use it",
                group.name
            )),
            Some((name, _)) => {
                if protection.group(name).is_none() {
                    plan.adopt.push(name.clone());
                }
            }
            None => {
                if let Some(pattern) = protection.group(&group.name) {
                    plan.notes.push(format!(
                        "group {:?} is protected by {pattern:?}",
                        group.name
                    ));
                    continue;
                }
                if groups.get(&folded) == Some(&GroupState::Missing) {
                    if !means.settings.groups.create_missing {
                        plan.notes.push(format!(
                            "group {:?} does not exist at the target, and create_missing is off",
                            group.name
                        ));
                        continue;
                    }
                    plan.actions.push(Action::CreateGroup {
                        name: group.name.clone(),
                    });
                }
                plan.actions.push(Action::AddMember {
                    remote_id: remote_id.to_owned(),
                    username: username.to_owned(),
                    group: group.name.clone(),
                });
            }
        }
    }
}

fn remove_member(
    name: &str,
    protection: &dyn Protection,
    (remote_id, username): (&str, &str),
    plan: &mut Plan,
) {
    if let Some(pattern) = protection.group(name) {
        plan.notes.push(format!(
            "stays in group {name:?}: it is protected by {pattern:?}"
        ));
        return;
    }
    plan.actions.push(Action::RemoveMember {
        remote_id: remote_id.to_owned(),
        username: username.to_owned(),
        group: name.to_owned(),
    });
}

fn deactivate(
    means: Means<'_>,
    current: &Current,
    account: &CurrentAccount,
    protection: &dyn Protection,
    plan: &mut Plan,
) {
    // Without a state of its own an account counts as inactive while nothing gives it access, and a group that it is
    // in may do so any time: it is out for certain once everything was taken.
    let stays_in_groups = || {
        let mut groups = current.groups.values();
        groups.any(|(name, _)| protection.group(name).is_none())
    };
    let may_come_back =
        means.capabilities.takes_memberships && (account.taken.is_none() || stays_in_groups());
    if !account.active && !may_come_back {
        return;
    }
    if let Err(why) = means.may(Operation::Deactivate) {
        plan.notes.push(format!("should be inactive, and {why}"));
        return;
    }
    plan.actions.push(Action::Deactivate {
        remote_id: account.remote_id.clone(),
        username: account.username.clone(),
        successors: means.settings.successors(),
        // Filled in when it is read, just before it is taken.
        takes: None,
    });
}

/// What `on_delete` says.
fn deprovision(
    means: Means<'_>,
    current: &Current,
    account: &CurrentAccount,
    protection: &dyn Protection,
    plan: &mut Plan,
) {
    match means.settings.users.on_delete {
        OnDelete::Deactivate => deactivate(means, current, account, protection, plan),
        OnDelete::Keep => plan
            .notes
            .push("not wanted any more: kept by on_delete = \"keep\"".to_owned()),
        OnDelete::RemoveGroups => {
            let ours: Vec<&String> = current
                .groups
                .values()
                .filter(|(_, owner)| owner.is_ours())
                .map(|(name, _)| name)
                .collect();
            for name in ours {
                remove_member(
                    name,
                    protection,
                    (&account.remote_id, &account.username),
                    plan,
                );
            }
        }
        // Only what Usher made is Usher's to destroy.
        OnDelete::Delete
            if account.owner == Owner::Created && means.may(Operation::Delete).is_ok() =>
        {
            let since = current.unwanted_since.unwrap_or(means.now);
            let grace = means.settings.users.delete_after_s.unwrap_or(0);
            let at = i64::try_from(grace.saturating_mul(1_000_000))
                .map_or(Micros::MAX, |grace| since.saturating_add(grace));
            if at > means.now {
                plan.delete_at = Some(at);
                plan.notes.push(format!(
                    "deactivated now, deleted at {} unless the person comes back (delete_after)",
                    rfc3339(at)
                ));
                deactivate(means, current, account, protection, plan);
            } else {
                plan.actions.push(Action::DeleteUser {
                    remote_id: account.remote_id.clone(),
                    username: account.username.clone(),
                });
            }
        }
        OnDelete::Delete => {
            plan.notes.push(
                "not made by Usher, or \"delete\" is off: deactivated, not deleted".to_owned(),
            );
            deactivate(means, current, account, protection, plan);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DesiredGroup;

    struct Nobody;

    impl Protection for Nobody {
        fn user(&self, _: &str) -> Option<String> {
            None
        }

        fn group(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn capabilities() -> Capabilities {
        *crate::targets::Target::capabilities(&crate::targets::memory::Memory::new())
    }

    fn ada(presence: Presence, groups: &[(&str, bool)]) -> Desired {
        Desired {
            presence,
            account: Ok(DesiredAccount {
                username: "ada".to_owned(),
                display_name: "Ada".to_owned(),
                email: Some("ada@example.com".to_owned()),
            }),
            groups: groups
                .iter()
                .map(|(name, express)| DesiredGroup {
                    name: (*name).to_owned(),
                    because: String::new(),
                    source_group_id: None,
                    express: *express,
                })
                .collect(),
            bindings: Vec::new(),
            because: Vec::new(),
            rules: crate::domain::AccountRules::default(),
        }
    }

    fn account() -> CurrentAccount {
        CurrentAccount {
            remote_id: "1".to_owned(),
            username: "ada".to_owned(),
            display_name: "Ada".to_owned(),
            email: "ada@example.com".to_owned(),
            active: true,
            owner: Owner::Created,
            taken: None,
        }
    }

    #[test]
    fn a_foreign_group_is_skipped_unless_a_rule_names_it() {
        let settings = MappingSettings {
            groups: crate::domain::GroupRules {
                existing_groups: ExistingGroups::Skip,
                ..crate::domain::GroupRules::default()
            },
            ..MappingSettings::default()
        };
        let current = Current {
            account: Some(account()),
            // In one of them by hand.
            groups: BTreeMap::from([("b".to_owned(), ("b".to_owned(), Owner::Foreign))]),
            unwanted_since: None,
        };
        let states = ["a", "b", "c"].map(|name| (name.to_owned(), GroupState::Foreign));
        let means = Means {
            settings: &settings,
            capabilities: &capabilities(),
            now: 0,
        };
        let wanted = ada(
            Presence::Active,
            &[("a", false), ("b", false), ("c", true), ("d", false)],
        );
        let plan = plan(&wanted, means, &current, &states.into(), &Nobody);
        let joined: Vec<_> = plan
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::AddMember { group, .. } => Some(group.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(joined, ["c", "d"]);
        assert!(plan.adopt.is_empty());
        assert_eq!(plan.notes.len(), 2);
        assert!(plan.notes[0].contains("existing_groups = \"skip\""));
    }

    #[test]
    fn a_deletion_waits_for_the_end_of_the_grace_period() {
        let mut settings = MappingSettings::default();
        settings.users.on_delete = OnDelete::Delete;
        settings.users.operations.push(Operation::Delete);
        settings.users.delete_after_s = Some(60);
        let at = |unwanted_since, now, owner| {
            let current = Current {
                account: Some(CurrentAccount { owner, ..account() }),
                groups: BTreeMap::new(),
                unwanted_since,
            };
            let means = Means {
                settings: &settings,
                capabilities: &capabilities(),
                now,
            };
            let wanted = ada(Presence::OutOfScope, &[]);
            let plan = plan(&wanted, means, &current, &BTreeMap::new(), &Nobody);
            (plan.actions[0].name(), plan.delete_at)
        };
        let minute = 60_000_000;
        assert_eq!(
            at(None, 5, Owner::Created),
            ("deactivate", Some(5 + minute))
        );
        assert_eq!(
            at(Some(5), 4 + minute, Owner::Created),
            ("deactivate", Some(5 + minute))
        );
        assert_eq!(
            at(Some(5), 5 + minute, Owner::Created),
            ("delete_user", None)
        );
        // What was there before is not Usher's to destroy, however long it takes.
        assert_eq!(
            at(Some(5), 9 * minute, Owner::Adopted),
            ("deactivate", None)
        );
    }

    #[test]
    fn what_a_product_cannot_do_is_noted_and_keeps_nothing_else_from_being_done() {
        let capabilities = Capabilities {
            rename: false,
            ..capabilities()
        };
        let settings = MappingSettings::default();
        let desired = Desired {
            account: Ok(DesiredAccount {
                username: "augusta".to_owned(),
                display_name: "Augusta".to_owned(),
                email: Some("ada@example.com".to_owned()),
            }),
            ..ada(Presence::Active, &[("users", false)])
        };
        let current = Current {
            account: Some(account()),
            ..Current::default()
        };
        let means = Means {
            settings: &settings,
            capabilities: &capabilities,
            now: 0,
        };
        let states = BTreeMap::from([("users".to_owned(), GroupState::Exists)]);
        let plan = plan(&desired, means, &current, &states, &Nobody);
        assert_eq!(
            plan.actions,
            [
                Action::UpdateUser {
                    remote_id: "1".to_owned(),
                    username: "ada".to_owned(),
                    display_name: Some("Augusta".to_owned()),
                    email: None,
                },
                Action::AddMember {
                    remote_id: "1".to_owned(),
                    username: "ada".to_owned(),
                    group: "users".to_owned(),
                },
            ]
        );
        assert_eq!(plan.notes.len(), 1);
        assert!(
            plan.notes[0].contains("cannot rename accounts"),
            "{:?}",
            plan.notes
        );
    }
}
