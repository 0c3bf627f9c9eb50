//! Whole lives of an installation: joiners, movers, leavers and those who come back, two sources into one target,
//! rules that change, brakes and what people decide about them, lost answers and crashes. At the end what is there is
//! what the source and the rules want, or it is held or discarded; what is foreign or protected is untouched, a second
//! pass writes nothing, and a plan says what a run then does.
//!
//! `USHER_HISTORIES` asks for more of them than the usual thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use async_trait::async_trait;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::sync::Notify;
use usher::app::{self, By, Parts};
use usher::clock::Clock;
use usher::converge::{Options, Outlook, Scope};
use usher::domain::{
    Action, Applied, ConnectionId, Failure, Lookup, Mode, Observed, TargetId, UserId,
};
use usher::intake::{Edit, Source};
use usher::scim::{Dialect, ResourceType, patch};
use usher::store::brakes::{self, Choice, Decision, Hold};
use usher::store::pause::{self, Pause};
use usher::store::settings::{self, Configuration};
use usher::store::work::{self, Item};
use usher::store::{self, audit};
use usher::targets::memory::Memory;
use usher::targets::{Capabilities, Check, Member, Page, Protected, Target};

use super::super::harness::{Database, postgres, sqlite_in};
use super::{account, person, rejected, throttled, transient};

/// People of the first source, of the second, and groups of each.
const CORP: usize = 3;
const PARTNER: usize = 2;
const GROUPS: [&str; 3] = ["jira-0", "jira-1", "jira-administrators"];
/// Few pass: of three people two may be deactivated.
const TIGHT: &str = "\
    deactivations = { count = 2, share = 1.0, window = \"10m\" }\n\
    deletions = { count = 1, share = 1.0, window = \"10m\" }\n\
    membership_removals = { count = 2, share = 1.0, at_least = 2, window = \"10m\" }";
/// The group that nobody may be put into.
const PROTECTED: usize = 2;

/// What the rules of the first source at the first target say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    robots_out: bool,
    deny: bool,
    keep_existing: bool,
    shout: bool,
    on_delete: &'static str,
    mode: &'static str,
    brakes: bool,
}

const FIRST: Rules = Rules {
    robots_out: false,
    deny: false,
    keep_existing: true,
    shout: false,
    on_delete: "deactivate",
    mode: "live",
    brakes: true,
};

