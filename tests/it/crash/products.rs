//! The same with a product of each kind at once, one of which is down all the time.

use std::time::Instant;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usher::targets;
use usher_emulators::Fault;

use super::super::harness::{Account, App, Product, credential};
use super::*;

const KILLS: usize = 8;
/// People whose accounts are made while the time is taken.
const TIMED: usize = 120;
/// How often the time is taken, with all products and with one of them silent in turn.
const TURNS: usize = 3;
/// How long the silent one is waited for at each request: much longer than everything else takes.
const SILENCE: Duration = Duration::from_secs(120);

pub(super) const MAPPING: &str = r#"
[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]

[mapping.brakes]
deactivations = "off"
deletions = "off"
membership_removals = "off"
"#;

/// All of them, and which one is down.
pub(super) struct Products {
    pub(super) all: Vec<Product>,
    down: usize,
}

impl Products {
    pub(super) fn start(down: usize) -> Self {
        let all = Product::one_of_each();
        for product in &all {
            // Requests are under way when the server dies.
            product.server().set_latency(Duration::from_millis(4));
        }
        Self { all, down }
    }

    pub(super) fn configuration(
        &self,
        target: impl Fn(&Product) -> String,
        mapping: &str,
    ) -> String {
        let parts = self
            .all
            .iter()
            .map(|product| product.configuration(&target(product), mapping));
        "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n".to_owned() + &parts.collect::<String>()
    }

    /// What a server needs to reach them, and to take over soon.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let lease = ("USHER_LEASE".to_owned(), LEASE_S.to_owned());
        let all = self.all.iter().map(Product::environment);
        all.chain([lease]).collect()
    }

    fn dead(&self) -> &Product {
        &self.all[self.down]
    }

    /// Takes connections and requests of one product, and answers none of them.
    fn silence(&self) {
        let fault = Fault::once(FaultKind::Hang(SILENCE));
        self.dead().server().fault(fault.times(usize::MAX));
    }
}

pub(super) fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    let all = environment.iter();
    all.map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Two sources of changes.
