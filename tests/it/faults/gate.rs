//! Workers that are stopped in the middle of an operation: crashes, lost leases, changes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Notify;
use usher::domain::{Action, Applied, Failure, Holdings, Lookup, Observed};
use usher::targets::memory::Memory;
use usher::targets::{Capabilities, Check, Member, Page, Protected, Target};

use super::super::harness::{App, postgres};
use super::{World, configuration, connected, databases, person};

/// A target whose operations, once it is shut, take effect and are then answered only when it is opened.
#[derive(Clone)]
pub(super) struct Gate {
    memory: Memory,
    shut: Arc<AtomicBool>,
    reached: Arc<Notify>,
    open: Arc<Notify>,
    /// Operations under way, and the most there were for one account.
    busy: Arc<std::sync::Mutex<std::collections::HashMap<String, usize>>>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    fn new(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            shut: Arc::default(),
            reached: Arc::default(),
            open: Arc::default(),
            busy: Arc::default(),
            most: Arc::default(),
        }
    }
}

#[async_trait]
impl Target for Gate {
    fn capabilities(&self) -> &'static Capabilities {
        self.memory.capabilities()
    }

    async fn protected(&self) -> Result<Protected, Failure> {
        self.memory.protected().await
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        self.memory.observe(lookup).await
    }

    async fn holdings(&self, remote_id: &str, username: &str) -> Result<Holdings, Failure> {
        self.memory.holdings(remote_id, username).await
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        self.memory.group_exists(name).await
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        let who = match action {
            Action::CreateUser { username, .. } | Action::AddMember { username, .. } => username,
            _ => "",
        };
        {
            let mut busy = self.busy.lock().unwrap();
            let count = busy.entry(who.to_owned()).or_default();
            *count += 1;
            if !who.is_empty() {
                self.most.fetch_max(*count, Ordering::SeqCst);
            }
        }
        // Others get their turn while this one is under way.
        tokio::task::yield_now().await;
        let outcome = self.memory.apply(action).await;
        if self.shut.swap(false, Ordering::SeqCst) {
            self.reached.notify_one();
            self.open.notified().await;
        }
        *self.busy.lock().unwrap().get_mut(who).unwrap() -= 1;
        outcome
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        Target::users(&self.memory, cursor).await
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        Target::groups(&self.memory, cursor).await
    }

    async fn members(&self, group: &str, cursor: Option<&str>) -> Result<Page<Member>, Failure> {
        self.memory.members(group, cursor).await
    }

    async fn check(&self) -> Result<Check, Failure> {
        self.memory.check().await
    }
}

/// Two servers on one database, and the first one's target.
async fn pair(database: &super::Database) -> (World, App, Gate) {
    pair_on(database, Memory::new()).await
}

pub(super) async fn pair_on(database: &super::Database, memory: Memory) -> (World, App, Gate) {
    let gate = Gate::new(&memory);
    let first = connected(database, {
        let gate = gate.clone();
        move |_| Arc::new(gate.clone())
    })
    .await;
    first.apply(&configuration("live", "", "")).await;
    let token = first.token("corp").await;
    let second = App::start(database, &memory).await;
    let world = World {
        app: first,
        memory,
        token,
    };
    (world, second, gate)
}

/// Starts to work, and returns when the operation has taken effect and nobody knows yet.
pub(super) async fn work_until_it_took_effect(
    world: &World,
    gate: &Gate,
) -> tokio::task::JoinHandle<()> {
    gate.shut.store(true, Ordering::SeqCst);
    let engine = world.app.parts.engine.clone();
    let task = tokio::spawn(async move {
        engine.drain().await.unwrap();
    });
    gate.reached.notified().await;
    task
}

/// What the database knows when the server dies there is what a second server finds when the lease is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_an_operation_and_its_record_costs_only_time() {
    for database in databases() {
        let (world, second, gate) = pair(&database).await;
        let ada = world.create(person("ada")).await;
        for step in ["create", "join", "leave", "rename", "inactive", "active"] {
            match step {
                "create" => {}
                "join" => {
                    world.group("jira-users", &[&ada]).await;
                }
                "leave" => world.set(&ada, "displayName", json!("Ada")).await,
                "rename" => world.set(&ada, "userName", json!("countess")).await,
                "inactive" => world.set(&ada, "active", json!(false)).await,
                _ => world.set(&ada, "active", json!(true)).await,
            }
            second
                .clock
                .advance_ms(world.app.clock.now() / 1000 - second.clock.now() / 1000);
            let crashed = work_until_it_took_effect(&world, &gate).await;
            assert_eq!(second.drain().await, 0, "{step}: the lease still holds");
            second.pass(Duration::from_secs(31), 3).await;
            let after_takeover = world.memory.writes();
            // The first server comes back to life: it must not write its picture over the newer one.
            let behind = second.clock.now() - world.app.clock.now();
            world.app.clock.advance_ms(behind / 1000);
            gate.open.notify_one();
            crashed.await.unwrap();
            world.settle().await;
            assert_eq!(
                world.memory.writes().len(),
                after_takeover.len(),
                "{step}: {:?}",
                world.memory.writes()
            );
        }
        let account = world.memory.user("countess").unwrap();
        assert!(
            account.active && account.display_name == "Ada",
            "{account:?}"
        );
        assert_eq!(account.groups, ["jira-users"]);
        assert_eq!(world.times("create_user"), 1, "{}", database.name);
        // What was done before the crash stands in the audit, although nobody recorded it.
        let id = usher::domain::UserId(ada);
        let rows = world
            .app
            .store()
            .read(move |conn| usher::store::audit::of_user(conn, &id, 100))
            .await
            .unwrap();
        let created: Vec<&str> = rows
            .iter()
            .filter(|row| row.operation == "create_user")
            .map(|row| row.outcome.as_str())
            .collect();
        assert_eq!(created, ["recovered"], "{}", database.name);
        world.is_in_step("", "").await;
    }
}

