//! The promises that a crash must not break: what was acknowledged is there, and the target ends up as it
//! should be, nothing twice and nobody forgotten. The real program is killed again and again under load.

mod products;
mod replicas;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use usher::domain::TargetId;
use usher::store::{self, Store, ledger, work};
use usher_emulators::jira::{Jira, JiraOptions};
use usher_emulators::{Chaos, FaultKind, Only};

use super::harness::{Database, Process, free_port, postgres, sqlite};

/// Tasks that push at the same time.
const PUSHERS: usize = 4;
/// Groups of each of them, besides the one that all share.
const GROUPS: usize = 2;
/// Living people of each of them at the most, so that the end can be compared in bounded time.
const PEOPLE: usize = 12;
/// Acknowledged requests of each of them at the most.
const MOST_REQUESTS: usize = 600;
/// Short, so that a restarted server on PostgreSQL soon goes on with what the killed one had begun.
const LEASE_S: &str = "2";
const TOKEN: &str = "emulated-jira-token";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_server_is_killed_on_sqlite() {
    Trial::new(sqlite(), 1, 30).await.run(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_server_is_killed_on_postgres() {
    if let Some(database) = postgres() {
        Trial::new(database, 2, 30).await.run(None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_jira_is_bad_as_well_on_sqlite() {
    let trial = Trial::new(sqlite(), 3, 16).await;
    let chaos = bad_days(trial.seed);
    trial.run(Some(chaos)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_jira_is_bad_as_well_on_postgres() {
    if let Some(database) = postgres() {
        let trial = Trial::new(database, 4, 16).await;
        let chaos = bad_days(trial.seed);
        trial.run(Some(chaos)).await;
    }
}

/// Two servers on one database: pushes go to either, and either dies at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_done_twice_when_either_of_two_servers_is_killed() {
    if let Some(database) = postgres() {
        Trial::with_servers(database, 5, 30, 2)
            .await
            .run(None)
            .await;
    }
}

/// What the environment asks for.
fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Everything that goes wrong with a Jira, a few percent each; what is slow is slower than the time-out.
fn bad_days(seed: u64) -> Chaos {
    Chaos {
        seed,
        only: Only::Any,
        mix: vec![
            (0.008, FaultKind::throttled(1)),
            (0.008, FaultKind::status(429)),
            (0.03, FaultKind::status(500)),
            (0.03, FaultKind::status(503)),
            (0.03, FaultKind::DropBefore),
            (0.06, FaultKind::DropAfter),
            (0.02, FaultKind::Garbage),
            (0.004, FaultKind::Hang(Duration::from_millis(1500))),
            (0.008, FaultKind::Slow(Duration::from_millis(1500))),
        ],
    }
}

fn configuration(jira: &Jira, more: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "scim"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "{}"
token = {{ env = "JIRA_TOKEN" }}
timeout = "1s"
concurrency = 8

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
{more}

# People come and go faster here than anywhere.
[mapping.brakes]
deactivations = "off"
deletions = "off"
membership_removals = "off"
"#,
        jira.url()
    )
}

struct Trial {
    seed: u64,
    kills: usize,
    database: Database,
    jira: Jira,
    /// One for each server.
    ports: Vec<u16>,
    token: String,
}

impl Trial {
    async fn new(database: Database, number: u64, kills: usize) -> Self {
        Self::with_servers(database, number, kills, 1).await
    }

    async fn with_servers(database: Database, number: u64, kills: usize, servers: usize) -> Self {
        let seed =
            number_of("USHER_TEST_SEED").unwrap_or_else(|| rand::rng().random::<u64>() ^ number);
        eprintln!("{}: USHER_TEST_SEED={seed}", database.name);
        let jira = Jira::start(JiraOptions {
            // Requests are under way when the server dies.
            latency: Duration::from_millis(4),
            // So that a mapping which tidies up finds nothing of Jira's own making.
            default_group: None,
            ..JiraOptions::default()
        })
        .unwrap();
        apply(&database, &configuration(&jira, ""));
        let token = Process::run(&database, &["token", "create", "corp"]);
        let ports = (0..servers).map(|_| free_port()).collect();
        Self {
            seed,
            kills,
            token: token.trim().to_owned(),
            database,
            jira,
            ports,
        }
    }

    async fn serve(&self, which: usize) -> Process {
        Process::serve(
            &self.database,
            self.ports[which],
            &[("JIRA_TOKEN", TOKEN), ("USHER_LEASE", LEASE_S)],
        )
        .await
    }

    async fn run(self, chaos: Option<Chaos>) {
        let mut random = StdRng::seed_from_u64(self.seed);
        let bad = chaos.is_some();
        self.jira.chaos(chaos);
        let mut servers = Vec::new();
        for which in 0..self.ports.len() {
            servers.push(self.serve(which).await);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let client = Client::new(&self.ports, &self.token, acknowledged.clone());
        let shared = client
            .create("/Groups", &group("jira-all"), "displayName")
            .await;
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|number| {
                let pusher = Pusher::new(number, self.seed, &client, ("jira-all", &shared));
                tokio::spawn(pusher.push(stop.clone()))
            })
            .collect();
        for _ in 0..self.kills {
            // Both moments right after the start, when work is taken up again, and moments of full load.
            // A Jira that throttles and fails slows everything down: longer, or little would be begun.
            let ms = random.random_range(1..if bad { 1800 } else { 500 });
            tokio::time::sleep(Duration::from_millis(ms)).await;
            let which = random.random_range(0..servers.len());
            servers.swap_remove(which).kill();
            // The other one goes on alone for a moment, with what the killed one had begun.
            if !servers.is_empty() {
                tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            }
            servers.push(self.serve(which).await);
            let last = servers.len() - 1;
            servers.swap(which, last);
        }
        let longest = client.longest_ms.load(Ordering::SeqCst);
        eprintln!(
            "{}: the longest wait for an answer: {longest} ms",
            self.database.name
        );
        stop.store(true, Ordering::SeqCst);
        let mut pushed = Vec::new();
        for pusher in pushers {
            pushed.push(pusher.await.unwrap());
        }
        eprintln!(
            "{}: {} kills, {} acknowledged requests, {} accounts, {} requests to Jira",
            self.database.name,
            self.kills,
            acknowledged.load(Ordering::SeqCst),
            self.jira.users().len() - 1,
            self.jira.requests().len(),
        );
        self.jira.chaos(None);
        if bad {
            let struck = self
                .jira
                .requests()
                .iter()
                .filter(|r| r.fault.is_some())
                .count();
            assert!(struck >= 20, "only {struck} requests went wrong: no test");
            // Whatever waits for its next attempt need not wait for longer.
            apply(
                &self.database,
                &configuration(&self.jira, "deny = [\"nobody\"]"),
            );
        }
        let store = self.database.open();
        let target = self.settle(&store, &servers[0]).await;
        self.everything_acknowledged_is_there(&client, &pushed)
            .await;
        self.jira_is_as_it_should_be(&pushed);
        self.nobody_is_forgotten(&store, target).await;

        // With these rules every account is read, so that the comparison is with Jira, not with the ledger.
        self.jira.clear_requests();
        apply(
            &self.database,
            &configuration(&self.jira, "keep_existing = false"),
        );
        self.settle(&store, &servers[0]).await;
        let writes: Vec<_> = self
            .jira
            .requests()
            .into_iter()
            .filter(usher_emulators::Recorded::is_write)
            .map(|r| (r.method, r.path, r.query, r.body))
            .collect();
        assert!(
            writes.is_empty(),
            "a second convergence writes: {writes:#?}"
        );
        let looked_at = self.jira.requests().len();
        assert!(looked_at > 0, "the second convergence did not look");
        for server in servers {
            assert!(server.terminate().success());
        }
    }

    /// Waits until nothing is left to do; nothing may be held, refused or waiting for data.
    async fn settle(&self, store: &Store, server: &Process) -> TargetId {
        for _ in 0..1200 {
            let status = store.read(work::status).await.unwrap().remove(0);
            if status.pending + status.waiting + status.held + status.failed + status.shadow == 0 {
                return status.target_id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let status = store.read(work::status).await.unwrap();
        let log = server.log();
        let told = |line: &&str| line.contains("parked") || line.contains("ERROR");
        let tail: Vec<&str> = log.lines().rev().filter(told).take(60).collect();
        panic!(
            "seed {}: not in step within a minute: {status:#?}\n{}",
            self.seed,
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }

    async fn everything_acknowledged_is_there(&self, client: &Client, pushed: &[Pushed]) {
        let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for person in pushed.iter().flat_map(|p| &p.people) {
            let user = client.get(&format!("/Users/{}", person.id)).await;
            let seen = (
                user["userName"].as_str(),
                user["displayName"].as_str(),
                user["emails"][0]["value"].as_str(),
                user["active"].as_bool(),
            );
            let wanted = (
                Some(person.name.as_str()),
                Some(person.display_name.as_str()),
                Some(person.email.as_str()),
                Some(person.active),
            );
            assert_eq!(seen, wanted, "seed {}: {user}", self.seed);
            ids.insert(person.id.as_str());
            for group in &person.groups {
                members.entry(group).or_default().insert(&person.id);
            }
        }
        let total = client.get("/Users?count=0").await["totalResults"].as_u64();
        assert_eq!(total, Some(ids.len() as u64), "seed {}", self.seed);
        for (name, id) in pushed.iter().flat_map(|p| &p.groups) {
            let group = client.get(&format!("/Groups/{id}")).await;
            let seen: BTreeSet<&str> = group["members"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|m| m["value"].as_str())
                .collect();
            let wanted = members.get(name.as_str()).cloned().unwrap_or_default();
            assert_eq!(seen, wanted, "seed {}: members of {name}", self.seed);
        }
    }

    fn jira_is_as_it_should_be(&self, pushed: &[Pushed]) {
        let seed = self.seed;
        let mut people: BTreeMap<String, &Person> = pushed
            .iter()
            .flat_map(|p| &p.people)
            .map(|p| (p.name.to_lowercase(), p))
            .collect();
        for account in self.jira.users() {
            if account.name == "admin" {
                continue;
            }
            let Some(person) = people.remove(&account.name) else {
                assert!(
                    !account.active,
                    "seed {seed}: a leaver has access: {account:?}"
                );
                continue;
            };
            assert_eq!(account.active, person.active, "seed {seed}: {account:?}");
            if person.active {
                assert_eq!(
                    account.display_name, person.display_name,
                    "seed {seed}: {account:?}"
                );
                assert_eq!(account.email, person.email, "seed {seed}: {account:?}");
                let groups: BTreeSet<String> = account.groups.iter().cloned().collect();
                assert_eq!(groups, person.groups, "seed {seed}: {account:?}");
            }
        }
        // Whoever was inactive from the beginning needs no account.
        let missing: Vec<_> = people.values().filter(|p| p.active).collect();
        assert!(missing.is_empty(), "seed {seed}: no account: {missing:#?}");
        let mut given: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, times) in pushed.iter().flat_map(|p| &p.given) {
            *given.entry(name).or_default() += times;
        }
        for (name, times) in given {
            let made = self.jira.creations(name);
            assert!(
                made <= times,
                "seed {seed}: {name} was made {made} times for {times} people"
            );
        }
    }

    /// Each account that was made is somebody's in the ledger: none was made twice and lost sight of.
    async fn nobody_is_forgotten(&self, store: &Store, target: TargetId) {
        for account in self.jira.users() {
            if account.name == "admin" {
                continue;
            }
            let (target, key) = (target.clone(), account.key.clone());
            let known = store
                .read(move |conn| -> Result<_, store::Error> {
                    ledger::by_remote(conn, &target, &key)
                })
                .await
                .unwrap();
            let (row, _) =
                known.unwrap_or_else(|| panic!("seed {}: forgotten: {account:?}", self.seed));
            assert_eq!(row.username, account.name, "seed {}", self.seed);
            assert_eq!(
                row.active, account.active,
                "seed {}: {account:?}",
                self.seed
            );
            assert!(!row.in_flight, "seed {}: {row:?}", self.seed);
        }
    }
}

fn apply(database: &Database, toml: &str) {
    let path = database.folder().join("usher.toml");
    std::fs::write(&path, toml).unwrap();
    Process::run(database, &["apply", path.to_str().unwrap()]);
}

fn group(name: &str) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name})
}

/// A SCIM client that does not give up: a request without an answer may or may not have been carried out.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    /// Of each server.
    scim: Vec<String>,
    token: String,
    acknowledged: Arc<AtomicUsize>,
    /// The longest that anybody waited for an answer.
    longest_ms: Arc<AtomicUsize>,
}

impl Client {
    fn new(ports: &[u16], token: &str, acknowledged: Arc<AtomicUsize>) -> Self {
        Self::patient_for(20, ports, token, acknowledged)
    }

    /// One that soon asks another server.
    fn impatient(ports: &[u16], token: &str, acknowledged: Arc<AtomicUsize>) -> Self {
        Self::patient_for(2, ports, token, acknowledged)
    }

    fn patient_for(
        seconds: u64,
        ports: &[u16],
        token: &str,
        acknowledged: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(seconds))
                .build()
                .unwrap(),
            scim: ports
                .iter()
                .map(|port| format!("http://127.0.0.1:{port}/scim/v2"))
                .collect(),
            token: token.to_owned(),
            acknowledged,
            longest_ms: Arc::default(),
        }
    }

    /// Sends until there is an answer that says yes or no, and returns it with whether earlier attempts may
    /// have been carried out.
    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value, bool) {
        let mut repeated = false;
        let started = std::time::Instant::now();
        for attempt in 0..4000 {
            // As a balancer would: the next one each time.
            let which = self.acknowledged.load(Ordering::SeqCst) + attempt;
            let scim = &self.scim[which % self.scim.len()];
            let mut request = self
                .http
                .request(method.parse().unwrap(), format!("{scim}{path}"))
                .bearer_auth(&self.token);
            if let Some(body) = body {
                request = request
                    .header("Content-Type", "application/scim+json")
                    .body(body.to_string());
            }
            if let Ok(answer) = request.send().await {
                let status = answer.status().as_u16();
                // A 503 was not acknowledged either.
                if let Ok(text) = answer.text().await
                    && status != 503
                {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    let ms = usize::try_from(started.elapsed().as_millis()).unwrap();
                    self.longest_ms.fetch_max(ms, Ordering::SeqCst);
                    let json = serde_json::from_str(&text).unwrap_or_default();
                    return (status, json, repeated);
                }
            }
            repeated = true;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{method} {path}: no answer");
    }

    async fn get(&self, path: &str) -> Value {
        let (status, json, _) = self.send("GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {json}");
        json
    }

    /// Creates a resource that nobody else creates, and returns its id.
    async fn create(&self, path: &str, body: &Value, name: &str) -> String {
        let (status, json, repeated) = self.send("POST", path, Some(body)).await;
        if status == 409 && repeated {
            // An attempt whose answer was lost.
            let filter = format!("{name} eq {}", body[name]).replace(' ', "%20");
            let found = self
                .get(&format!("{path}?filter={}", filter.replace('"', "%22")))
                .await;
            assert_eq!(found["totalResults"], 1, "{found}");
            return found["Resources"][0]["id"].as_str().unwrap().to_owned();
        }
        assert_eq!(status, 201, "POST {path}: {json}");
        json["id"].as_str().unwrap().to_owned()
    }

    async fn patch(&self, path: &str, operations: Value) {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        let (status, json, _) = self.send("PATCH", path, Some(&body)).await;
        assert!(matches!(status, 200 | 204), "PATCH {path}: {status} {json}");
    }

    async fn delete(&self, path: &str) {
        let (status, json, repeated) = self.send("DELETE", path, None).await;
        assert!(
            status == 204 || status == 404 && repeated,
            "DELETE {path}: {status} {json}"
        );
    }
}

/// Somebody as acknowledged.
#[derive(Debug, Clone)]
struct Person {
    id: String,
    name: String,
    display_name: String,
    email: String,
    active: bool,
    groups: BTreeSet<String>,
    /// Somebody else may have the former name. Whoever becomes inactive before the target heard of the new
    /// name keeps the old one there, so such a person stays active.
    renamed: bool,
}

/// One source of changes. Each has people and groups of its own, so that what it was told is what is there.
struct Pusher {
    number: usize,
    random: StdRng,
    client: Client,
    /// Name and id.
    groups: Vec<(String, String)>,
    people: Vec<Person>,
    /// Of people who were deleted or renamed.
    free_names: Vec<String>,
    next: usize,
    /// How often each name was given to somebody.
    given: BTreeMap<String, usize>,
    /// Whether it renames people.
    renames: bool,
}

/// What a pusher leaves behind.
struct Pushed {
    people: Vec<Person>,
    groups: Vec<(String, String)>,
    given: BTreeMap<String, usize>,
}

impl Pusher {
    fn new(number: usize, seed: u64, client: &Client, shared: (&str, &str)) -> Self {
        Self {
            number,
            random: StdRng::seed_from_u64(seed.wrapping_add(number as u64 + 1)),
            client: client.clone(),
            groups: vec![(shared.0.to_owned(), shared.1.to_owned())],
            people: Vec::new(),
            free_names: Vec::new(),
            next: 0,
            given: BTreeMap::new(),
            renames: true,
        }
    }

    async fn push(mut self, stop: Arc<AtomicBool>) -> Pushed {
        for n in 0..GROUPS {
            let name = format!("jira-{}-{n}", self.number);
            let id = self
                .client
                .create("/Groups", &group(&name), "displayName")
                .await;
            self.groups.push((name, id));
        }
        let mut pushed = 0;
        while !stop.load(Ordering::SeqCst) {
            if pushed == MOST_REQUESTS {
                // Enough to compare; the kills that are left hit the engine's work.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            pushed += 1;
            self.step().await;
        }
        Pushed {
            people: self.people,
            groups: self.groups,
            given: self.given,
        }
    }

    async fn step(&mut self) {
        let draw = self.random.random_range(0..100);
        if self.people.is_empty() || draw < 22 && self.people.len() < PEOPLE {
            return self.create().await;
        }
        let at = self.random.random_range(0..self.people.len());
        match draw {
            0..35 => self.describe(at).await,
            35..45 => self.switch(at).await,
            45..53 if self.renames => self.rename(at).await,
            45..53 => self.describe(at).await,
            53..63 => self.delete(at).await,
            _ => self.move_between_groups(at).await,
        }
    }

    /// A name that nobody has. For a new person it may be one that somebody had; whoever is renamed to the
    /// name of a leaver meets that one's account, and a person has to decide.
    fn name(&mut self, used: bool) -> String {
        self.next += 1;
        let name = if used && !self.free_names.is_empty() && self.random.random_bool(0.5) {
            let at = self.random.random_range(0..self.free_names.len());
            self.free_names.swap_remove(at)
        } else {
            format!("p{}-{}", self.number, self.next)
        };
        *self.given.entry(name.clone()).or_default() += 1;
        name
    }

    async fn create(&mut self) {
        let name = self.name(true);
        let person = Person {
            id: String::new(),
            display_name: format!("Person {name} {}", self.next),
            email: format!("{name}@example.com"),
            active: self.random.random_bool(0.9),
            groups: BTreeSet::new(),
            renamed: false,
            name,
        };
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": person.name,
            "displayName": person.display_name,
            "active": person.active,
            "emails": [{"value": person.email, "primary": true}],
        });
        let id = self.client.create("/Users", &body, "userName").await;
        self.people.push(Person { id, ..person });
    }

    async fn describe(&mut self, at: usize) {
        self.next += 1;
        let (display_name, email) = (
            format!("Person {}", self.next),
            format!("p{}-{}@example.org", self.number, self.next),
        );
        let path = format!("/Users/{}", self.people[at].id);
        let operations = json!([
            {"op": "replace", "path": "displayName", "value": display_name},
            {"op": "replace", "path": "emails", "value": [{"value": email, "primary": true}]},
        ]);
        self.client.patch(&path, operations).await;
        self.people[at].display_name = display_name;
        self.people[at].email = email;
    }

    async fn switch(&mut self, at: usize) {
        if self.people[at].renamed {
            return;
        }
        let active = !self.people[at].active;
        let path = format!("/Users/{}", self.people[at].id);
        let operations = json!([{"op": "replace", "path": "active", "value": active}]);
        self.client.patch(&path, operations).await;
        self.people[at].active = active;
    }

    async fn rename(&mut self, at: usize) {
        let name = self.name(false);
        let path = format!("/Users/{}", self.people[at].id);
        let operations = json!([{"op": "replace", "path": "userName", "value": name}]);
        self.client.patch(&path, operations).await;
        let old = std::mem::replace(&mut self.people[at].name, name);
        // Whoever is inactive keeps the old name at the target.
        if self.people[at].active {
            self.free_names.push(old);
            self.people[at].renamed = true;
        }
    }

    async fn delete(&mut self, at: usize) {
        let person = self.people.swap_remove(at);
        self.client.delete(&format!("/Users/{}", person.id)).await;
        self.free_names.push(person.name);
    }

    async fn move_between_groups(&mut self, at: usize) {
        let which = self.random.random_range(0..self.groups.len());
        let (name, group) = self.groups[which].clone();
        let person = self.people[at].id.clone();
        let joins = !self.people[at].groups.contains(&name);
        let operation = if joins {
            json!([{"op": "add", "path": "members", "value": [{"value": person}]}])
        } else {
            json!([{"op": "remove", "path": format!("members[value eq \"{person}\"]")}])
        };
        self.client
            .patch(&format!("/Groups/{group}"), operation)
            .await;
        if joins {
            self.people[at].groups.insert(name);
        } else {
            self.people[at].groups.remove(&name);
        }
    }
}
