//! Groups whose members are compared with the source: who is in one of them and should not be is taken out.
//!
//! The rules ask for it (`keep_members = false`), so for once foreign memberships are
//! ended, in these groups alone. Whoever Usher knows is left to their own work item, which is the only one to
//! write to an account of the ledger; accounts that nobody in the mirror has are taken out here, each one read
//! again right before it. Silence is no wish: an empty source, an empty listing or one that does not show those
//! whom Usher put there ends the look with nothing done.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::engine::Engine;
use super::live::LiveTarget;
use super::load;
use super::plan::Protection;
use super::retry;
use super::worker::Shield;
use crate::clock::Micros;
use crate::domain::{
    Action, ConnectionId, Failure, Lookup, Mode, Owner, Presence, Removal, RemovalKind, Standing,
    TargetId, UserId,
};
use crate::mapping::{Rules, SourceGroup};
use crate::scim::fold::fold_text;
use crate::store::audit::NewAudit;
use crate::store::brakes::{self, Answer, Subject};
use crate::store::group_work::{ClaimedGroup, Looked};
use crate::store::work::Priority;
use crate::store::{self, AnyConn, audit, group_work, ledger, users, work};
use crate::targets::{Member, Target};

/// Nothing tells when somebody is put into a group by hand, so each is looked at this often at least.
const AGAIN: Micros = 24 * 60 * 60 * 1_000_000;
/// After removals the ledger is compared once more: an account may have become Usher's meanwhile.
const CHECK: Micros = 2 * 60 * 1_000_000;
/// Nobody could be told apart from the others: so soon it is tried again.
const UNKNOWN: Micros = 60 * 60 * 1_000_000;
/// So long a group waits for people's work items to be done.
pub(super) const PATIENCE: Micros = 10 * 60 * 1_000_000;
/// When a group is looked at that somebody was just put into, if the last look came to nothing.
pub(super) const SOON: Micros = 60 * 1_000_000;
/// How long a worker may hold a group without a sign of life: longer than the slowest page of a listing.
pub(super) const LEASE: Micros = 10 * 60 * 1_000_000;
/// The longest pause after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// So many are taken out in one look; the next one goes on.
const MOST: usize = 1000;
/// How many rows are read at a time.
const PAGE: i64 = 500;
/// More people than this without an account mean that the target is only being filled.
const MOST_UNSETTLED: usize = 50_000;
/// So many names are told.
const SHOWN: usize = 5;