/// The same server takes its own item again when the lease ran out: the first attempt is fenced off as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_is_lost_also_to_the_same_server() {
    for database in databases() {
        let (world, _second, gate) = pair(&database).await;
        let ada = world.create(person("ada")).await;
        let slow = work_until_it_took_effect(&world, &gate).await;
        world.app.clock.advance_ms(31_000);
        world.set(&ada, "active", json!(false)).await;
        world.app.drain().await;
        assert!(!world.memory.user("ada").unwrap().active);
        // It knows an active account, and would be believed.
        gate.open.notify_one();
        slow.await.unwrap();
        world.set(&ada, "displayName", json!("Ada")).await;
        world.settle().await;
        let explained = usher::domain::UserId(ada.clone());
        let row = world
            .app
            .store()
            .read(move |conn| usher::store::ledger::accounts_of(conn, &explained))
            .await
            .unwrap()
            .remove(0);
        assert!(!row.active && !row.in_flight, "{}: {row:?}", database.name);
        assert!(!world.memory.user("ada").unwrap().active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_while_an_item_is_worked_on_wins() {
    for database in databases() {
        let (world, _second, gate) = pair(&database).await;
        let ada = world.create(person("ada")).await;
        let working = work_until_it_took_effect(&world, &gate).await;
        world.set(&ada, "displayName", json!("Newest")).await;
        gate.open.notify_one();
        working.await.unwrap();
        world.app.drain().await;
        assert_eq!(world.memory.user("ada").unwrap().display_name, "Newest");
        assert_eq!(world.status().await.pending, 0, "{}", database.name);
    }
}

/// A person who leaves while the account is being made, and the server dies before it knows of the account.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_while_the_account_is_made_has_no_access() {
    for database in databases() {
        let (world, second, gate) = pair(&database).await;
        let ada = world.create(person("ada")).await;
        let crashed = work_until_it_took_effect(&world, &gate).await;
        world.delete(&ada).await;
        second.pass(Duration::from_secs(31), 3).await;
        assert!(
            !world.memory.user("ada").unwrap().active,
            "{}",
            database.name
        );
        crashed.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_the_work_and_never_an_item() {
    let Some(database) = postgres() else { return };
    let memory = Memory::new();
    let gate = Gate::new(&memory);
    let mut apps = Vec::new();
    for _ in 0..2 {
        let gate = gate.clone();
        apps.push(connected(&database, move |_| Arc::new(gate.clone())).await);
    }
    apps[0].apply(&configuration("live", "", "")).await;
    let token = apps[0].token("corp").await;
    let world = World {
        app: apps.remove(0),
        memory,
        token,
    };
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(world.create(person(&format!("p{n}"))).await);
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    world.group("jira-users", &ids).await;
    let (one, two) = tokio::join!(world.app.drain(), apps[0].drain());
    assert!(one > 0 && two > 0, "{one} and {two}");
    world.settle().await;
    assert_eq!(gate.most.load(Ordering::SeqCst), 1);
    assert_eq!(world.times("create_user"), 40);
    assert_eq!(world.times("add_member"), 40);
    world.is_in_step("", "").await;
}

/// A server dies while it sends the memberships of many in one go: another one looks at each of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_many_memberships_are_sent_costs_only_time() {
    for database in databases() {
        let (world, second, gate) = pair_on(&database, Memory::in_bulk()).await;
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(world.create(person(&format!("p{n}"))).await);
        }
        world.settle().await;
        world.memory.seed_group("jira-users");
        let members: Vec<&str> = ids.iter().map(String::as_str).collect();
        let group = world.group("jira-users", &members).await;
        let crashed = work_until_it_took_effect(&world, &gate).await;
        assert_eq!(second.drain().await, 0, "the leases still hold");
        second.pass(Duration::from_secs(31), 3).await;
        for n in 0..5 {
            assert_eq!(world.groups_of(&format!("p{n}")), ["jira-users"]);
        }
        let behind = second.clock.now() - world.app.clock.now();
        world.app.clock.advance_ms(behind / 1000);
        gate.open.notify_one();
        crashed.await.unwrap();
        world.settle().await;
        // Whoever was put in by the server that died is taken out like all others.
        for id in &ids {
            world.leave(&group, id).await;
        }
        world.settle().await;
        for n in 0..5 {
            assert!(
                world.groups_of(&format!("p{n}")).is_empty(),
                "{}",
                database.name
            );
        }
        world.is_in_step("", "").await;
    }
}