#[derive(Debug, Clone, Copy)]
enum Change {
    RobotsOut(bool),
    Deny(bool),
    KeepExisting(bool),
    Shout(bool),
    OnDelete(&'static str),
    Mode(&'static str),
    Brakes(bool),
}

/// A person by number: those of the first source come first.
type Who = usize;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Made, or described anew if already there.
    Put(Who, u8),
    Rename(Who, bool),
    Active(Who, bool),
    Robot(Who, bool),
    Delete(Who),
    Member(Who, usize, bool),
    Rule(Change),
    /// The next request goes wrong: before it takes effect, or after.
    Fault(u8, bool),
    /// The server dies at the next write: before it takes effect, or after.
    Crash(bool),
    /// Of what is held, everything or one person's.
    Release(Option<Who>),
    Discard(Who),
    /// Somebody has nothing written for a person, until it is let go on.
    Pause(Who),
    Resume(Who),
    Work,
    Wait(u16),
}

#[derive(Debug, Clone)]
struct History {
    steps: Vec<Step>,
    /// What changes between the end of it all and the plan.
    last: Vec<Step>,
}

fn change() -> impl Strategy<Value = Change> {
    let policy = prop::sample::select(vec!["deactivate", "remove-groups", "delete", "keep"]);
    let mode = prop::sample::select(vec!["live", "live", "shadow", "paused"]);
    prop_oneof![
        any::<bool>().prop_map(Change::RobotsOut),
        any::<bool>().prop_map(Change::Deny),
        any::<bool>().prop_map(Change::KeepExisting),
        any::<bool>().prop_map(Change::Shout),
        policy.prop_map(Change::OnDelete),
        mode.prop_map(Change::Mode),
        any::<bool>().prop_map(Change::Brakes),
    ]
}

fn of_the_source() -> impl Strategy<Value = Step> {
    let who = 0..CORP + PARTNER;
    let flag = any::<bool>();
    prop_oneof![
        5 => (who.clone(), any::<u8>()).prop_map(|(who, text)| Step::Put(who, text)),
        2 => (who.clone(), flag).prop_map(|(who, second)| Step::Rename(who, second)),
        2 => (who.clone(), flag).prop_map(|(who, active)| Step::Active(who, active)),
        1 => (who.clone(), flag).prop_map(|(who, robot)| Step::Robot(who, robot)),
        2 => who.clone().prop_map(Step::Delete),
        4 => (who, 0..GROUPS.len(), flag).prop_map(|(who, group, joins)| Step::Member(who, group, joins)),
    ]
}

fn history() -> impl Strategy<Value = History> {
    let step = prop_oneof![
        8 => of_the_source(),
        1 => change().prop_map(Step::Rule),
        1 => (0..3u8, any::<bool>()).prop_map(|(kind, after)| Step::Fault(kind, after)),
        1 => any::<bool>().prop_map(Step::Crash),
        1 => prop::option::of(0..CORP).prop_map(Step::Release),
        1 => (0..CORP).prop_map(Step::Discard),
        1 => (0..CORP + PARTNER).prop_map(Step::Pause),
        1 => (0..CORP + PARTNER).prop_map(Step::Resume),
        3 => Just(Step::Work),
        1 => (0..90u16).prop_map(Step::Wait),
    ];
    let last = prop_oneof![
        12 => of_the_source(),
        2 => change().prop_map(Step::Rule),
        1 => (0..CORP + PARTNER).prop_map(Step::Pause),
    ];
    (
        prop::collection::vec(step, 1..30),
        prop::collection::vec(last, 0..8),
    )
        .prop_map(|(steps, last)| History { steps, last })
}

impl Rules {
    fn change(&mut self, change: Change) {
        match change {
            Change::RobotsOut(out) => self.robots_out = out,
            Change::Deny(deny) => self.deny = deny,
            Change::KeepExisting(keep) => self.keep_existing = keep,
            Change::Shout(shout) => self.shout = shout,
            Change::OnDelete(policy) => self.on_delete = policy,
            Change::Mode(mode) => self.mode = mode,
            Change::Brakes(on) => self.brakes = on,
        }
    }