/// Why a look did not get to its end.
enum Halt {
    Failed(Failure),
    Store(store::Error),
    /// It must not go on, in words.
    Void(String),
    /// The lease was lost.
    Lost,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<store::Error> for Halt {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// Who is in the group according to the source, but for those whose membership the ledger knows.
#[derive(Default)]
struct Unsettled {
    /// Folded names of accounts that people without an account should have.
    names: HashSet<String>,
    /// Their folded addresses.
    emails: HashSet<String>,
}

/// What the listing of a group showed.
#[derive(Default)]
struct Seen {
    listed: usize,
    /// Of these so many are memberships of Usher's.
    ours: usize,
    /// People of the mirror whom the rules do not want in it: the account and the person.
    known: Vec<(String, UserId)>,
    /// Accounts that nobody in the mirror has.
    strangers: Vec<Member>,
    /// Others who are not wanted and stay, as they are protected.
    protected: usize,
    /// There are more than one look takes.
    more: bool,
}

impl Engine {
    /// Looks at one group, and never leaves it leased.
    pub(super) async fn sweep(&self, target: &LiveTarget, item: ClaimedGroup) {
        let now = self.clock.now();
        let mut removed = item.removed.clone();
        let looked = match self.try_sweep(target, &item, &mut removed).await {
            Ok(looked) => looked,
            Err(Halt::Lost) => {
                tracing::warn!("the lease of a group was lost");
                return;
            }
            Err(Halt::Void(note)) => {
                tracing::warn!(%note, "nobody was taken out of a group");
                Looked {
                    again_at: Some(now + UNKNOWN),
                    note,
                    removed,
                    failed: true,
                }
            }
            // There is nothing to list: no group of that name, or a product that lists none.
            Err(Halt::Failed(failure @ (Failure::Gone { .. } | Failure::Rejected { .. }))) => {
                Looked {
                    again_at: asks(target, &item.name).map(|_| now + AGAIN),
                    note: failure.to_string(),
                    removed,
                    failed: true,
                }
            }
            Err(halt) => {
                let note = match halt {
                    Halt::Failed(failure) => failure.to_string(),
                    Halt::Store(error) => error.to_string(),
                    Halt::Void(note) => note,
                    Halt::Lost => return,
                };
                tracing::warn!(error = %note, "a group could not be compared");
                let wait = retry::backoff(item.attempts, LONGEST_WAIT, retry::random());
                Looked {
                    again_at: Some(now + i64::try_from(wait.as_micros()).unwrap_or(AGAIN)),
                    note,
                    removed,
                    failed: true,
                }
            }
        };
        let recorded = self
            .store
            .write(move |tx| group_work::finish(tx, &item, &looked))
            .await;
        if let Err(error) = recorded {
            // The lease runs out by itself.
            tracing::error!(%error, "the end of a look at a group could not be recorded");
        }
    }

    /// `removed`: keys of accounts that were taken out and are not checked once more yet.
    async fn try_sweep(
        &self,
        target: &LiveTarget,
        item: &ClaimedGroup,
        removed: &mut Vec<String>,
    ) -> Result<Looked, Halt> {
        let now = self.clock.now();
        let client = match &target.client {
            Ok(client) => client.clone(),
            Err(text) => return Err(Failure::Unauthorized { text: text.clone() }.into()),
        };
        let ends = |note: String, again_at| Looked {
            again_at,
            note,
            removed: Vec::new(),
            failed: false,
        };
        self.check_removed(item, now).await?;
        removed.clear();
        let Some((rules, connection, mode)) = asks(target, &item.name) else {
            let note = self.compare_adopted(target, &client, item).await?;
            return Ok(ends(note, None));
        };
        if !target.complete {
            return Err(Halt::Void(
                "the rules of a mapping to this target do not compile: who should be in the group is unknown"
                    .to_owned(),
            ));
        }
        let own = client.protected().await?;
        let shields: Vec<Shield<'_>> = target
            .rules
            .values()
            .map(|rules| Shield {
                rules,
                target: own.clone(),
            })
            .collect();
        if let Some(pattern) = shields.iter().find_map(|shield| shield.group(&item.name)) {
            let note = format!("protected by {pattern:?}: its members stay as they are");
            return Ok(ends(note, Some(now + AGAIN)));
        }
        let unsettled = self.unsettled(target, item).await?;
        let (id, name) = (item.target_id.clone(), item.name.clone());
        let ours = self
            .store
            .read(move |conn| ledger::count_members(conn, &id, &name))
            .await?;
        // Where nothing is written, nobody whom the source wants is there yet either.
        if mode == Mode::Live && ours == 0 && unsettled.names.is_empty() {
            return Err(Halt::Void(
                "by the source nobody is in it: that is not taken for a wish to empty it"
                    .to_owned(),
            ));
        }
        let seen = self
            .members(target, client.as_ref(), item, &shields, &unsettled)
            .await?;
        if seen.ours * 2 < usize::try_from(ours).unwrap_or(usize::MAX) {
            return Err(Halt::Void(format!(
                "the target lists {} members and of the {ours} whom Usher put there only {}: nothing is removed by \
                 such a list",
                seen.listed, seen.ours
            )));
        }
        let shown = shown(&seen);
        if mode != Mode::Live {
            let note = match &shown {
                Some(who) => format!("would: remove {who}"),
                None => "in step".to_owned(),
            };
            return Ok(ends(note, Some(now + AGAIN)));
        }
        let marked = self.mark_known(item, &seen, now).await?;
        let subject = |member: &Member| Subject {
            target: item.target_id.clone(),
            connection: connection.clone(),
            user: None,
            key: key(member),
            name: member.username.clone(),
            basis: "not in the source".to_owned(),
            cause: cause(&item.name),
        };
        let mut held = 0;
        for member in &seen.strangers {
            let subject = subject(member);
            match self
                .take_out(
                    client.as_ref(),
                    item,
                    rules,
                    &shields,
                    &unsettled,
                    (member, subject),
                )
                .await?
            {
                Out::Removed(key) => {
                    self.metrics()
                        .operation(target.labels(), "remove_member", "done");
                    removed.push(key);
                }
                Out::Held => held += 1,
                Out::Stays => {}
            }
        }
        self.end_holds(item, &seen).await?;
        let mut note = match shown {
            None => "in step".to_owned(),
            Some(who) => format!(
                "not in the source: {who}; {} removed, {marked} left to their own work, {held} held",
                removed.len()
            ),
        };
        if seen.protected > 0 {
            note.push_str(&format!("; {} protected", seen.protected));
        }
        let again_at = if seen.more || !removed.is_empty() {
            now + CHECK
        } else {
            now + AGAIN
        };
        Ok(Looked {
            removed: std::mem::take(removed),
            ..ends(note, Some(again_at))
        })
    }

    /// Compares what the last look did with the ledger: an account that has become somebody's meanwhile, and
    /// should be in the group, is looked at again.
    async fn check_removed(&self, item: &ClaimedGroup, now: Micros) -> Result<(), Halt> {
        if item.removed.is_empty() {
            return Ok(());
        }
        let item = item.clone();
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                let why = format!("taken out of {:?} while it was taken over", item.name);
                for remote_id in &item.removed {
                    let member = Member {
                        remote_id: remote_id.clone(),
                        username: String::new(),
                    };
                    let seat = ledger::seat(
                        tx.conn(),
                        &item.target_id,
                        &item.name,
                        &member.remote_id,
                        &member.username,
                    )?;
                    let Some(seat) = seat else { continue };
                    ledger::doubt(tx, &item.target_id, &seat.user_id, now)?;
                    work::mark_one(
                        tx,
                        &item.target_id,
                        &seat.user_id,
                        Priority::Push,
                        &why,
                        now,
                    )?;
                }
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Whom the rules want in the group although the ledger has no account of theirs at the target.
    async fn unsettled(&self, target: &LiveTarget, item: &ClaimedGroup) -> Result<Unsettled, Halt> {
        let mut unsettled = Unsettled::default();
        for (connection, rules) in &target.rules {
            let places: Vec<Option<String>> = if rules.gives_to_anyone(&item.name) {
                vec![None]
            } else {
                let found = self.source_groups(connection, rules, item).await?;
                found.into_iter().map(Some).collect()
            };
            for place in places {
                let mut after = String::new();
                loop {
                    let (connection, id) = (connection.clone(), item.target_id.clone());
                    let (rules, place, from) = (rules.clone(), place.clone(), after.clone());
                    let name = fold_text(&item.name);
                    let page = self
                        .store
                        .read(move |conn| {
                            wanted_without_account(
                                conn,
                                &connection,
                                &id,
                                &rules,
                                place.as_deref(),
                                &from,
                                &name,
                            )
                        })
                        .await?;
                    unsettled.names.extend(page.names);
                    unsettled.emails.extend(page.emails);
                    if unsettled.names.len() > MOST_UNSETTLED {
                        return Err(Halt::Void(format!(
                            "more than {MOST_UNSETTLED} people who should be in it have no account yet"
                        )));
                    }
                    match page.last {
                        Some(last) => after = last,
                        None => break,
                    }
                    self.still_ours(item).await?;
                }
            }
        }
        Ok(unsettled)
    }

    /// The groups of a connection that lead to a target group.
    async fn source_groups(
        &self,
        connection: &ConnectionId,
        rules: &Rules,
        item: &ClaimedGroup,
    ) -> Result<Vec<String>, Halt> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let (connection, target, from) =
                (connection.clone(), item.target_id.clone(), after.clone());
            let page = self
                .store
                .read(move |conn| load::source_groups(conn, &connection, &target, &from, PAGE))
                .await?;
            let Some(last) = page.last().map(|group| group.id.clone()) else {
                return Ok(found);
            };
            let leading = page
                .into_iter()
                .filter(|group| leads(rules, group, &item.name));
            found.extend(leading.map(|group| group.id));
            after = last;
        }
    }

    /// Lists the group, and tells those apart who are in it.
    async fn members(
        &self,
        target: &LiveTarget,
        client: &dyn Target,
        item: &ClaimedGroup,
        shields: &[Shield<'_>],
        unsettled: &Unsettled,
    ) -> Result<Seen, Halt> {
        let mut seen = Seen::default();
        let mut cursor: Option<String> = None;
        let rules: Arc<[(ConnectionId, Rules)]> = target
            .rules
            .iter()
            .map(|(id, rules)| (id.clone(), rules.clone()))
            .collect();
        loop {
            let page = client.members(&item.name, cursor.as_deref()).await?;
            self.still_ours(item).await?;
            seen.listed += page.items.len();
            let (id, name, rules) = (item.target_id.clone(), item.name.clone(), rules.clone());
            let sorted = self
                .store
                .read(move |conn| -> Result<_, store::Error> {
                    let mut sorted = Vec::with_capacity(page.items.len());
                    for member in page.items {
                        let whose = whose(conn, &rules, &id, &name, &member)?;
                        sorted.push((member, whose));
                    }
                    Ok(sorted)
                })
                .await?;
            for (member, whose) in sorted {
                let full = seen.known.len() + seen.strangers.len() >= MOST;
                match whose {
                    Whose::Ours => seen.ours += 1,
                    Whose::Wanted => {}
                    _ if shields.iter().any(|s| s.user(&member.username).is_some()) => {
                        seen.protected += 1;
                    }
                    Whose::Stranger if unsettled.names.contains(&fold_text(&member.username)) => {}
                    _ if full => seen.more = true,
                    Whose::Known(account, user) => seen.known.push((account, user)),
                    Whose::Stranger => seen.strangers.push(member),
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(seen),
            }
        }
    }

    /// Leaves people of the mirror to their own work items: these see the membership in the ledger now.
    async fn mark_known(
        &self,
        item: &ClaimedGroup,
        seen: &Seen,
        now: Micros,
    ) -> Result<usize, Halt> {
        if seen.known.is_empty() {
            return Ok(0);
        }
        let (item, known) = (item.clone(), seen.known.clone());
        let marked = known.len();
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                let cause = cause(&item.name);
                for (account, user) in &known {
                    ledger::put_foreign_membership(tx, account, &item.name)?;
                    work::mark_one(tx, &item.target_id, user, Priority::Bulk, &cause, now)?;
                }
                Ok(())
            })
            .await?;
        Ok(marked)
    }

    /// Takes one account out that nobody in the mirror has, unless a look at it shows otherwise.
    async fn take_out(
        &self,
        client: &dyn Target,
        item: &ClaimedGroup,
        rules: &Rules,
        shields: &[Shield<'_>],
        unsettled: &Unsettled,
        (member, subject): (&Member, Subject),
    ) -> Result<Out, Halt> {
        if self.is_paused(&item.target_id) {
            return Err(Halt::Void("the target is paused".to_owned()));
        }
        let lookup = if member.remote_id.is_empty() {
            Lookup::Username(&member.username)
        } else {
            Lookup::RemoteId(&member.remote_id)
        };
        let Some(account) = client.observe(lookup).await? else {
            return Ok(Out::Stays);
        };
        let is_wanted = unsettled.names.contains(&fold_text(&account.username))
            || account
                .email
                .as_ref()
                .is_some_and(|email| unsettled.emails.contains(&fold_text(email)));
        let is_protected = shields.iter().any(|s| s.user(&account.username).is_some());
        let folded = fold_text(&item.name);
        let is_in = account
            .groups
            .iter()
            .any(|group| fold_text(group) == folded);
        if is_wanted || is_protected || !is_in {
            return Ok(Out::Stays);
        }
        let removal = Removal {
            kind: RemovalKind::MembershipRemoval,
            group: item.name.clone(),
        };
        let now = self.clock.now();
        let (held_item, asked, limits) = (
            item.clone(),
            subject.clone(),
            rules.settings().brakes.clone(),
        );
        let (id, remote, username) = (
            item.target_id.clone(),
            account.remote_id.clone(),
            account.username.clone(),
        );
        let answer = self
            .store
            .write(move |tx| -> Result<Option<Answer>, store::Error> {
                if !group_work::renew(tx, &held_item, now + LEASE)? {
                    tx.discard();
                    return Ok(None);
                }
                let seat = ledger::seat(tx.conn(), &id, &held_item.name, &remote, &username)?;
                if seat.is_some() {
                    // It is somebody's by now.
                    return Ok(Some(Answer::Discarded));
                }
                brakes::ask(tx, &limits, &asked, &removal, now).map(Some)
            })
            .await?;
        match answer {
            None => return Err(Halt::Lost),
            Some(Answer::Held(_)) => return Ok(Out::Held),
            Some(Answer::Discarded) => return Ok(Out::Stays),
            Some(Answer::Go) => {}
        }
        let action = Action::RemoveMember {
            remote_id: account.remote_id.clone(),
            username: account.username.clone(),
            group: item.name.clone(),
        };
        let outcome = client.apply(&action).await;
        let mut detail = serde_json::to_value(&action).unwrap_or_default();
        detail["before"] = json!({"owner": Owner::Foreign});
        let (word, message) = match &outcome {
            Ok(applied) if applied.already => ("already", None),
            Ok(_) => ("done", None),
            Err(failure @ Failure::Rejected { .. }) => ("rejected", Some(failure.to_string())),
            Err(failure) => return Err(failure.clone().into()),
        };
        let row = NewAudit {
            at: self.clock.now(),
            actor: None,
            connection_id: Some(subject.connection.clone()),
            target_id: Some(item.target_id.clone()),
            user_id: None,
            user_name: Some(account.username.clone()),
            operation: action.name().to_owned(),
            detail: detail.to_string(),
            outcome: word.to_owned(),
            message,
            cause: subject.cause.clone(),
        };
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                let over = brakes::of_subject(tx.conn(), &subject.target, &subject.key)?;
                brakes::end(tx, &over, &subject.cause, now)?;
                audit::append(tx, &row)
            })
            .await?;
        Ok(if outcome.is_ok() {
            Out::Removed(account.remote_id)
        } else {
            Out::Stays
        })
    }