pub(super) fn push(
    seed: u64,
    client: &Client,
    shared: &str,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<Pushed>> {
    (0..2)
        .map(|number| {
            let pusher = Pusher {
                // Confluence cannot rename, and would keep the old names.
                renames: false,
                ..Pusher::new(number, seed, client, ("jira-all", shared))
            };
            tokio::spawn(pusher.push(stop.clone()))
        })
        .collect()
}

/// Whom they left behind, by login name.
pub(super) async fn pushed(
    pushers: Vec<JoinHandle<Pushed>>,
    server: &Process,
) -> BTreeMap<String, Person> {
    let mut people = BTreeMap::new();
    for pusher in pushers {
        let pushed = pusher.await.unwrap_or_else(|failed| {
            let log = server.log();
            let told: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
            panic!("{failed}\n{}", told.join("\n"));
        });
        let pushed = pushed.people.into_iter();
        people.extend(pushed.map(|person| (person.name.to_lowercase(), person)));
    }
    people
}

/// Whether all of these targets are in step.
async fn are_in_step(store: &Store, is_meant: impl Fn(&str) -> bool) -> bool {
    let status = store.read(work::status).await.unwrap();
    let mut meant = status.iter().filter(|target| is_meant(&target.name));
    meant.all(|target| {
        target.pending + target.waiting + target.held + target.failed + target.shadow == 0
    })
}

pub(super) async fn settle(seed: u64, store: &Store, is_meant: impl Fn(&str) -> bool + Copy) {
    for _ in 0..1200 {
        if are_in_step(store, is_meant).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = store.read(work::status).await.unwrap();
    panic!("seed {seed}: not in step within a minute: {status:#?}");
}

/// Nobody has too much, and nobody too little.
pub(super) fn is_as_pushed(seed: u64, product: &Product, people: &BTreeMap<String, Person>) {
    let (name, accounts) = (product.name(), product.accounts());
    for (login, account) in &accounts {
        let wanted = people.get(login).filter(|person| person.active);
        let Some(person) = wanted else {
            assert!(!account.active, "seed {seed}: {name}: {login} has access");
            continue;
        };
        let expected = Account {
            active: true,
            display_name: person.display_name.clone(),
            email: person.email.clone(),
            groups: person.groups.clone(),
        };
        assert_eq!(*account, expected, "seed {seed}: {name}: {login}");
    }
    for (login, _) in people.iter().filter(|(_, person)| person.active) {
        let there = accounts.contains_key(login);
        assert!(there, "seed {seed}: {name}: nobody is called {login}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_at_any_product_while_one_is_down() {
    let seed = number_of("USHER_TEST_SEED").unwrap_or_else(|| rand::rng().random());
    let mut random = StdRng::seed_from_u64(seed);
    let products = Products::start(random.random_range(0..5));
    let (dead, is_silent) = (products.dead().name(), random.random_bool(0.5));
    let how = if is_silent { "silent" } else { "down" };
    eprintln!("all products, {dead} is {how}: USHER_TEST_SEED={seed}");
    if is_silent {
        products.silence();
    } else {
        products.dead().server().set_down(true);
    }
    let database = sqlite();
    let limits = |_: &Product| "timeout = \"1s\"\nconcurrency = 8".to_owned();
    apply(&database, &products.configuration(limits, MAPPING));
    let token = Process::run(&database, &["token", "create", "corp"]);
    let port = free_port();
    let environment = products.environment();
    let environment = borrowed(&environment);
    let mut server = Process::serve(&database, port, &environment).await;
    let stop = Arc::new(AtomicBool::new(false));
    let client = Client::new(&[port], token.trim(), Arc::default());
    let shared = client
        .create("/Groups", &group("jira-all"), "displayName")
        .await;
    let pushers = push(seed, &client, &shared, &stop);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(1..600))).await;
        server.kill();
        server = Process::serve(&database, port, &environment).await;
    }
    stop.store(true, Ordering::SeqCst);
    let people = pushed(pushers, &server).await;
    let store = database.open();
    settle(seed, &store, |name| name != dead).await;
    for product in products.all.iter().filter(|it| it.name() != dead) {
        is_as_pushed(seed, product, &people);
    }
    let waits = !are_in_step(&store, |name| name == dead).await;
    assert!(waits, "seed {seed}: {dead} is {how}, but nothing waits");

    // And once it is back it gets everything too.
    products.dead().server().clear_faults();
    products.dead().server().set_down(false);
    Process::run(&database, &["retry"]);
    settle(seed, &store, |name| name == dead).await;
    is_as_pushed(seed, products.dead(), &people);
    assert!(server.terminate().success());
}

/// How long the products that answer take for everyone.
async fn time_taken(down: usize, is_silent: bool) -> Duration {
    let products = Products::start(down);
    if is_silent {
        products.silence();
    }
    let dead = products.dead().name();
    let connect = |settings: &usher::domain::TargetSettings| {
        targets::connect(settings, credential(settings)).map_err(|error| error.to_string())
    };
    let app = App::connected(&sqlite(), Arc::new(connect)).await;
    let limits = |product: &Product| {
        let timeout = if product.name() == dead {
            SILENCE.as_secs()
        } else {
            10
        };
        format!("timeout = \"{timeout}s\"\nconcurrency = 4")
    };
    app.apply(&products.configuration(limits, MAPPING)).await;
    let token = app.token("corp").await;
    for n in 0..TIMED {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": format!("p{n}"),
            "displayName": format!("Person {n}"),
            "active": true,
            "emails": [{"value": format!("p{n}@example.com"), "primary": true}],
        });
        let reply = app.send(&token, "POST", "/Users", Some(body)).await;
        assert_eq!(reply.status, 201, "{}", reply.json);
    }
    let (stop, started) = (CancellationToken::new(), Instant::now());
    let engine = app.parts.engine.clone();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { engine.run(stop).await }
    });
    // In both cases the same four are waited for; whoever waited for the silent one would take its time-outs.
    while !are_in_step(app.store(), |name| name != dead).await {
        assert!(started.elapsed() < SILENCE, "not in step");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let taken = started.elapsed();
    stop.cancel();
    products.dead().server().clear_faults();
    products.dead().server().set_down(true);
    running.await.unwrap();
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_product_slows_no_other() {
    let down = rand::rng().random_range(0..5);
    let dead = Product::one_of_each()[down].name();
    let mut ratios = Vec::new();
    for _ in 0..TURNS {
        let (with, without) = (time_taken(down, true).await, time_taken(down, false).await);
        eprintln!(
            "{TIMED} people at four products: {with:.2?}, {dead} silent; {without:.2?}, all well"
        );
        ratios.push(with.as_secs_f64() / without.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    eprintln!("the others take {:.2} times as long", ratios[TURNS / 2]);
}