    fn file(&self) -> String {
        let scope = if self.robots_out {
            "scope = 'userType ne \"Robot\"'"
        } else {
            ""
        };
        let brakes = if self.brakes {
            TIGHT
        } else {
            "deactivations = \"off\"\ndeletions = \"off\"\nmembership_removals = \"off\""
        };
        let mark = if self.shout { "!" } else { "" };
        let deny = if self.deny { "\"jira-1\"" } else { "" };
        let Self {
            keep_existing,
            on_delete,
            mode,
            ..
        } = self;
        format!(
            r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"
[[connection]]
name = "partner"
kind = "scim"
[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = {{ env = "NONE" }}
timeout = "5s"
[[target]]
name = "wiki"
kind = "confluence-dc"
base_url = "http://127.0.0.1:1"
token = {{ env = "NONE" }}
timeout = "5s"
[[mapping]]
connection = "corp"
target = "jira"
mode = "{mode}"
[mapping.users]
{scope}
display_name = "displayName ~ '{mark}'"
on_delete = "{on_delete}"
operations = ["create", "update", "rename", "deactivate", "reactivate", "delete"]
[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
deny = [{deny}]
keep_existing = {keep_existing}
[mapping.brakes]
{brakes}
[[mapping]]
connection = "partner"
target = "jira"
mode = "live"
[mapping.groups]
on_the_fly = true
create_missing = true
[mapping.brakes]
{brakes}
[[mapping]]
connection = "corp"
target = "wiki"
mode = "live"
[mapping.brakes]
deactivations = "off"
deletions = "off"
membership_removals = "off"
"#
        )
    }
}

/// A target that may die under a write.
#[derive(Clone, Default)]
struct Wire {
    memory: Memory,
    /// 0: lives; 1: dies before the next write; 2: dies after it.
    dies: Arc<AtomicU8>,
    died: Arc<Notify>,
}

#[async_trait]
impl Target for Wire {
    fn capabilities(&self) -> &'static Capabilities {
        self.memory.capabilities()
    }

    async fn protected(&self) -> Result<Protected, Failure> {
        self.memory.protected().await
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        self.memory.observe(lookup).await
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        self.memory.group_exists(name).await
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        match self.dies.swap(0, Ordering::SeqCst) {
            0 => return self.memory.apply(action).await,
            1 => {}
            _ => drop(self.memory.apply(action).await),
        }
        self.died.notify_one();
        std::future::pending().await
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        Target::users(&self.memory, cursor).await
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        Target::groups(&self.memory, cursor).await
    }

    async fn members(&self, group: &str, cursor: Option<&str>) -> Result<Page<Member>, Failure> {
        Target::members(&self.memory, group, cursor).await
    }

    async fn check(&self) -> Result<Check, Failure> {
        self.memory.check().await
    }
}

/// What the source last said about a living person.
#[derive(Debug, Clone)]
struct Stated {
    id: String,
    text: String,
    active: bool,
    robot: bool,
    groups: BTreeSet<usize>,
}

/// Who works and what is known.
struct Life {
    parts: Parts,
    clock: Clock,
    jira: Wire,
    wiki: Wire,
    rules: Rules,
    configuration: Configuration,
    people: BTreeMap<Who, Stated>,
    /// Who goes by the second name.
    second: BTreeSet<Who>,
    /// By source.
    groups: [Vec<String>; 2],
    untouched: Vec<Observed>,
    /// Ids of those for whom nothing is written, also of people who are gone.
    paused: BTreeSet<String>,
}

fn source_of(who: Who) -> usize {
    usize::from(who >= CORP)
}

impl Life {
    async fn begin(database: &Database) -> Self {
        let (jira, wiki) = (Wire::default(), Wire::default());
        let clock = Clock::manual(1_750_000_000_000_000);
        let parts = assemble(database.open(), &clock, &jira, &wiki);
        let mut life = Self {
            parts,
            clock,
            jira,
            wiki,
            rules: FIRST,
            configuration: Configuration::default(),
            people: BTreeMap::new(),
            second: BTreeSet::new(),
            groups: [Vec::new(), Vec::new()],
            untouched: Vec::new(),
            paused: BTreeSet::new(),
        };
        // Somebody made these before, and nobody gave them to Usher.
        for (name, groups) in [
            ("foreign", ["jira-0", "by-hand"]),
            ("admin", ["jira-administrators", "jira-0"]),
        ] {
            life.jira.memory.seed(Observed {
                groups: groups.map(str::to_owned).to_vec(),
                ..account(name)
            });
        }
        life.untouched = life.jira.memory.users();
        life.apply().await;
        for source in 0..2 {
            for name in GROUPS {
                let group = life
                    .create(source, ResourceType::Group, json!({"displayName": name}))
                    .await;
                life.groups[source].push(group);
            }
        }
        for name in ["foreign", "admin"] {
            let id = life.create(0, ResourceType::User, person(name)).await;
            life.patch_group(0, 1, &id, true).await;
        }
        life
    }

    async fn apply(&mut self) {
        let by = By {
            actor: "test",
            cause: "usher apply",
        };
        let (text, place) = (self.rules.file(), Path::new("usher.toml"));
        let report = app::apply_text(&self.parts.store, &self.clock, (place, &text), by, false)
            .await
            .unwrap();
        self.configuration = report.configuration;
    }

    fn source(&self, source: usize) -> Source {
        Source {
            connection: self.configuration.connections[source].id.clone(),
            dialect: if source == 0 {
                Dialect::Idcs
            } else {
                Dialect::Rfc
            },
            cause: "test".to_owned(),
        }
    }