    /// Ends what was held of this group and is not wanted any more.
    async fn end_holds(&self, item: &ClaimedGroup, seen: &Seen) -> Result<(), Halt> {
        if seen.more {
            return Ok(());
        }
        let still: HashSet<String> = seen.strangers.iter().map(key).collect();
        let (item, now) = (item.clone(), self.clock.now());
        let folded = fold_text(&item.name);
        let target = item.target_id.clone();
        let over: Vec<brakes::Hold> = self
            .store
            .read(brakes::held)
            .await?
            .into_iter()
            .filter(|hold| hold.target_id == target.as_str() && hold.user_id.is_none())
            .filter(|hold| fold_text(&hold.group) == folded && !still.contains(&hold.subject))
            .collect();
        if !over.is_empty() {
            self.store
                .write(move |tx| brakes::end(tx, &over, &cause(&item.name), now))
                .await?;
        }
        Ok(())
    }

    /// A group that was there before Usher used it: who is in it and who should be, for the record.
    async fn compare_adopted(
        &self,
        target: &LiveTarget,
        client: &Arc<dyn Target>,
        item: &ClaimedGroup,
    ) -> Result<String, Halt> {
        let (id, name) = (item.target_id.clone(), item.name.clone());
        let owner = self
            .store
            .read(move |conn| ledger::group_owner(conn, &id, &name))
            .await?;
        if owner != Some(Owner::Adopted) {
            return Ok("no rule asks for its members to be compared".to_owned());
        }
        let unsettled = self.unsettled(target, item).await?;
        let seen = self
            .members(target, client.as_ref(), item, &[], &unsettled)
            .await?;
        let others = seen.known.len() + seen.strangers.len();
        let who = shown(&seen).unwrap_or_else(|| "nobody".to_owned());
        let text = format!(
            "{:?} was there: {} members, {} of them not by the source ({who}); they stay",
            item.name, seen.listed, others
        );
        let row = NewAudit {
            at: self.clock.now(),
            actor: None,
            connection_id: None,
            target_id: Some(item.target_id.clone()),
            user_id: None,
            user_name: None,
            operation: "adopt_group".to_owned(),
            detail: json!({
                "group": item.name,
                "members": seen.listed,
                "not_by_the_source": others,
                "more": seen.more,
            })
            .to_string(),
            outcome: "done".to_owned(),
            message: Some(text.clone()),
            cause: item.cause.clone(),
        };
        self.store.write(move |tx| audit::append(tx, &row)).await?;
        Ok(text)
    }

