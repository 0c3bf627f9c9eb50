//! A domain read in the name of an administrator who consented once: the way through the browser, what can go wrong on
//! it, and that each refresh token is used once.

use std::sync::Arc;

use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use usher::app;
use usher::clock::Clock;
use usher::consent::LIFETIME;
use usher::domain::{Connection, Role};
use usher::reconcile::{Extent, Reconciler};
use usher::store::admins::{self, NewAdmin};
use usher::store::{audit, consents, settings};
use usher::targets::memory::Memory;
use usher::vault::{Source, Vault};
use usher_emulators::idcs::Person;
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain};

use super::harness::{App, Database, Process, databases, sqlite};

/// A domain, a server that reads it, and an administrator of both who is signed in.
struct World {
    domain: IdcsDomain,
    app: App,
    cookie: String,
    _database: Database,
}

pub(super) fn configuration(url: &str, secret: &str, grant: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"
base_url = "{url}"
client_id = "usher-client"
client_secret = {{ file = "{secret}" }}
grant = "{grant}"
requests_per_second = 1000
"#
    )
}

/// What a browser was answered.
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) cookies: Vec<String>,
    pub(super) text: String,
}

pub(super) async fn browse(url: &str, cookies: &[&str]) -> Seen {
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .unwrap();
    let mut request = client.get(url);
    if !cookies.is_empty() {
        request = request.header("Cookie", cookies.join("; "));
    }
    let answer = request.send().await.unwrap();
    let header = |name: &str| -> Vec<String> {
        let all = answer.headers().get_all(name).iter();
        all.map(|value| value.to_str().unwrap().to_owned())
            .collect()
    };
    Seen {
        status: answer.status().as_u16(),
        location: header("location").into_iter().next().unwrap_or_default(),
        cookies: header("set-cookie"),
        text: answer.text().await.unwrap(),
    }
}

impl World {
    async fn start(database: &Database) -> Self {
        let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
        let app = App::start(database, &Memory::new()).await;
        domain.set_now(app.clock.now());
        domain.add_user(&Person::new("ada@example.com", "Ada", "Test"));
        domain.register_redirect(&format!("{}/oauth/callback", app.base()));
        domain.sign_in_as(Some("administrator"));
        let world = Self {
            cookie: sign_in(&app, "root", Role::Administrator).await,
            domain,
            app,
            _database: database.clone(),
        };
        world.apply("refresh-token").await;
        world
    }

    async fn apply(&self, grant: &str) {
        let secret = self._database.folder().join("secret");
        std::fs::write(&secret, "usher-client-secret").unwrap();
        let text = configuration(&self.domain.url(), secret.to_str().unwrap(), grant);
        self.app.apply(&text).await;
    }

    async fn connection(&self) -> Connection {
        let configuration = self.app.store().read(settings::load).await.unwrap();
        configuration.connections.into_iter().next().unwrap()
    }

    /// Begins in the browser: the page of the domain, and the cookie that was set.
    async fn begin(&self) -> (String, String) {
        let url = format!("{}/oauth/authorize?connection=corp", self.app.base());
        let seen = browse(&url, &[&self.cookie]).await;
        assert_eq!(seen.status, 303, "{}", seen.text);
        let set = &seen.cookies[0];
        assert!(
            set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Max-Age=600"),
            "{set}"
        );
        (seen.location, set.split(';').next().unwrap().to_owned())
    }

    /// The answer of the domain: the address that the browser is sent back to.
    async fn answer(&self, page: &str) -> String {
        let seen = browse(page, &[]).await;
        assert_eq!(seen.status, 302, "{}", seen.text);
        seen.location
    }

    async fn consent(&self) {
        let (page, cookie) = self.begin().await;
        let back = self.answer(&page).await;
        let seen = browse(&back, &[&cookie]).await;
        assert_eq!(seen.status, 200, "{}", seen.text);
        assert!(seen.text.contains("corp"), "{}", seen.text);
    }

    async fn try_run(&self) -> Result<usher::reconcile::Report, String> {
        let connection = self.connection().await;
        self.app
            .parts
            .reconciler
            .run(&connection, Extent::Full, "test", false, None)
            .await
            .map_err(|e| e.to_string())
    }

    async fn sealed(&self) -> Option<String> {
        let id = self.connection().await.id;
        self.app
            .store()
            .read(move |conn| consents::refresh_token(conn, &id))
            .await
            .unwrap()
    }
}

