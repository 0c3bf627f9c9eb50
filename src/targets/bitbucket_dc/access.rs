//! Who may sign in, and how that is taken away and given back. Bitbucket cannot deactivate an account of its own: but
//! whoever has no licence, neither by a global permission of its own nor through a group, is out.

use std::collections::BTreeSet;

use super::wire::{PermittedUser, User};
use super::{BitbucketDc, fold, same};
use crate::domain::{Applied, Failure, HeldGroup, Holdings, Owner};
use crate::outbound::{Method, Response};
use crate::targets::Whom;
use crate::targets::atlassian::Words;

/// The global permissions, the least first; each implies those before it.
const RANKS: [&str; 4] = ["LICENSED_USER", "PROJECT_CREATE", "ADMIN", "SYS_ADMIN"];

const PERMISSIONS: &str = "/admin/permissions/users";

fn rank(permission: &str) -> Option<usize> {
    RANKS.iter().position(|known| *known == permission)
}

/// Whether it makes an administrator.
pub(super) fn administers(permission: &str) -> bool {
    rank(permission) >= rank("ADMIN")
}

impl BitbucketDc {
    /// Bitbucket counts everything in: permissions of its own, and those of its groups however deep.
    pub(super) async fn is_licensed(&self, user: &User) -> Result<bool, Failure> {
        self.has(user, RANKS[0]).await
    }

    /// Whether an account has a global permission, whatever gives it.
    pub(super) async fn has(&self, user: &User, permission: &str) -> Result<bool, Failure> {
        let query = [("filter", user.name.as_str()), ("permission", permission)];
        let found = self
            .first("/users", &query, |it: &User| it.id == user.id)
            .await?;
        Ok(found.is_some())
    }

    /// Which of these have a licence. All that have one are looked through, in bounded memory.
    pub(super) async fn licensed_of(&self, users: &[User]) -> Result<BTreeSet<i64>, Failure> {
        let asked: BTreeSet<i64> = users.iter().map(|user| user.id).collect();
        let mut found = BTreeSet::new();
        if asked.is_empty() {
            return Ok(found);
        }
        let query = [("permission", RANKS[0])];
        self.each_page("/users", &query, |page: Vec<User>, _| {
            let ids = page.into_iter().map(|user| user.id);
            found.extend(ids.filter(|id| asked.contains(id)));
            found.len() < asked.len()
        })
        .await?;
        Ok(found)
    }

    /// The global permission that an account holds itself.
    async fn own_permission(&self, user: &User) -> Result<Option<String>, Failure> {
        let query = [("filter", user.name.as_str())];
        let found = self
            .first(PERMISSIONS, &query, |it: &PermittedUser| {
                it.user.id == user.id
            })
            .await?;
        Ok(found.map(|grant| grant.permission))
    }

    pub(super) async fn holdings_of(&self, user: &User) -> Result<Holdings, Failure> {
        let groups = self.groups_of(user).await?.into_iter();
        let held = |name| HeldGroup {
            name,
            owner: Owner::Foreign,
        };
        Ok(Holdings {
            groups: groups.map(held).collect(),
            permissions: self.own_permission(user).await?.into_iter().collect(),
            kept: Vec::new(),
        })
    }

    /// Takes what is to be taken and nothing else, permission first. Whoever may still sign in afterwards is not out,
    /// whatever Bitbucket answered.
    pub(super) async fn take(
        &self,
        user: &User,
        takes: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        let has = self.holdings_of(user).await?;
        let all = self.all_but_administration(&has).await?;
        let takes = takes.unwrap_or(&all);
        let mut notes = Vec::new();
        if !takes.permissions.is_empty()
            && let Some(permission) = has.permissions.first()
        {
            let query = [("name", user.name.as_str())];
            let response = self.rest.delete(PERMISSIONS, &query).await?;
            self.accepted(&response, user).await?;
            notes.push(format!("took the global permission {permission}"));
        }
        let mut left = Vec::new();
        for held in &has.groups {
            if takes.owner_of(&held.name).is_none() {
                continue;
            }
            self.take_out_of(user, &held.name).await?;
            left.push(held.name.as_str());
        }
        if !left.is_empty() {
            notes.push(format!("took it out of {}", left.join(", ")));
        }
        let nothing_done = notes.is_empty();
        if !takes.kept.is_empty() {
            notes.push(format!("stays in {}: protected", takes.kept.join(", ")));
        }
        let account = self.observed(user).await?;
        if account.active {
            return Err(self.still_in(user, &account.groups).await);
        }
        Ok(Applied {
            notes,
            ..if nothing_done {
                Applied::already(account)
            } else {
                Applied::done(account)
            }
        })
    }