    async fn still_ours(&self, item: &ClaimedGroup) -> Result<(), Halt> {
        let (item, until) = (item.clone(), self.clock.now() + LEASE);
        let renewed = self
            .store
            .write(move |tx| group_work::renew(tx, &item, until))
            .await?;
        if renewed { Ok(()) } else { Err(Halt::Lost) }
    }
}

/// What became of an account.
enum Out {
    Removed(String),
    Held,
    Stays,
}

/// The mapping that asks for the members of a group to be those of the source: a live one first.
fn asks<'t>(target: &'t LiveTarget, name: &str) -> Option<(&'t Rules, ConnectionId, Mode)> {
    let mut asking: Vec<_> = target
        .rules
        .iter()
        .filter(|(_, rules)| rules.settings().groups.compares_members(name))
        .map(|(id, rules)| (rules, id.clone(), rules.settings().mode))
        .collect();
    asking.sort_by_key(|(.., mode)| *mode != Mode::Live);
    asking.into_iter().next()
}

fn leads(rules: &Rules, group: &SourceGroup, name: &str) -> bool {
    let folded = fold_text(name);
    let ways = rules.group_ways(group);
    ways.into_iter().any(|way| {
        way.target
            .is_some_and(|target| fold_text(&target) == folded)
    })
}