    async fn create(&self, source: usize, rt: ResourceType, body: Value) -> String {
        let mut body = body;
        body["schemas"] = json!([format!(
            "urn:ietf:params:scim:schemas:core:2.0:{}",
            rt.name()
        )]);
        let intake = &self.parts.intake;
        let written = intake.create(self.source(source), rt, body).await.unwrap();
        written.stored.id
    }

    async fn patch(&self, source: usize, rt: ResourceType, id: &str, operations: Value) {
        let source = self.source(source);
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        let edit = Edit::Patch(patch::parse(source.dialect, body).unwrap());
        let intake = &self.parts.intake;
        let done = intake.modify(source, rt, id.to_owned(), edit, None).await;
        done.unwrap();
    }

    async fn set(&self, who: Who, attribute: &str, value: Value) {
        let id = &self.people[&who].id;
        let operations = json!([{"op": "replace", "path": attribute, "value": value}]);
        self.patch(source_of(who), ResourceType::User, id, operations)
            .await;
    }

    async fn patch_group(&self, source: usize, group: usize, user: &str, joins: bool) {
        let operations = if joins {
            json!([{"op": "add", "path": "members", "value": [{"value": user}]}])
        } else {
            json!([{"op": "remove", "path": format!("members[value eq \"{user}\"]")}])
        };
        let id = &self.groups[source][group];
        self.patch(source, ResourceType::Group, id, operations)
            .await;
    }

    fn name(&self, who: Who) -> String {
        let letter = if self.second.contains(&who) { "q" } else { "p" };
        format!("{letter}{who}")
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put(who, text) => {
                let text = format!("Person {text}");
                if let Some(there) = self.people.get_mut(&who) {
                    there.text.clone_from(&text);
                    self.set(who, "displayName", json!(text)).await;
                } else {
                    let mut body = person(&self.name(who));
                    body["displayName"] = json!(text);
                    body["emails"][0]["value"] = json!(format!("{who}@example.com"));
                    let id = self.create(source_of(who), ResourceType::User, body).await;
                    let stated = Stated {
                        id,
                        text,
                        active: true,
                        robot: false,
                        groups: BTreeSet::new(),
                    };
                    self.people.insert(who, stated);
                }
            }
            Step::Rename(who, second) if self.people.contains_key(&who) => {
                if second {
                    self.second.insert(who);
                } else {
                    self.second.remove(&who);
                }
                let name = self.name(who);
                self.set(who, "userName", json!(name)).await;
            }
            Step::Active(who, active) => {
                if let Some(there) = self.people.get_mut(&who) {
                    there.active = active;
                    self.set(who, "active", json!(active)).await;
                }
            }
            Step::Robot(who, robot) => {
                if let Some(there) = self.people.get_mut(&who) {
                    there.robot = robot;
                    let kind = if robot { "Robot" } else { "Human" };
                    self.set(who, "userType", json!(kind)).await;
                }
            }
            Step::Delete(who) => {
                if let Some(gone) = self.people.remove(&who) {
                    let source = self.source(source_of(who));
                    let intake = &self.parts.intake;
                    intake
                        .delete(source, ResourceType::User, gone.id, None)
                        .await
                        .unwrap();
                }
            }
            Step::Member(who, group, joins) => {
                if let Some(there) = self.people.get_mut(&who) {
                    if joins {
                        there.groups.insert(group);
                    } else {
                        there.groups.remove(&group);
                    }
                    let id = there.id.clone();
                    self.patch_group(source_of(who), group, &id, joins).await;
                }
            }
            Step::Rule(change) => {
                self.rules.change(change);
                self.apply().await;
            }
            Step::Fault(kind, after) => {
                let failure = match kind {
                    0 => transient(),
                    1 => throttled(3),
                    _ => rejected("not now"),
                };
                if after {
                    self.jira.memory.fail_after_apply(failure);
                } else {
                    self.jira.memory.fail_next(failure);
                }
            }
            Step::Crash(after) => {
                self.jira.dies.store(1 + u8::from(after), Ordering::SeqCst);
            }
            Step::Release(None) => {
                self.decide(Decision::Release, None).await;
            }
            Step::Release(Some(who)) | Step::Discard(who) => {
                let decision = match step {
                    Step::Discard(_) => Decision::Discard,
                    _ => Decision::Release,
                };
                if let Some(there) = self.people.get(&who) {
                    let id = UserId(there.id.clone());
                    self.decide(decision, Some(id)).await;
                }
            }
            Step::Pause(who) | Step::Resume(who) => {
                if let Some(there) = self.people.get(&who) {
                    let pauses = matches!(step, Step::Pause(_));
                    self.set_paused(UserId(there.id.clone()), pauses).await;
                }
            }
            Step::Work => self.work().await,
            Step::Wait(seconds) => {
                self.clock.advance_ms(i64::from(seconds) * 1000);
                self.work().await;
            }
            Step::Rename(..) => {}
        }
    }

