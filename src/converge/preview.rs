//! What a run would do: the code of the run with the last step left out.
//!
//! Everyone is planned as if looked at now, in any order, so a plan has to assume what a run finds done: groups
//! that somebody before needed are made, names that somebody gives up are free. What products do of their own
//! accord, and what they refuse, no plan can know.
//!
//! Memory: one page of people at a time, the groups of the target, and eight bytes for each name to be given.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::brakes::Braking;
use super::engine::Engine;
use super::live::{Live, LiveTarget};
use super::load::{self, Entry, Person};
use super::look::{self, Ahead, Obstacle};
use super::plan::GroupState;
use super::record::describe;
use super::worker::{Stop, Work};
use crate::domain::{Action, ConnectionId, Failure, Mode, Presence, TargetId, UserId};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::settings::Configuration;
use crate::store::work::Claimed;
use crate::store::{self, users};
use crate::targets::Target;

/// How many people are read at a time.
const PAGE: i64 = 200;
/// After so many people in a row for whom the target did not answer, it is left alone.
const FAILURES: usize = 3;
/// How often a target that asks for a pause is given one for the sake of one person.
const PAUSES: usize = 5;
/// The longest pause that a plan makes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many people who wait for each other are followed.
const DEPTH: usize = 4;

/// Whom to plan for. What is empty does not restrict.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// From this source.
    pub connection: Option<ConnectionId>,
    /// At this target.
    pub target: Option<TargetId>,
    /// These people.
    pub users: Vec<UserId>,
    /// By these mappings: those that a file changes.
    pub mappings: Option<Vec<(ConnectionId, TargetId)>>,
}

/// What it comes to for one person at one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing differs, or nothing may be done about it.
    InStep,
    /// There is something to do.
    Changes,
    /// The source has not sent enough yet.
    Waiting,
    /// A person has to decide.
    Held,
    /// The target could not be asked.
    Unknown,
}

/// One operation that would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Foreseen {
    /// `create_user`, `add_member`, …: as in the audit.
    pub operation: String,
    /// The operation in full, as the audit would keep it, but for what was there before.
    pub detail: Json,
    /// In words.
    pub text: String,
    /// The rule.
    pub because: String,
}

/// One person at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Outlook {
    /// Name of the target.
    pub target: String,
    /// Name of the connection.
    pub connection: String,
    /// SCIM id.
    #[schemars(with = "String")]
    pub user_id: UserId,
    /// User name at the source.
    pub user_name: String,
    /// What the mode of the mapping makes of it: only `live` does it.
    pub mode: Mode,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why it waits, is held, or is unknown.
    pub reason: Option<String>,
    /// What would be done, in this order.
    pub operations: Vec<Foreseen>,
    /// What a brake would hold, or holds. Which of many are held and which pass depends on who is looked at first.
    pub braked: Vec<Foreseen>,
    /// Memberships that are there and wanted: they become Usher's without a request.
    pub takes_over: Vec<String>,
    /// What rules, protections or the product keep from being done.
    pub not_done: Vec<String>,
}

/// What a plan comes to for one connection at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Summary {
    /// Name of the target.
    pub target: String,
    /// Name of the connection.
    pub connection: String,
    /// Mode of the mapping.
    pub mode: Mode,
    /// People looked at.
    pub people: u64,
    /// People for whom there is something to do.
    pub changing: u64,
    /// People of whom the source has not sent enough.
    pub waiting: u64,
    /// People about whom somebody has to decide, or of whom a brake would hold something.
    pub held: u64,
    /// People whose accounts could not be read.
    pub unknown: u64,
    /// Operations by name.
    pub operations: BTreeMap<String, u64>,
    /// Operations by name that brakes would hold.
    pub braked: BTreeMap<String, u64>,
    /// Why the target was left alone before everyone was looked at.
    pub stopped: Option<String>,
}

/// A plan that is being made for one mapping.
struct Sight<'a> {
    target: &'a LiveTarget,
    rules: &'a Rules,
    client: &'a dyn Target,
    connection: &'a ConnectionId,
    connection_name: &'a str,
}