    /// What is taken when nobody says what: all but memberships in the groups of administrators.
    async fn all_but_administration(&self, has: &Holdings) -> Result<Holdings, Failure> {
        use crate::targets::Target as _;
        let protected: Vec<String> = self.protected().await?.groups;
        let (mut all, mut kept) = (has.clone(), Vec::new());
        all.groups.retain(|held| {
            let keep = protected.iter().any(|name| same(name, &held.name));
            if keep {
                kept.push(held.name.clone());
            }
            !keep
        });
        all.kept = kept;
        Ok(all)
    }

    /// The failure that an account has access after all, with what gives it.
    async fn still_in(&self, user: &User, groups: &[String]) -> Failure {
        let grants = match self.group_grants().await {
            Ok((grants, _)) => grants,
            Err(failure) => return failure,
        };
        let giving: Vec<&str> = grants
            .iter()
            .filter(|grant| groups.iter().any(|name| same(name, &grant.group.name)))
            .map(|grant| grant.group.name.as_str())
            .collect();
        let by = if giving.is_empty() {
            "a permission of its own, or a group that Bitbucket does not show here".to_owned()
        } else {
            giving.join(", ")
        };
        Failure::Rejected {
            field: Some("active".to_owned()),
            text: format!(
                "{} can still sign in to Bitbucket, by {by}: Usher changes neither protected groups nor those that \
                 make administrators; take it away by hand, then try again",
                user.name
            ),
        }
    }

    /// Gives back, or without anything to give back a licence. Nothing that makes an administrator is given by Usher.
    pub(super) async fn give(
        &self,
        user: &User,
        gives: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        let licence = Holdings {
            permissions: vec![RANKS[0].to_owned()],
            ..Holdings::default()
        };
        let nothing = Holdings::default();
        let gives = match gives {
            Some(gives) => gives,
            None if self.is_licensed(user).await? => &nothing,
            None => &licence,
        };
        let mut notes = Vec::new();
        let mut changed = self.give_permission(user, gives, &mut notes).await?;
        changed |= self.give_groups(user, gives, &mut notes).await?;
        let account = self.observed(user).await?;
        if !account.active {
            notes.push(if user.active {
                format!(
                    "{} has no licence for Bitbucket: nothing that it got back gives one",
                    user.name
                )
            } else {
                format!(
                    "the directory of {} says that it is inactive, which Bitbucket cannot change",
                    user.name
                )
            });
        }
        Ok(Applied {
            notes,
            ..if changed {
                Applied::done(account)
            } else {
                Applied::already(account)
            }
        })
    }

    async fn give_permission(
        &self,
        user: &User,
        gives: &Holdings,
        notes: &mut Vec<String>,
    ) -> Result<bool, Failure> {
        let Some(held) = gives.permissions.iter().max_by_key(|it| rank(it)) else {
            return Ok(false);
        };
        let permission = if administers(held) {
            notes.push(format!(
                "it held {held}, which Usher does not give: it gets {}",
                RANKS[0]
            ));
            RANKS[0]
        } else {
            held
        };
        let has = self.own_permission(user).await?;
        if has.is_some_and(|has| rank(&has) >= rank(permission)) {
            return Ok(false);
        }
        let query = [("name", user.name.as_str()), ("permission", permission)];
        let response = self.rest.order(Method::PUT, PERMISSIONS, &query).await?;
        self.accepted(&response, user).await?;
        notes.push(format!("gave the global permission {permission}"));
        Ok(true)
    }

    /// In one request, or if Bitbucket does not take all of them one by one.
    async fn give_groups(
        &self,
        user: &User,
        gives: &Holdings,
        notes: &mut Vec<String>,
    ) -> Result<bool, Failure> {
        let has = self.groups_of(user).await?;
        let has: BTreeSet<String> = has.iter().map(|name| fold(name)).collect();
        let names = gives.groups.iter().map(|held| held.name.as_str());
        let missing: Vec<&str> = names.filter(|name| !has.contains(&fold(name))).collect();
        if missing.is_empty() {
            return Ok(false);
        }
        let response = self.put_into(user, &missing).await?;
        let mut given = missing.clone();
        if !response.is_success() {
            if !matches!(response.status, 403 | 404) || Words::of(&response).is_none() {
                return Err(self.refusal(&response, &user.name).await);
            }
            given.clear();
            for group in missing {
                let response = self.put_into(user, &[group]).await?;
                if response.status == 404 {
                    self.rest.absent(&response)?;
                    notes.push(format!("could not get back into {group}: it is not there"));
                    continue;
                }
                self.accepted(&response, user).await?;
                given.push(group);
            }
        }
        if given.is_empty() {
            return Ok(false);
        }
        notes.push(format!("put it back into {}", given.join(", ")));
        Ok(true)
    }

    async fn accepted(&self, response: &Response, user: &User) -> Result<Applied, Failure> {
        match response.status {
            200..=299 => Ok(Applied::was_so()),
            404 => {
                self.rest.absent(response)?;
                Err(Whom::named(&user.name).gone("Bitbucket", "number"))
            }
            _ => Err(self.refusal(response, &user.name).await),
        }
    }
}