    /// Works until nothing is due, or until the server dies; then another one takes over.
    async fn work(&mut self) {
        loop {
            let died = self.jira.died.clone();
            tokio::select! {
                biased;
                () = died.notified() => {}
                done = self.parts.engine.drain() => {
                    done.unwrap();
                    return;
                }
            }
            self.clock.advance_ms(31_000);
            self.parts = assemble(
                self.parts.store.clone(),
                &self.clock,
                &self.jira,
                &self.wiki,
            );
        }
    }

    /// Lets time pass until nothing goes on by itself any more.
    async fn settle(&mut self) {
        for _ in 0..60 {
            self.work().await;
            let status = self.parts.store.read(work::status).await.unwrap();
            if status.iter().all(|target| target.pending == 0) {
                return;
            }
            self.clock.advance_ms(20_000);
        }
        let status = self.parts.store.read(work::status).await.unwrap();
        panic!("not in step: {status:#?}");
    }

    async fn set_paused(&mut self, user: UserId, pauses: bool) {
        let act = Pause {
            at: self.clock.now(),
            by: "test".to_owned(),
            reason: None,
        };
        if pauses {
            self.paused.insert(user.0.clone());
        } else {
            self.paused.remove(&user.0);
        }
        let set = move |tx: &mut store::Tx<'_>| match pauses {
            true => pause::pause_user(tx, &user, &act, "test"),
            false => pause::resume_user(tx, &user, &act, "test"),
        };
        self.parts.store.write(set).await.unwrap();
    }

    async fn decide(&self, decision: Decision, user: Option<UserId>) -> usize {
        let choice = Choice {
            users: user.map(|user| vec![user]),
            ..Choice::default()
        };
        let now = self.clock.now();
        let store = &self.parts.store;
        store
            .write(move |tx| brakes::decide(tx, &choice, decision, "test", now))
            .await
            .unwrap()
    }

    async fn holds(&self) -> Vec<Hold> {
        let all = |conn: &mut store::AnyConn| brakes::held(conn, &Choice::default(), None, 10_000);
        self.parts.store.read(all).await.unwrap()
    }

    /// People of whom something was discarded, who need not be as the source wants them.
    async fn spared(&self) -> Vec<String> {
        let store = &self.parts.store;
        super::super::store::lines(
            store,
            "SELECT subject AS line FROM hold WHERE state = 'discarded'",
        )
        .await
    }

    /// What is left of the faults strikes, what was refused is asked for again, and what is held is released.
    async fn calm_down(&mut self) {
        self.rules.mode = "live";
        self.apply().await;
        for id in self.paused.clone() {
            self.set_paused(UserId(id), false).await;
        }
        self.settle().await;
        self.jira.dies.store(0, Ordering::SeqCst);
        self.jira.memory.clear_faults();
        for _ in 0..4 {
            let status = self.parts.store.read(work::status).await.unwrap();
            if status.iter().all(|t| t.failed + t.held + t.braked == 0) {
                break;
            }
            let now = self.clock.now();
            let store = &self.parts.store;
            store
                .write(move |tx| work::retry(tx, None, None, "test", now))
                .await
                .unwrap();
            self.settle().await;
            if self.decide(Decision::Release, None).await > 0 {
                self.settle().await;
            }
        }
        assert_eq!(self.holds().await, [], "everything was released");
    }