/// What a plan remembers of the people of a target that it has seen.
#[derive(Debug, Default)]
struct Memory {
    ahead: Ahead,
    /// Of names that accounts will be given, with whom it is: 64 bits of each, for there may be very many.
    names: HashSet<u64>,
    /// What passed the brakes.
    braking: Braking,
}

/// How far a plan has come with a connection.
#[derive(Debug, Clone, Default)]
struct Turn {
    /// With those who live, or with those who are deleted.
    deleted: bool,
    after: Option<UserId>,
}

impl Engine {
    /// Plans for everyone in `scope` under `configuration`, which need not be the stored one, and hands each
    /// person to `each` as soon as it is known. Reads the target only where a run would.
    ///
    /// # Errors
    /// The database fails. A target that does not answer is told in its summary.
    pub async fn preview(
        &self,
        mut configuration: Configuration,
        scope: &Scope,
        each: &mut (dyn FnMut(Outlook) + Send),
    ) -> Result<Vec<Summary>, store::Error> {
        configuration.mappings.retain(|m| {
            scope
                .connection
                .as_ref()
                .is_none_or(|c| *c == m.connection_id)
                && scope.target.as_ref().is_none_or(|t| *t == m.target_id)
                && scope.mappings.as_ref().is_none_or(|pairs| {
                    pairs
                        .iter()
                        .any(|(c, t)| *c == m.connection_id && *t == m.target_id)
                })
        });
        let mappings = &configuration.mappings;
        configuration
            .targets
            .retain(|t| mappings.iter().any(|m| m.target_id == t.id));
        let names: Vec<(ConnectionId, String)> = configuration
            .connections
            .iter()
            .map(|c| (c.id.clone(), c.settings.name.clone()))
            .collect();
        let live = Live::build(configuration, self.connector());
        let mut summaries = Vec::new();
        for target in &live.targets {
            let mut memory = Memory::default();
            for (connection, rules) in &target.rules {
                let name = names
                    .iter()
                    .find(|(id, _)| id == connection)
                    .map_or(connection.as_str(), |(_, name)| name);
                let mut summary = Summary {
                    target: target.settings.name.clone(),
                    connection: name.to_owned(),
                    mode: rules.settings().mode,
                    people: 0,
                    changing: 0,
                    waiting: 0,
                    held: 0,
                    unknown: 0,
                    operations: BTreeMap::new(),
                    braked: BTreeMap::new(),
                    stopped: None,
                };
                match &target.client {
                    Err(why) => summary.stopped = Some(why.clone()),
                    Ok(client) => {
                        let sight = Sight {
                            target,
                            rules,
                            client: client.as_ref(),
                            connection,
                            connection_name: name,
                        };
                        self.survey(&sight, &scope.users, &mut memory, &mut summary, each)
                            .await?;
                    }
                }
                summaries.push(summary);
            }
        }
        Ok(summaries)
    }

    /// Everyone of one mapping, a page at a time.
    async fn survey(
        &self,
        sight: &Sight<'_>,
        only: &[UserId],
        memory: &mut Memory,
        summary: &mut Summary,
        each: &mut (dyn FnMut(Outlook) + Send),
    ) -> Result<(), store::Error> {
        // A product that does not even tell this much is not asked about people.
        if let Err(failure) = sight.client.protected().await {
            summary.stopped = Some(failure.to_string());
            return Ok(());
        }
        let mut failures = 0;
        let mut turn = Turn::default();
        loop {
            let people = self.page(sight, only, &turn).await?;
            let Some((last, ..)) = people.last() else {
                // Everyone who lives was looked at; now for those who are deleted.
                if turn.deleted || !only.is_empty() {
                    return Ok(());
                }
                turn = Turn {
                    deleted: true,
                    after: None,
                };
                continue;
            };
            turn.after = Some(last.clone());
            for (user, person, entry) in people {
                let outlook = self
                    .outlook(sight, user, (person, entry), memory, DEPTH)
                    .await?;
                summary.count(&outlook);
                failures = match outlook.verdict {
                    Verdict::Unknown => failures + 1,
                    _ => 0,
                };
                let reason = outlook.reason.clone();
                each(outlook);
                if failures >= FAILURES {
                    summary.stopped = reason;
                    return Ok(());
                }
            }
            if !only.is_empty() {
                return Ok(());
            }
        }
    }

