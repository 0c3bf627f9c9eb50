//! The same with several products at once, one of which accepts connections and never answers.

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use usher::outbound::Credential;
use usher::targets;
use usher_emulators::confluence::{Confluence, ConfluenceOptions};
use usher_emulators::crowd::{Crowd, CrowdOptions};

use super::super::harness::App;
use super::*;

/// What an account is at the end: whether it is active, what it is called, and its groups.
type Accounts = BTreeMap<String, (bool, String, BTreeSet<String>)>;

const KILLS: usize = 8;
/// People whose accounts are made while the time is taken.
const TIMED: usize = 120;

struct Products {
    jira: Jira,
    confluence: Confluence,
    crowd: Crowd,
    /// Takes connections, and nobody ever reads from them.
    silent: std::net::TcpListener,
}

impl Products {
    fn start() -> Self {
        let latency = Duration::from_millis(4);
        let products = Self {
            jira: Jira::start(JiraOptions {
                latency,
                default_group: None,
                ..JiraOptions::default()
            })
            .unwrap(),
            confluence: Confluence::start(ConfluenceOptions {
                default_group: None,
                ..ConfluenceOptions::default()
            })
            .unwrap(),
            crowd: Crowd::start(CrowdOptions::default()).unwrap(),
            silent: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        };
        products.confluence.set_latency(latency);
        products.crowd.set_latency(latency);
        products
    }

    fn configuration(&self, with_silent: bool) -> String {
        let token = |of: &str| format!("token = {{ env = \"TOKEN_{of}\" }}");
        let silent = self.silent.local_addr().unwrap();
        let mut all = vec![
            ("jira", "jira-dc", self.jira.url(), token("JIRA")),
            (
                "confluence",
                "confluence-dc",
                self.confluence.url(),
                token("CONFLUENCE"),
            ),
            (
                "crowd",
                "crowd",
                self.crowd.url(),
                "username = \"usher\"\npassword = { env = \"PASSWORD_CROWD\" }".to_owned(),
            ),
        ];
        if with_silent {
            let url = format!("http://{silent}");
            all.push(("silent", "jira-dc", url, token("JIRA")));
        }
        let mut text = "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n".to_owned();
        for (name, kind, url, credential) in all {
            text.push_str(&format!(
                r#"
[[target]]
name = "{name}"
kind = "{kind}"
base_url = "{url}"
{credential}
timeout = "1s"
concurrency = 8

[[mapping]]
connection = "corp"
target = "{name}"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
"#
            ));
        }
        text
    }