    async fn items(&self, id: &str) -> Vec<Item> {
        let id = UserId(id.to_owned());
        let store = &self.parts.store;
        store
            .read(move |conn| work::of_user(conn, &id))
            .await
            .unwrap()
    }

    /// Whether a person's wanted name is that of an account which the same person had under an older id: no
    /// product can merge two accounts, and somebody has to decide.
    async fn is_in_their_own_way(&self, stated: &Stated) -> bool {
        let items = self.items(&stated.id).await;
        items
            .iter()
            .any(|item| matches!(item.state.as_str(), "rejected" | "held"))
            && items.iter().all(|item| {
                let why = item.last_error.as_deref().unwrap_or_default();
                why.contains("exists already") || why.contains("another user of the source")
            })
    }

    /// What is there is what is wanted.
    async fn is_reached(&self) {
        let spared = self.spared().await;
        let names_spared: Vec<String> = super::super::store::lines(
            &self.parts.store,
            "SELECT user_name AS line FROM hold WHERE state = 'discarded'",
        )
        .await;
        for who in 0..CORP + PARTNER {
            let name = self.name(who);
            let account = self.jira.memory.user(&name);
            let corp = source_of(who) == 0;
            let stated = self.people.get(&who);
            if let Some(stated) = stated
                && (spared.contains(&stated.id) || self.is_in_their_own_way(stated).await)
            {
                continue;
            }
            if names_spared.contains(&name) {
                continue;
            }
            let in_scope = |p: &&Stated| !(corp && self.rules.robots_out && p.robot);
            match stated.filter(in_scope) {
                Some(wanted) if wanted.active => {
                    let account = account.unwrap_or_else(|| panic!("{name} has no account"));
                    let mark = if corp && self.rules.shout { "!" } else { "" };
                    assert!(account.active, "{account:?}");
                    assert_eq!(account.display_name, format!("{}{mark}", wanted.text));
                    let groups: Vec<&str> = wanted
                        .groups
                        .iter()
                        .filter(|g| **g != PROTECTED && !(corp && self.rules.deny && **g == 1))
                        .map(|g| GROUPS[*g])
                        .collect();
                    assert_eq!(account.groups, groups, "{name}");
                }
                Some(_) => assert!(account.is_none_or(|a| !a.active), "{name} can sign in"),
                // Robots and leavers.
                None => {
                    let policy = if corp {
                        self.rules.on_delete
                    } else {
                        "deactivate"
                    };
                    if let Some(account) = account {
                        match policy {
                            "keep" => {}
                            "remove-groups" => assert_eq!(account.groups, [""; 0], "{name}"),
                            _ => assert!(!account.active, "{account:?}"),
                        }
                    }
                }
            }
            if corp {
                let there = self.wiki.memory.user(&name).is_some_and(|a| a.active);
                let wanted = self.people.get(&who).is_some_and(|p| p.active);
                assert_eq!(there, wanted, "{name} in the wiki");
            }
        }
        for account in &self.untouched {
            assert_eq!(
                self.jira.memory.user(&account.username).as_ref(),
                Some(account)
            );
        }
        for account in self.jira.memory.users() {
            let protected = account.groups.iter().any(|g| g == GROUPS[PROTECTED]);
            assert!(!protected || account.username == "admin", "{account:?}");
        }
    }