    async fn page(
        &self,
        sight: &Sight<'_>,
        only: &[UserId],
        turn: &Turn,
    ) -> Result<Vec<(UserId, Person, Entry)>, store::Error> {
        let (connection, target) = (sight.connection.clone(), sight.target.id.clone());
        let (only, turn) = (only.to_vec(), turn.clone());
        self.store
            .read(move |conn| {
                let ids = if only.is_empty() {
                    let after = turn.after.as_ref();
                    users::page_of_ids(conn, &connection, turn.deleted, after, PAGE)?
                } else {
                    only
                };
                let mut people = Vec::with_capacity(ids.len());
                for id in ids {
                    let Some(person) = load::person(conn, &id)? else {
                        continue;
                    };
                    if person.connection_id == connection {
                        let entry = load::entry(conn, &target, &id, &person)?;
                        people.push((id, person, entry));
                    }
                }
                Ok(people)
            })
            .await
    }

    /// One person.
    async fn outlook(
        &self,
        sight: &Sight<'_>,
        user: UserId,
        (person, mut entry): (Person, Entry),
        memory: &mut Memory,
        depth: usize,
    ) -> Result<Outlook, store::Error> {
        let item = Claimed {
            target_id: sight.target.id.clone(),
            user_id: user,
            connection_id: sight.connection.clone(),
            generation: 0,
            attempts: 0,
            cause: "plan".to_owned(),
            lease_owner: String::new(),
            marked_at: 0,
        };
        let mut outlook = Outlook {
            target: sight.target.settings.name.clone(),
            connection: sight.connection_name.to_owned(),
            user_id: item.user_id.clone(),
            user_name: person.user_name.clone(),
            mode: sight.rules.settings().mode,
            verdict: Verdict::InStep,
            reason: None,
            operations: Vec::new(),
            braked: Vec::new(),
            takes_over: Vec::new(),
            not_done: Vec::new(),
        };
        let mut pauses = 0;
        // Each round but the last gets one obstacle out of the way.
        for _ in 0..DEPTH + PAUSES {
            let means = (sight.rules, sight.client);
            let seen = (person.clone(), entry.clone());
            let obstacle = match self
                .prepare(sight.target, means, &item, seen, &mut memory.ahead)
                .await
            {
                Ok(mut job) => {
                    outlook.mode = job.person.mode(sight.rules, &job.desired);
                    match self
                        .past_the_brakes(sight, &mut job, outlook.mode, memory)
                        .await
                    {
                        Ok(None) => {
                            outlook.tell(&job, memory);
                            return Ok(outlook);
                        }
                        Ok(Some(note)) => {
                            outlook.not_done.push(note);
                            return Ok(outlook);
                        }
                        Err(stop) => Obstacle::Stop(stop),
                    }
                }
                Err(obstacle) => obstacle,
            };
            match obstacle {
                Obstacle::Stop(Stop::Failed(Failure::Throttled { after, .. }))
                    if pauses < PAUSES =>
                {
                    pauses += 1;
                    tokio::time::sleep(after.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)).await;
                }
                Obstacle::Stop(stop) => return outlook.ends(stop),
                Obstacle::Former(account) => {
                    let former = account.user_id.clone();
                    let Some((theirs, their_entry)) = self.read(&item, &former).await? else {
                        return Ok(outlook.held(look::formers(&account)));
                    };
                    if theirs.connection_id != *sight.connection {
                        return Ok(outlook.held(look::formers(&account)));
                    }
                    outlook.operations.push(Foreseen {
                        operation: "hand_over".to_owned(),
                        detail: json!({"account": account.username}),
                        text: format!("hand the account {:?} over", account.username),
                        because: "a former user of that name had it".to_owned(),
                    });
                    entry = their_entry.handed_over(&item.user_id);
                }
                Obstacle::Taken(account, name) => {
                    let other = account.user_id.clone();
                    let theirs = match self.read(&item, &other).await? {
                        Some(seen) if depth > 0 && seen.0.connection_id == *sight.connection => {
                            Some(self.before(sight, other, seen, memory, depth).await?)
                        }
                        // Somebody else's rules, or a chain too long to follow.
                        _ => None,
                    };
                    if theirs.is_some_and(|theirs| theirs.gives_up_name()) {
                        memory.ahead.vacated.extend(account.remote_id.clone());
                    } else {
                        return Ok(outlook.held(look::taken(&account, &name)));
                    }
                }
            }
        }
        Ok(outlook.held("waits for others who wait in turn".to_owned()))
    }

    /// What lies between a plan and its operations: whoever came after somebody deleted, and the brakes. `Some`: there
    /// is nothing to do, and why.
    async fn past_the_brakes(
        &self,
        sight: &Sight<'_>,
        job: &mut Work<'_>,
        mode: Mode,
        memory: &mut Memory,
    ) -> Result<Option<String>, Stop> {
        // Nothing is written in shadow mode, so no brake is asked.
        if mode == Mode::Shadow {
            return Ok(None);
        }
        if self.successor(sight.rules, job).await?.is_some() {
            let note = "the account goes to the user of that name who came after";
            return Ok(Some(note.to_owned()));
        }
        self.foresee_brakes(job, sight.rules, sight.client, &mut memory.braking)
            .await?;
        Ok(None)
    }

    /// What is done for somebody whose work has to come first. It will be counted in its own turn.
    async fn before(
        &self,
        sight: &Sight<'_>,
        user: UserId,
        seen: (Person, Entry),
        memory: &Memory,
        depth: usize,
    ) -> Result<Outlook, store::Error> {
        let mut aside = Memory {
            ahead: memory.ahead.clone(),
            names: HashSet::new(),
            braking: memory.braking.clone(),
        };
        Box::pin(self.outlook(sight, user, seen, &mut aside, depth.saturating_sub(1))).await
    }
}