async fn sign_in(app: &App, name: &str, role: Role) -> String {
    let new = NewAdmin {
        name: name.to_owned(),
        role,
        password: Some("none".to_owned()),
        domain: None,
    };
    let (now, wanted) = (app.clock.now(), name.to_owned());
    let admin = app
        .store()
        .write(move |tx| -> Result<_, admins::Refused> {
            admins::insert(tx, &new, now)?;
            Ok(admins::named(tx.conn(), &wanted)?)
        })
        .await
        .unwrap();
    let id = admin.unwrap().0.id;
    let cookie = app
        .parts
        .state
        .seat
        .open_session(&id, "test")
        .await
        .unwrap();
    format!("usher={}", cookie.expose_secret())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_read_by_the_consent_of_an_administrator() {
    for database in databases() {
        let world = World::start(&database).await;
        let error = world.try_run().await.unwrap_err();
        assert!(error.contains("usher source authorize"), "{error}");
        world.consent().await;
        let report = world.try_run().await.unwrap();
        assert_eq!((report.state, report.counts.users), ("done", 1));

        // What is stored is encrypted, and is the token that the domain gave last.
        let good = world.domain.refresh_tokens();
        assert_eq!(good.len(), 1);
        let before = world.sealed().await.unwrap();
        assert!(!before.contains(&good[0]));
        world.domain.revoke_access_tokens();
        assert_eq!(world.try_run().await.unwrap().state, "done");
        assert_ne!(world.sealed().await.unwrap(), before);
        assert_ne!(world.domain.refresh_tokens(), good);
        let rows = world
            .app
            .store()
            .read(|conn| audit::page(conn, &audit::Query::default(), 100))
            .await
            .unwrap();
        let act = rows
            .iter()
            .find(|it| it.operation == "authorize_connection");
        assert_eq!(act.unwrap().actor.as_deref(), Some("root"));

        // Revoked at the domain: told, and mended by a new consent.
        world.domain.revoke_refresh_tokens();
        world.domain.revoke_access_tokens();
        for _ in 0..2 {
            let error = world.try_run().await.unwrap_err();
            assert!(
                error.contains("consent") && error.contains("usher source authorize"),
                "{error}"
            );
        }
        world.consent().await;
        assert_eq!(world.try_run().await.unwrap().state, "done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_good_once_in_one_browser_and_for_ten_minutes() {
    for database in databases() {
        let world = World::start(&database).await;
        let refused = async |url: &str, cookies: &[&str], words: &str| {
            let seen = browse(url, cookies).await;
            assert_eq!(seen.status, 400, "{url}: {}", seen.text);
            assert!(seen.text.contains(words), "{words}: {}", seen.text);
        };
        let callback = format!("{}/oauth/callback", world.app.base());
        // Never begun, and nothing at all.
        refused(&callback, &[], "not known").await;
        refused(
            &format!("{callback}?code=x&state=made-up"),
            &[],
            "not known",
        )
        .await;

        // In another browser: refused, and used up.
        let (page, cookie) = world.begin().await;
        let back = world.answer(&page).await;
        refused(&back, &[], "another browser").await;
        refused(&back, &[&cookie], "used already").await;
        let (page, _) = world.begin().await;
        let back = world.answer(&page).await;
        refused(&back, &[&cookie], "another browser").await;

        // Too late.
        let (page, cookie) = world.begin().await;
        let back = world.answer(&page).await;
        world.app.clock.advance_ms(LIFETIME / 1000);
        refused(&back, &[&cookie], "ten minutes").await;
        world.domain.set_now(world.app.clock.now());

        // A code that was given for another one.
        let (mine, cookie) = world.begin().await;
        let (other, _) = world.begin().await;
        let (mine, other) = (world.answer(&mine).await, world.answer(&other).await);
        let code = |url: &str| {
            url.split("code=")
                .nth(1)
                .unwrap()
                .split('&')
                .next()
                .unwrap()
                .to_owned()
        };
        let mixed = mine.replace(&code(&mine), &code(&other));
        let seen = browse(&mixed, &[&cookie]).await;
        assert_eq!(seen.status, 502, "{}", seen.text);
        assert!(seen.text.contains("invalid_grant"), "{}", seen.text);

        // The administrator says no, and the domain's words cannot do harm.
        world.domain.sign_in_as(None);
        let (page, cookie) = world.begin().await;
        let back = world.answer(&page).await;
        refused(&back, &[&cookie], "access_denied").await;
        let (page, cookie) = world.begin().await;
        let state = page
            .split("state=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap();
        let harm = format!("{callback}?error=%3Cscript%3Ealert(1)%3C%2Fscript%3E&state={state}");
        let seen = browse(&harm, &[&cookie]).await;
        assert!(
            seen.status == 400 && !seen.text.contains("<script>alert"),
            "{}",
            seen.text
        );
        let (page, cookie) = world.begin().await;
        let state = page
            .split("state=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap();
        refused(
            &format!("{callback}?state={state}"),
            &[&cookie],
            "neither a code",
        )
        .await;

        // Nothing of all that left anything behind.
        assert_eq!(world.sealed().await, None);
        world.domain.sign_in_as(Some("administrator"));
        world.consent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_begin_a_consent_and_only_where_one_is_needed() {
    let world = World::start(&sqlite()).await;
    let page = |name: &str| format!("{}/oauth/authorize?connection={name}", world.app.base());
    let operator = sign_in(&world.app, "op", Role::Operator).await;
    assert_eq!(browse(&page("corp"), &[&operator]).await.status, 403);
    let stranger = browse(&page("corp"), &[]).await;
    assert!(
        stranger.location.starts_with("/sign-in?"),
        "{}",
        stranger.location
    );
    assert_eq!(browse(&page("nope"), &[&world.cookie]).await.status, 404);
    world.apply("client-credentials").await;
    let seen = browse(&page("corp"), &[&world.cookie]).await;
    assert_eq!(seen.status, 409);
    assert!(seen.text.contains("refresh-token"), "{}", seen.text);

    // Without a master key nothing could be kept.
    world.apply("refresh-token").await;
    let without = app::consents(world.app.store(), &world.app.clock, None);
    let error = without
        .begin("corp", "http://x", "root", false)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("USHER_MASTER_KEY"), "{error}");
}

/// Several servers on one database whose access tokens end at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn no_refresh_token_is_used_twice_by_servers_that_share_a_database() {
    for database in databases() {
        let world = World::start(&database).await;
        world.consent().await;
        let key = Source::Text(SecretString::from("A".repeat(42) + "A"));
        let readers: Vec<Reconciler> = (0..8)
            .map(|_| {
                let vault = Vault::open(&key).unwrap();
                let clock: Clock = world.app.clock.clone();
                app::reconciler(world.app.store(), &clock, Some(vault))
            })
            .collect();
        let connection = Arc::new(world.connection().await);
        for _ in 0..3 {
            let tasks: Vec<_> = readers
                .iter()
                .map(|reader| {
                    let (client, connection) = (reader.clone(), connection.clone());
                    tokio::spawn(async move {
                        let client = client.client(&connection).await.unwrap();
                        client.users(None, 1).await.map(|page| page.total)
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), Ok(1));
            }
            world.domain.revoke_access_tokens();
        }
        assert_eq!(world.domain.refresh_tokens().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_the_page_and_the_server_takes_the_answer() {
    let database = sqlite();
    let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
    domain.add_user(&Person::new("ada@example.com", "Ada", "Test"));
    domain.sign_in_as(Some("administrator"));
    let secret = database.folder().join("secret");
    std::fs::write(&secret, "usher-client-secret").unwrap();
    let file = database.folder().join("usher.toml");
    let text = configuration(&domain.url(), secret.to_str().unwrap(), "refresh-token");
    std::fs::write(&file, text).unwrap();
    Process::run(&database, &["apply", file.to_str().unwrap()]);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = Process::serve(&database, port, &[]).await;
    let output = Process::command(&database, &["check", "corp"])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        !output.status.success() && out.contains("usher source authorize"),
        "{out}"
    );
    let base = format!("http://127.0.0.1:{port}");
    let printed = Process::run(
        &database,
        &["source", "authorize", "corp", "--public-url", &base],
    );
    let page = printed.trim();
    assert!(
        page.starts_with(&domain.url()) && page.contains("code_challenge_method=S256"),
        "{page}"
    );
    let back = browse(page, &[]).await.location;
    let seen = browse(&back, &[]).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    let out = Process::run(&database, &["check", "corp"]);
    assert!(out.contains("users: 1 in the domain"), "{out}");
    assert!(Process::run(&database, &["sync", "corp"]).contains("ada@example.com"));
    let tokens = domain.refresh_tokens();
    assert!(!server.log().contains(&tokens[0]));
    assert!(Process::run(&database, &["source", "forget", "corp"]).contains("forgotten"));
    assert!(
        !Process::command(&database, &["check", "corp"])
            .output()
            .unwrap()
            .status
            .success()
    );
}