    /// By product, the account that Usher uses left out.
    fn accounts(&self) -> [(&'static str, Accounts); 3] {
        let entry = |name: String, active, display_name, groups: Vec<String>| {
            (name, (active, display_name, groups.into_iter().collect()))
        };
        let others = |name: &str| name != "admin";
        let jira = self.jira.users().into_iter().filter(|u| others(&u.name));
        let confluence = self.confluence.users().into_iter();
        let confluence = confluence.filter(|u| others(&u.name));
        let crowd = self.crowd.users().into_iter();
        [
            (
                "jira",
                jira.map(|u| entry(u.name, u.active, u.display_name, u.groups))
                    .collect(),
            ),
            (
                "confluence",
                confluence
                    .map(|u| entry(u.name, u.active, u.display_name, u.groups))
                    .collect(),
            ),
            (
                "crowd",
                crowd
                    .map(|u| entry(u.name, u.active, u.display_name, u.groups))
                    .collect(),
            ),
        ]
    }
}

/// Whether all but the silent one are in step.
async fn others_are_in_step(store: &Store) -> bool {
    let status = store.read(work::status).await.unwrap();
    status
        .iter()
        .filter(|target| target.name != "silent")
        .all(|target| {
            target.pending + target.waiting + target.held + target.failed + target.shadow == 0
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_at_any_product_while_another_is_silent() {
    let seed = rand::rng().random::<u64>();
    eprintln!("several products: seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (database, products) = (sqlite(), Products::start());
    apply(&database, &products.configuration(true));
    let token = Process::run(&database, &["token", "create", "corp"]);
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let environment = [
        ("TOKEN_JIRA", TOKEN),
        ("TOKEN_CONFLUENCE", "emulated-confluence-token"),
        ("PASSWORD_CROWD", "application-password"),
        ("USHER_LEASE", LEASE_S),
    ];
    let mut server = Process::serve(&database, port, &environment).await;
    let stop = Arc::new(AtomicBool::new(false));
    let client = Client::new(&server.scim, token.trim(), Arc::default());
    let shared = client
        .create("/Groups", &group("jira-all"), "displayName")
        .await;
    let pushers: Vec<_> = (0..2)
        .map(|number| {
            let pusher = Pusher {
                // Confluence cannot rename, and would keep the old names.
                renames: false,
                ..Pusher::new(number, seed, &client, ("jira-all", &shared))
            };
            tokio::spawn(pusher.push(stop.clone()))
        })
        .collect();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(1..600))).await;
        server.kill();
        server = Process::serve(&database, port, &environment).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut people: BTreeMap<String, Person> = BTreeMap::new();
    for pusher in pushers {
        let pushed = pusher.await.unwrap().people.into_iter();
        people.extend(pushed.map(|person| (person.name.to_lowercase(), person)));
    }
    let store = database.open();
    for _ in 0..1200 {
        if others_are_in_step(&store).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = store.read(work::status).await.unwrap();
    assert!(others_are_in_step(&store).await, "seed {seed}: {status:#?}");
    for (product, accounts) in products.accounts() {
        for (name, (active, display_name, groups)) in &accounts {
            match people.get(name) {
                Some(person) if person.active => {
                    assert!(active, "seed {seed}: {product}: {name} has no access");
                    assert_eq!(*display_name, person.display_name, "seed {seed}: {product}");
                    assert_eq!(*groups, person.groups, "seed {seed}: {product}: {name}");
                }
                _ => assert!(!active, "seed {seed}: {product}: {name} has access"),
            }
        }
        for person in people.values().filter(|person| person.active) {
            let there = accounts.contains_key(&person.name.to_lowercase());
            assert!(
                there,
                "seed {seed}: {product}: nobody is called {}",
                person.name
            );
        }
    }
    let silent = status.iter().find(|target| target.name == "silent");
    assert!(
        silent.is_some_and(|target| target.pending > 0),
        "{silent:?}"
    );
    assert!(server.terminate().success());
}

/// How long the products that answer take for everyone.
async fn time_taken(with_silent: bool) -> Duration {
    let products = Products::start();
    let connect = |settings: &usher::domain::TargetSettings| {
        let credential = match settings.name.as_str() {
            "crowd" => Credential::Basic {
                username: "usher".into(),
                password: "application-password".into(),
            },
            "confluence" => Credential::Bearer("emulated-confluence-token".into()),
            _ => Credential::Bearer(TOKEN.into()),
        };
        targets::connect(settings, credential).map_err(|error| error.to_string())
    };
    let app = App::connected(&sqlite(), Arc::new(connect)).await;
    app.apply(&products.configuration(with_silent)).await;
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
    while !others_are_in_step(app.store()).await {
        assert!(started.elapsed() < Duration::from_secs(60), "not in step");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let taken = started.elapsed();
    stop.cancel();
    running.await.unwrap();
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_product_slows_no_other() {
    let (without, with) = (time_taken(false).await, time_taken(true).await);
    eprintln!(
        "{TIMED} people at three products: {without:.1?}, with a fourth that is silent: {with:.1?}"
    );
    // The machine has other things to do; a target that waits for the silent one would take its time-outs.
    assert!(
        with < without * 2 + Duration::from_secs(2),
        "{without:?} and {with:?}"
    );
}