impl Summary {
    fn count(&mut self, outlook: &Outlook) {
        self.people += 1;
        match outlook.verdict {
            Verdict::InStep | Verdict::Changes => {}
            Verdict::Waiting => self.waiting += 1,
            Verdict::Held => self.held += 1,
            Verdict::Unknown => self.unknown += 1,
        }
        if outlook.verdict != Verdict::Held && !outlook.braked.is_empty() {
            self.held += 1;
        }
        if !(outlook.operations.is_empty() && outlook.braked.is_empty()) {
            self.changing += 1;
        }
        for foreseen in &outlook.braked {
            *self.braked.entry(foreseen.operation.clone()).or_default() += 1;
        }
        for foreseen in &outlook.operations {
            *self
                .operations
                .entry(foreseen.operation.clone())
                .or_default() += 1;
        }
    }
}

impl Outlook {
    /// Takes in what would be done.
    fn tell(&mut self, job: &Work<'_>, memory: &mut Memory) {
        if let Some((name, what)) = job.plan.actions.iter().find_map(named)
            && !memory.names.insert(hash(name))
        {
            let text = format!("another person of this plan is to be called {name:?}");
            if matches!(what, Action::CreateUser { .. }) {
                self.verdict = Verdict::Held;
                self.reason = Some(text);
                return;
            }
            self.not_done.push(text);
        }
        if job.adopted {
            let account = job.current.account.as_ref().map(|a| a.username.clone());
            let name = account.unwrap_or_default();
            let wanted = job.desired.account.as_ref().ok();
            let by_name = wanted.is_some_and(|it| fold_text(&it.username) == fold_text(&name));
            let key = if by_name { "username" } else { "email" };
            self.operations.push(Foreseen {
                operation: "adopt_user".to_owned(),
                detail: json!({"account": name, "matched_by": key}),
                text: format!("take over the account {name:?}"),
                because: format!("it matches by {key}, and adopt is on"),
            });
        }
        for action in &job.plan.actions {
            if let Action::CreateGroup { name } = action {
                memory
                    .ahead
                    .groups
                    .insert(fold_text(name), GroupState::Exists);
            }
            self.operations.push(job.foreseen(action));
        }
        let braked = job.plan.held_actions.iter();
        self.braked = braked.map(|action| job.foreseen(action)).collect();
        self.takes_over.clone_from(&job.plan.adopt);
        self.not_done.extend(job.plan.notes.iter().cloned());
        self.reason = job.plan.waiting.clone().or(job.plan.held.clone());
        self.verdict = if job.plan.waiting.is_some() {
            Verdict::Waiting
        } else if !self.operations.is_empty() {
            Verdict::Changes
        } else if !self.braked.is_empty() {
            Verdict::Held
        } else {
            Verdict::InStep
        };
    }