    async fn mark_everyone(&self) {
        let pairs: Vec<(ConnectionId, TargetId)> = self
            .configuration
            .mappings
            .iter()
            .map(|m| (m.connection_id.clone(), m.target_id.clone()))
            .collect();
        let now = self.clock.now();
        self.parts
            .store
            .write(move |tx| -> Result<(), store::Error> {
                for (connection, target) in &pairs {
                    work::mark_all(tx, connection, target, "test", now)?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }

    /// Everyone is looked at again, and nothing is written.
    async fn writes_nothing_more(&mut self) {
        self.jira.memory.clear_writes();
        self.wiki.memory.clear_writes();
        self.mark_everyone().await;
        self.settle().await;
        let writes: Vec<Action> = [&self.jira, &self.wiki]
            .iter()
            .flat_map(|wire| wire.memory.writes())
            // Refused for good, and asked again.
            .filter(|action| !matches!(action, Action::RenameUser { .. }))
            .collect();
        assert_eq!(writes, [], "a second pass writes");
    }

    async fn plan(&self) -> Vec<Outlook> {
        let mut plan = Vec::new();
        let configuration = self.parts.store.read(settings::load).await.unwrap();
        let summaries = self
            .parts
            .engine
            .preview(configuration, &Scope::default(), &mut |outlook| {
                plan.push(outlook);
            })
            .await
            .unwrap();
        assert!(
            summaries.iter().all(|s| s.stopped.is_none()),
            "{summaries:?}"
        );
        plan
    }

    /// The plan says what the run then does, operation by operation.
    async fn does_what_the_plan_says(&mut self) {
        let plan = self.plan().await;
        let (mut foreseen, mut passing) = (BTreeSet::new(), BTreeMap::new());
        for outlook in plan.iter().filter(|it| it.mode == Mode::Live) {
            let who = format!("{} {}", outlook.target, outlook.user_id);
            for o in &outlook.operations {
                count(&mut passing, &outlook.target, &o.operation);
                foreseen.insert(told(&who, &o.operation, o.detail.clone()));
            }
            // Who of many passes a brake depends on who comes first; how many pass does not.
            for o in &outlook.braked {
                foreseen.insert(told(&who, &o.operation, o.detail.clone()));
            }
        }
        self.clock.advance_ms(1);
        let since = self.clock.now();
        self.mark_everyone().await;
        self.settle().await;
        let query = audit::Query {
            since: Some(since),
            oldest_first: true,
            ..audit::Query::default()
        };
        let store = &self.parts.store;
        let rows = store
            .read(move |conn| audit::page(conn, &query, 10_000))
            .await
            .unwrap();
        let name_of = |id: &str| {
            let mut targets = self.configuration.targets.iter();
            let found = targets.find(|t| t.id.as_str() == id);
            found.map(|target| target.settings.name.clone()).unwrap()
        };
        let (mut done, mut passed) = (BTreeSet::new(), BTreeMap::new());
        for row in &rows {
            let (Some(target), Some(user)) = (&row.target_id, &row.user_id) else {
                continue;
            };
            if ["hold", "cancel"].contains(&row.operation.as_str()) {
                continue;
            }
            let target = name_of(target);
            let detail = serde_json::from_str(&row.detail).unwrap();
            count(&mut passed, &target, &row.operation);
            done.insert(told(&format!("{target} {user}"), &row.operation, detail));
        }
        for hold in self.holds().await {
            let operation = match hold.kind.as_str() {
                "deactivations" => "deactivate",
                "deletions" => "delete_user",
                _ => "remove_member",
            };
            let who = format!("{} {}", name_of(&hold.target_id), hold.subject);
            let detail = json!({"group": hold.group});
            done.insert(told(&who, operation, detail));
        }
        let missing: Vec<_> = foreseen.difference(&done).collect();
        let surprising: Vec<_> = done.difference(&foreseen).collect();
        assert!(
            missing.is_empty() && surprising.is_empty(),
            "planned and not done: {missing:#?}\ndone and not planned: {surprising:#?}\nplan: {plan:#?}"
        );
        assert_eq!(passing, passed, "so many pass the brakes: {plan:#?}");
    }
}

/// Counts what takes something away.
fn count(counts: &mut BTreeMap<String, usize>, target: &str, operation: &str) {
    if REMOVALS.contains(&operation) {
        *counts.entry(format!("{target} {operation}")).or_default() += 1;
    }
}

const REMOVALS: [&str; 3] = ["deactivate", "delete_user", "remove_member"];

/// One operation for one person, in one spelling: a plan does not know keys that are yet to be given.
fn told(who: &str, operation: &str, mut detail: Value) -> String {
    if REMOVALS.contains(&operation) {
        detail = json!(detail["group"].as_str().unwrap_or_default());
    } else if let Some(detail) = detail.as_object_mut() {
        detail.remove("remote_id");
        detail.remove("before");
        detail.remove("operation");
    }
    // Whoever comes first makes the group.
    let who = if operation == "create_group" { "" } else { who };
    format!("{who} {operation} {detail}")
}

fn assemble(store: store::Store, clock: &Clock, jira: &Wire, wiki: &Wire) -> Parts {
    let (jira, wiki) = (jira.clone(), wiki.clone());
    let connect = Arc::new(move |settings: &usher::domain::TargetSettings| {
        let wire = if settings.name == "jira" {
            &jira
        } else {
            &wiki
        };
        Ok(Arc::new(wire.clone()) as Arc<dyn Target>)
    });
    app::assemble(
        store,
        clock.clone(),
        connect,
        None,
        None,
        &Options::default(),
    )
}

async fn live_through(database: &Database, history: &History) {
    let mut life = Life::begin(database).await;
    for step in &history.steps {
        life.step(*step).await;
    }
    life.calm_down().await;
    life.is_reached().await;
    life.writes_nothing_more().await;
    for step in &history.last {
        life.step(*step).await;
    }
    life.rules.mode = "live";
    life.apply().await;
    life.does_what_the_plan_says().await;
    life.calm_down().await;
    life.is_reached().await;
    life.writes_nothing_more().await;
}

/// Whether a history ends well, in a world of its own.
fn ends_well(database: &Database, history: &History) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(live_through(database, history));
    }));
    runtime.shutdown_background();
    outcome.map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic".to_owned())
    })
}

