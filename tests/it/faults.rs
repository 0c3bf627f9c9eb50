//! Faults of a target and what the engine makes of them, with a clock that stands still and a target in
//! memory: each test says what happens, lets time pass by hand, and compares what is there at the end.

mod administration;
mod batch;
mod brakes;
mod explained;
mod gate;
mod groups;
mod history;
mod leaving;
mod lives;
mod ownership;
mod paused;
mod planned;
mod rules;
mod sweep;
mod taken;
mod trouble;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use usher::domain::{Action, Failure, Observed, UserId};
use usher::store::work::{self, Item, TargetStatus};
use usher::targets::memory::Memory;

use super::harness::{App, Database, databases};

/// A server with one target in memory.
struct World {
    app: App,
    memory: Memory,
    token: String,
}

/// The configuration of every test: `users` and `groups` are further lines of these tables.
fn configuration(mode: &str, users: &str, groups: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = {{ env = "NONE" }}
timeout = "5s"

[[mapping]]
connection = "corp"
target = "jira"
mode = "{mode}"

[mapping.users]
{users}

[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
{groups}

# These tests are about other things; `brakes` has its own.
[mapping.brakes]
deactivations = "off"
deletions = "off"
membership_removals = "off"
"#
    )
}

fn transient() -> Failure {
    Failure::Transient {
        text: "HTTP 500".to_owned(),
    }
}

fn rejected(text: &str) -> Failure {
    Failure::Rejected {
        field: None,
        text: text.to_owned(),
    }
}

fn throttled(seconds: u64) -> Failure {
    Failure::Throttled {
        after: Some(Duration::from_secs(seconds)),
        text: "HTTP 429".to_owned(),
    }
}

fn person(name: &str) -> Value {
    json!({
        "userName": name,
        "displayName": format!("The {name}"),
        "emails": [{"value": format!("{name}@example.com"), "primary": true}],
    })
}

fn account(name: &str) -> Observed {
    Observed {
        username: name.to_owned(),
        display_name: format!("The {name}"),
        email: Some(format!("{name}@example.com")),
        active: true,
        ..Observed::default()
    }
}

impl World {
    async fn new(database: &Database) -> Self {
        Self::with(database, "", "").await
    }

    async fn with(database: &Database, users: &str, groups: &str) -> Self {
        Self::on(database, Memory::new(), users, groups).await
    }

    async fn on(database: &Database, memory: Memory, users: &str, groups: &str) -> Self {
        let app = App::start(database, &memory).await;
        app.apply(&configuration("live", users, groups)).await;
        let token = app.token("corp").await;
        Self { app, memory, token }
    }

    async fn request(&self, method: &str, path: &str, body: Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let reply = self.app.send(&self.token, method, path, body).await;
        assert!(
            (200..300).contains(&reply.status),
            "{method} {path}: {} {}",
            reply.status,
            reply.json
        );
        reply.json
    }

    async fn create(&self, body: Value) -> String {
        let user = self.request("POST", "/Users", body).await;
        user["id"].as_str().unwrap().to_owned()
    }

    /// A group with these members.
    async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
        let group = self
            .request(
                "POST",
                "/Groups",
                json!({"displayName": name, "members": members}),
            )
            .await;
        group["id"].as_str().unwrap().to_owned()
    }

    async fn set(&self, id: &str, attribute: &str, value: Value) {
        self.patch(
            &format!("/Users/{id}"),
            json!([{"op": "replace", "path": attribute, "value": value}]),
        )
        .await;
    }

    async fn join(&self, group: &str, user: &str) {
        let value = json!([{"value": user}]);
        self.patch(
            &format!("/Groups/{group}"),
            json!([{"op": "add", "path": "members", "value": value}]),
        )
        .await;
    }

    async fn leave(&self, group: &str, user: &str) {
        self.patch(
            &format!("/Groups/{group}"),
            json!([{"op": "remove", "path": format!("members[value eq \"{user}\"]")}]),
        )
        .await;
    }

    async fn patch(&self, path: &str, operations: Value) {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        self.request("PATCH", path, body).await;
    }

    async fn delete(&self, id: &str) {
        self.request("DELETE", &format!("/Users/{id}"), Value::Null)
            .await;
    }

    /// Lets so much time pass, and works until nothing is due.
    async fn after(&self, seconds: u64) {
        self.app.pass(Duration::from_secs(seconds), 1).await;
    }

    /// Lets time pass until nothing goes on by itself any more.
    async fn settle(&self) {
        for _ in 0..40 {
            self.app.drain().await;
            if self.status().await.pending == 0 {
                return;
            }
            self.app.pass(Duration::from_secs(20), 1).await;
        }
        panic!("not in step: {:#?}", self.status().await);
    }

    async fn status(&self) -> TargetStatus {
        self.app.store().read(work::status).await.unwrap().remove(0)
    }

    async fn item(&self, id: &str) -> Option<Item> {
        let id = UserId(id.to_owned());
        let items = self
            .app
            .store()
            .read(move |conn| work::of_user(conn, &id))
            .await
            .unwrap();
        items.into_iter().next()
    }

    /// The state of an item and the words that go with it.
    async fn state(&self, id: &str) -> (String, String) {
        let item = self.item(id).await.expect("there is an item");
        (item.state, item.last_error.unwrap_or_default())
    }

    fn names_of_writes(&self) -> Vec<&'static str> {
        self.memory.writes().iter().map(Action::name).collect()
    }

    fn times(&self, name: &str) -> usize {
        self.names_of_writes()
            .iter()
            .filter(|n| **n == name)
            .count()
    }

    fn groups_of(&self, name: &str) -> Vec<String> {
        self.memory.user(name).unwrap().groups
    }

    /// Marks everyone, and proves that nothing is left to write.
    async fn is_in_step(&self, users: &str, groups: &str) {
        self.memory.clear_writes();
        let before = self.memory.reads();
        // With these rules every account is read instead of trusted.
        let report = self
            .app
            .apply(&configuration(
                "live",
                users,
                &format!("{groups}\nkeep_existing = false"),
            ))
            .await;
        assert!(report.marked > 0);
        self.settle().await;
        assert_eq!(self.memory.writes(), [], "a second convergence writes");
        assert!(self.memory.reads() > before);
    }
}

/// Lives through generated histories. Servers need a runtime of their own kind, so it is made here.
fn in_every_history<S, L>(
    cases: u32,
    steps: impl Strategy<Value = Vec<S>>,
    live_through: impl Fn(Vec<S>) -> L,
) where
    S: std::fmt::Debug,
    L: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&steps, |history| {
            let life = live_through(history);
            let outcome = runtime.block_on(async move { tokio::spawn(life).await });
            outcome.map_err(|e| TestCaseError::fail(e.to_string()))
        })
        .unwrap();
}

/// Connects every target of a configuration to what `by_name` says.
async fn connected(
    database: &Database,
    by_name: impl Fn(&str) -> Arc<dyn usher::targets::Target> + Send + Sync + 'static,
) -> App {
    App::connected(
        database,
        Arc::new(move |settings| Ok(by_name(&settings.name))),
    )
    .await
}
