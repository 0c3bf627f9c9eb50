//! What stands between a plan and its removals: the brakes, and the last administrator.

use super::engine::Engine;
use super::worker::{Stop, Work};
use crate::clock::Micros;
use crate::domain::{Action, Brakes, Failure, Lookup, Presence, Removal, RemovalKind};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::brakes::{self, Answer, Hold, Subject};
use crate::store::work::Parked;
use crate::store::{self, Tx};
use crate::targets::{Protected, Target};

/// For how long somebody else's deactivation counts as under way when the last administrator is looked for:
/// longer than any operation takes.
const UNDER_WAY: Micros = 10 * 60 * 1_000_000;
/// How many members of the administrators' groups are looked at, to find one other that is active.
const LOOKS: usize = 200;

impl Engine {
    /// Takes out of the plan what may not be done now. Everything else of it goes on: whoever moves to another
    /// department gets the new groups while the old ones wait for a person.
    pub(super) async fn put_brakes_on(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        client: &dyn Target,
    ) -> Result<(), Stop> {
        let wanted: Vec<Removal> = job
            .plan
            .actions
            .iter()
            .filter_map(Action::removal)
            .collect();
        let over = job.holds_over(&wanted);
        if wanted.is_empty() && over.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let subject = job.subject();
        let (limits, asked) = (rules.settings().brakes.clone(), wanted.clone());
        let answers = self
            .store
            .write(move |tx| -> Result<Vec<Answer>, store::Error> {
                brakes::end(tx, &over, &subject.cause, now)?;
                ask(tx, &limits, &subject, &asked, now)
            })
            .await?;
        job.obey(&wanted, &answers);
        for removal in job.plan.actions.iter().filter_map(Action::removal) {
            if removal.kind != RemovalKind::MembershipRemoval {
                self.keep_an_administrator(job, &removal, client).await?;
            }
        }
        Ok(())
    }

    /// The same for a plan, where everything is only assumed to be done.
    pub(super) async fn foresee_brakes(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        client: &dyn Target,
        ahead: &mut Braking,
    ) -> Result<(), Stop> {
        let removals = job.plan.actions.iter().filter_map(Action::removal);
        let wanted: Vec<Removal> = removals.collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let (subject, limits) = (job.subject(), rules.settings().brakes.clone());
        let (asked, mut counted) = (wanted.clone(), std::mem::take(&mut ahead.counted));
        let (answers, counted) = self
            .store
            .read(move |conn| -> Result<_, store::Error> {
                let mut answers = Vec::with_capacity(asked.len());
                for removal in &asked {
                    let (limits, subject) = (&limits, &subject);
                    let answer = brakes::foresee(conn, &mut counted, limits, subject, removal, now);
                    answers.push(answer?);
                }
                Ok((answers, counted))
            })
            .await?;
        ahead.counted = counted;
        job.obey(&wanted, &answers);
        let is_leaving = job
            .plan
            .actions
            .iter()
            .filter_map(Action::removal)
            .any(|removal| removal.kind != RemovalKind::MembershipRemoval);
        let account = job.current.account.as_ref().filter(|_| is_leaving);
        let Some(name) = account.map(|account| fold_text(&account.username)) else {
            return Ok(());
        };
        if let Some(why) = self.last_administrator(job, client, &ahead.leaving).await? {
            return Err(Stop::Shown(Parked::Held, why));
        }
        ahead.leaving.push(name);
        Ok(())
    }

    /// Forgets what was held: nothing of it would be done. If it is wanted again, the brakes are asked again.
    pub(super) async fn take_brakes_off(&self, job: &Work<'_>) -> Result<(), Stop> {
        let mut over = job.entry.holds.clone();
        // Nothing is done in shadow mode; what a person had given back is to stay after it, too.
        over.retain(|hold| !hold.is_undone());
        if over.is_empty() {
            return Ok(());
        }
        let (now, cause) = (self.clock.now(), job.item.cause.clone());
        self.store
            .write(move |tx| brakes::end(tx, &over, &cause, now))
            .await?;
        Ok(())
    }

    /// Nobody who administers the product loses the account unless somebody else does so too, who is active and
    /// is not Usher itself. Out of the administrators' groups nobody is taken anyway: these are protected.
    async fn keep_an_administrator(
        &self,
        job: &Work<'_>,
        removal: &Removal,
        client: &dyn Target,
    ) -> Result<(), Stop> {
        let Some(why) = self.last_administrator(job, client, &[]).await? else {
            return Ok(());
        };
        let (subject, removal) = (job.subject(), removal.clone());
        self.store
            .write(move |tx| brakes::give_back(tx, &subject, &removal))
            .await?;
        Err(Stop::Shown(Parked::Held, why))
    }