/// Leaves out what is not needed to fail.
fn shortest(fresh: &dyn Fn() -> Database, history: History) -> History {
    let mut shortest = history;
    let mut at = 0;
    while at < shortest.steps.len() + shortest.last.len() {
        let mut shorter = shortest.clone();
        if at < shorter.steps.len() {
            shorter.steps.remove(at);
        } else {
            shorter.last.remove(at - shortest.steps.len());
        }
        if ends_well(&fresh(), &shorter).is_err() {
            shortest = shorter;
        } else {
            at += 1;
        }
    }
    shortest
}

fn all_end_well(histories: usize, workers: usize, fresh: &(dyn Fn() -> Database + Sync)) {
    let begun = AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut runner = TestRunner::default();
                let strategy = history();
                while begun.fetch_add(1, Ordering::SeqCst) < histories
                    && failed.lock().unwrap().is_none()
                {
                    let history = strategy.new_tree(&mut runner).unwrap().current();
                    if ends_well(&fresh(), &history).is_err() {
                        *failed.lock().unwrap() = Some(history);
                    }
                }
            });
        }
    });
    if let Some(history) = failed.into_inner().unwrap() {
        let history = shortest(fresh, history);
        let why = ends_well(&fresh(), &history);
        panic!("{history:#?}\n{why:?}");
    }
}

#[test]
fn every_life_ends_where_source_and_rules_say_and_as_planned() {
    let wanted = std::env::var("USHER_HISTORIES").ok();
    let histories = wanted.and_then(|n| n.parse().ok()).unwrap_or(1000);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    // In memory where the system has a file system there: what a disk does with it is another test's.
    let folder = Path::new("/dev/shm");
    let folder = folder.is_dir().then_some(folder);
    all_end_well(histories, workers.min(8), &|| sqlite_in(folder));
}

#[test]
fn every_life_ends_the_same_on_postgresql() {
    if postgres().is_some() {
        all_end_well(12, 2, &|| postgres().unwrap());
    }
}