    fn held(mut self, why: String) -> Self {
        self.verdict = Verdict::Held;
        self.reason = Some(why);
        self.operations.clear();
        self
    }

    /// What a run would end with.
    fn ends(mut self, stop: Stop) -> Result<Self, store::Error> {
        match stop {
            Stop::Store(error) => Err(error),
            Stop::Failed(failure) => {
                self.verdict = Verdict::Unknown;
                self.reason = Some(failure.to_string());
                self.operations.clear();
                Ok(self)
            }
            Stop::Park(_, why)
            | Stop::Shown(_, why)
            | Stop::Later(why)
            | Stop::Yield(why)
            | Stop::Behind(why) => Ok(self.held(why)),
            Stop::Lost => Ok(self.held("another worker is at it".to_owned())),
        }
    }

    fn gives_up_account(&self) -> bool {
        self.operations.iter().any(|o| o.operation == "delete_user")
    }

    fn gives_up_name(&self) -> bool {
        self.gives_up_account() || self.operations.iter().any(|o| o.operation == "rename_user")
    }
}

impl Work<'_> {
    fn foreseen(&self, action: &Action) -> Foreseen {
        Foreseen {
            operation: action.name().to_owned(),
            detail: serde_json::to_value(action).unwrap_or_default(),
            text: describe(action),
            because: self.reason_for(action),
        }
    }

    /// The rule that an action goes back to.
    fn reason_for(&self, action: &Action) -> String {
        let rules = &self.desired.rules;
        let is_undone = match action {
            Action::Reactivate { .. } => self.undone.access,
            Action::AddMember { group, .. } => self.undone.owner_of(group).is_some(),
            _ => false,
        };
        if is_undone {
            return self.undone.because.clone();
        }
        match action {
            Action::CreateUser { .. } | Action::Reactivate { .. } | Action::Deactivate { .. } => {
                rules.presence.clone()
            }
            Action::RenameUser { .. } => rules.username.clone(),
            Action::UpdateUser {
                display_name,
                email,
                ..
            } => {
                let display_name = display_name.as_ref().map(|_| rules.display_name.as_str());
                let email = email.as_ref().map(|_| rules.email.as_str());
                let both: Vec<&str> = display_name.into_iter().chain(email).collect();
                both.join("; ")
            }
            Action::DeleteUser { .. } => format!("{}; on_delete = \"delete\"", rules.presence),
            Action::CreateGroup { name } | Action::AddMember { group: name, .. } => self
                .desired
                .groups
                .iter()
                .find(|group| fold_text(&group.name) == fold_text(name))
                .map_or_else(String::new, |group| group.because.clone()),
            Action::RemoveMember { .. } => match self.desired.presence {
                Presence::Active | Presence::Inactive => "no rule gives this group".to_owned(),
                Presence::Deleted | Presence::OutOfScope => rules.presence.clone(),
            },
        }
    }
}

/// The name that an action gives to an account.
fn named(action: &Action) -> Option<(&str, &Action)> {
    match action {
        Action::CreateUser { username, .. } => Some((username, action)),
        Action::RenameUser { to, .. } => Some((to, action)),
        _ => None,
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    fold_text(name).hash(&mut hasher);
    hasher.finish()
}