    /// Why somebody cannot go, being the last administrator besides those who are `assumed` to leave, in words.
    async fn last_administrator(
        &self,
        job: &Work<'_>,
        client: &dyn Target,
        assumed: &[String],
    ) -> Result<Option<String>, Stop> {
        let Protected { users, groups, .. } = client.protected().await?;
        let Some(account) = job.current.account.clone().filter(|_| !groups.is_empty()) else {
            return Ok(None);
        };
        let own: Vec<String> = if job.read {
            job.current.groups.keys().cloned().collect()
        } else {
            // The ledger does not know memberships that are none of Usher's.
            let observed = client.observe(Lookup::RemoteId(&account.remote_id)).await?;
            let groups = observed.map(|observed| observed.groups).unwrap_or_default();
            groups.iter().map(|group| fold_text(group)).collect()
        };
        if !groups.iter().any(|group| own.contains(&fold_text(group))) {
            return Ok(None);
        }
        let (target, user) = (job.item.target_id.clone(), job.item.user_id.0.clone());
        let since = self.clock.now() - UNDER_WAY;
        // This one's own removal is written down by now: of two administrators who leave at the same time each
        // sees the other one going.
        let leaving = self
            .store
            .read(move |conn| brakes::leaving(conn, &target, &user, since))
            .await?;
        let own_name = fold_text(&account.username);
        let stays = |name: &str| {
            let name = fold_text(name);
            name != own_name
                && !leaving.contains(&name)
                && !assumed.contains(&name)
                && !users.iter().any(|u| fold_text(u) == name)
        };
        let why = match another(client, &groups, stays).await? {
            Found::Yes => return Ok(None),
            Found::No => format!(
                "{:?} is the last active administrator of {} besides Usher: make somebody else one, then \
                 `usher retry {}`",
                account.username,
                client.capabilities().product,
                job.person.user_name,
            ),
            Found::Untold(text) => format!(
                "{:?} is an administrator, and whether there is another one cannot be read from {} ({text}): \
                 take the account out of the administrators' groups there, then `usher retry {}`",
                account.username,
                client.capabilities().product,
                job.person.user_name,
            ),
        };
        Ok(Some(why))
    }
}

/// What a plan assumes that was removed before, at one target.
#[derive(Debug, Clone, Default)]
pub(super) struct Braking {
    counted: brakes::Ahead,
    /// Folded names of accounts that lose access.
    leaving: Vec<String>,
}

/// Asks the brakes about each removal, in this order.
pub(super) fn ask(
    tx: &mut Tx<'_>,
    rules: &Brakes,
    subject: &Subject,
    wanted: &[Removal],
    now: Micros,
) -> Result<Vec<Answer>, store::Error> {
    wanted
        .iter()
        .map(|removal| brakes::ask(tx, rules, subject, removal, now))
        .collect()
}

impl Work<'_> {
    fn subject(&self) -> Subject {
        Subject {
            target: self.item.target_id.clone(),
            connection: self.item.connection_id.clone(),
            user: Some(self.item.user_id.clone()),
            key: self.item.user_id.0.clone(),
            name: self.person.user_name.clone(),
            basis: basis(&self.desired.presence).to_owned(),
            cause: self.item.cause.clone(),
        }
    }

    /// What is held, or was decided about, and is not wanted any more.
    fn holds_over(&self, wanted: &[Removal]) -> Vec<Hold> {
        let is_over = |hold: &&Hold| {
            !wanted.iter().any(|removal| hold.is_about(removal)) && !self.still_gives_back(hold)
        };
        self.entry.holds.iter().filter(is_over).cloned().collect()
    }

    /// Whether what an undo gave back may be wanted away once it is there again: that shows at the next look.
    fn still_gives_back(&self, hold: &Hold) -> bool {
        let is_settled = hold.group.is_empty() || self.desired.presence == Presence::Active;
        hold.is_undone() && (self.plan.gives_back || !is_settled)
    }

    /// What a person released and is done now.
    pub(super) fn holds_done<'d>(&self, done: impl Iterator<Item = &'d Action>) -> Vec<Hold> {
        let done: Vec<Removal> = done.filter_map(Action::removal).collect();
        let is_done = |hold: &&Hold| done.iter().any(|removal| hold.is_about(removal));
        self.entry.holds.iter().filter(is_done).cloned().collect()
    }

    /// Leaves out of the plan what may not be done, and keeps the reasons.
    fn obey(&mut self, wanted: &[Removal], answers: &[Answer]) {
        let mut held: Vec<String> = Vec::new();
        let mut held_actions: Vec<Action> = Vec::new();
        self.plan.actions.retain(|action| {
            let Some(removal) = action.removal() else {
                return true;
            };
            let answer = wanted
                .iter()
                .position(|other| *other == removal)
                .and_then(|at| answers.get(at));
            match answer {
                Some(Answer::Go) => true,
                Some(Answer::Held(why)) => {
                    held.push(format!("{}: {why}", super::record::describe(action)));
                    held_actions.push(action.clone());
                    false
                }
                Some(Answer::Discarded) | None => false,
            }
        });
        self.plan.held = (!held.is_empty()).then(|| held.join("; "));
        self.plan.held_actions = held_actions;
    }
}

/// Why something is not wanted, in one word.
pub(super) fn basis(presence: &Presence) -> &'static str {
    match presence {
        Presence::Active => "active",
        Presence::Inactive => "inactive",
        Presence::Deleted => "deleted",
        Presence::OutOfScope => "out_of_scope",
    }
}

/// Whether there is another administrator.
enum Found {
    Yes,
    No,
    /// The product does not tell; its words.
    Untold(String),
}

/// Looks for an active member of one of the groups who `stays`.
async fn another(
    client: &dyn Target,
    groups: &[String],
    stays: impl Fn(&str) -> bool,
) -> Result<Found, Failure> {
    let mut untold = None;
    let mut looks = 0;
    for group in groups {
        let mut cursor: Option<String> = None;
        loop {
            let page = match client.members(group, cursor.as_deref()).await {
                Ok(page) => page,
                // A group that is not there has no members.
                Err(Failure::Gone { .. }) => break,
                Err(Failure::Rejected { text, .. }) => {
                    untold = Some(text);
                    break;
                }
                Err(failure) => return Err(failure),
            };
            for member in page.items.iter().filter(|member| stays(&member.username)) {
                let found = client.observe(Lookup::Username(&member.username)).await?;
                if found.is_some_and(|found| found.active) {
                    return Ok(Found::Yes);
                }
                looks += 1;
                if looks >= LOOKS {
                    return Ok(Found::Untold(format!("{LOOKS} of them are inactive")));
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
    }
    Ok(untold.map_or(Found::No, Found::Untold))
}