fn cause(group: &str) -> String {
    format!("the members of {group:?} are compared with the source")
}

/// What tells an account apart that nobody in the mirror has.
fn key(member: &Member) -> String {
    if member.remote_id.is_empty() {
        format!("account {}", fold_text(&member.username))
    } else {
        format!("account {}", member.remote_id)
    }
}

fn shown(seen: &Seen) -> Option<String> {
    let all = seen.known.len() + seen.strangers.len();
    if all == 0 {
        return None;
    }
    let mut names: Vec<String> = seen
        .strangers
        .iter()
        .take(SHOWN)
        .map(|member| format!("{:?}", member.username))
        .collect();
    if all > names.len() {
        names.push(format!("{} more", all - names.len()));
    }
    Some(names.join(", "))
}

/// Whose a membership is that a listing shows.
enum Whose {
    /// Usher's.
    Ours,
    /// Somebody's whom the rules want in the group, or who is being dealt with.
    Wanted,
    /// Somebody's of the mirror whom the rules do not want in it: account and person.
    Known(String, UserId),
    /// Of an account that nobody in the mirror has.
    Stranger,
}

fn whose(
    conn: &mut AnyConn,
    rules: &[(ConnectionId, Rules)],
    target: &TargetId,
    group: &str,
    member: &Member,
) -> Result<Whose, store::Error> {
    let seat = ledger::seat(conn, target, group, &member.remote_id, &member.username)?;
    let Some(seat) = seat else {
        return Ok(Whose::Stranger);
    };
    if seat.owner.is_some_and(Owner::is_ours) {
        return Ok(Whose::Ours);
    }
    if seat.standing != Standing::Present {
        return Ok(Whose::Wanted);
    }
    let Some(person) = load::person(conn, &seat.user_id)? else {
        return Ok(Whose::Wanted);
    };
    let Some((_, rules)) = rules.iter().find(|(id, _)| *id == person.connection_id) else {
        return Ok(Whose::Wanted);
    };
    let entry = load::entry(conn, target, &seat.user_id, &person)?;
    let desired = person.desired(rules, &entry);
    let folded = fold_text(group);
    let is_wanted = desired.groups.iter().any(|g| fold_text(&g.name) == folded);
    // Leavers keep what their policy leaves them.
    let is_settled = desired.presence != Presence::Active;
    if is_wanted || is_settled || rules.settings().groups.keeps_members(group) {
        return Ok(Whose::Wanted);
    }
    Ok(Whose::Known(seat.account_id, seat.user_id))
}

/// One page of people without an account whom the rules want in a group.
struct WantedPage {
    names: Vec<String>,
    emails: Vec<String>,
    /// The last person looked at, if there may be more.
    last: Option<String>,
}

fn wanted_without_account(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    target: &TargetId,
    rules: &Rules,
    place: Option<&str>,
    after: &str,
    folded: &str,
) -> Result<WantedPage, store::Error> {
    let ids = users::without_account(conn, connection, target, place, after, PAGE)?;
    let mut page = WantedPage {
        names: Vec::new(),
        emails: Vec::new(),
        last: ids.last().map(|id| id.0.clone()),
    };
    for id in ids {
        let Some(person) = load::person(conn, &id)? else {
            continue;
        };
        let entry = load::entry(conn, target, &id, &person)?;
        let desired = person.desired(rules, &entry);
        let Ok(account) = desired.account else {
            continue;
        };
        if desired.groups.iter().any(|g| fold_text(&g.name) == folded) {
            page.names.push(fold_text(&account.username));
            page.emails.extend(account.email.as_deref().map(fold_text));
        }
    }
    Ok(page)
}
