//! Administrators are told what is wrong, once, and when it is over, through a webhook and a mail server of ours.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use usher::alerts::Watch;
use usher::domain::{Failure, Role};
use usher::store::tokens::{self, CredentialScheme};
use usher::store::{self, runs};
use usher::targets::memory::Memory;

use super::harness::{App, Database, Process, Receiver, databases, get_text, sqlite};

const DAY_US: i64 = 86_400 * 1_000_000;

/// What came in.
type Seen<T> = Arc<Mutex<Vec<T>>>;

/// What was posted to the webhook since the last call: raised, and resolved.
fn news(hook: &Receiver) -> (Vec<String>, Vec<String>) {
    let seen = hook.take();
    let of = |name: &str| {
        seen.iter()
            .map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap())
            .flat_map(|body| body[name].as_array().unwrap().clone())
            .map(|entry| entry["text"].as_str().unwrap().to_owned())
            .collect()
    };
    (of("raised"), of("resolved"))
}

/// A mail server without TLS, which asks for a name and a password.
struct Post {
    port: u16,
    /// Commands and text of each message.
    seen: Seen<String>,
}

impl Post {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let post = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Seen::default(),
        };
        let seen = post.seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                Self::talk(stream.unwrap(), &seen);
            }
        });
        post
    }

    fn talk(stream: TcpStream, seen: &Seen<String>) {
        let mut stream = BufReader::new(stream);
        let mut all = String::new();
        let answer = |stream: &mut BufReader<TcpStream>, text: &str| {
            stream.get_mut().write_all(text.as_bytes()).unwrap();
        };
        answer(&mut stream, "220 ours\r\n");
        let mut in_text = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            all.push_str(&line);
            if in_text {
                if line == ".\r\n" {
                    in_text = false;
                    // Before the answer: whoever sent it may look at once.
                    seen.lock().unwrap().push(all.clone());
                    answer(&mut stream, "250 kept\r\n");
                }
                continue;
            }
            let word = line.get(..4).unwrap_or_default().to_uppercase();
            let reply = match word.as_str() {
                "EHLO" => "250-ours\r\n250 AUTH PLAIN LOGIN\r\n",
                "AUTH" => "235 welcome\r\n",
                "DATA" => {
                    in_text = true;
                    "354 go on\r\n"
                }
                "QUIT" => "221 bye\r\n",
                _ => "250 ok\r\n",
            };
            answer(&mut stream, reply);
        }
    }

    fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// The configuration, with the secrets in files beside the database.
fn configuration(database: &Database, hook: &Receiver, post: &Post) -> String {
    let folder = database.folder();
    let url = format!(
        "http://127.0.0.1:{}/services/T0/s3cret-path?sig=s3cret-query",
        hook.port
    );
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let url = file("hook-url", &url);
    let token = file("hook-token", "s3cret-token");
    let password = file("smtp-password", "s3cret-password");
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

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.brakes]
deactivations = {{ count = 0, share = 0.0, at_least = 0, window = "1h" }}

[alerts]
no_push = "24h"
backlog = "1h"
unreachable = "10m"

[alerts.webhook]
url = {{ file = "{url}" }}
token = {{ file = "{token}" }}

[alerts.mail]
server = "127.0.0.1"
port = {port}
tls = "none"
username = "usher"
password = {{ file = "{password}" }}
from = "usher@example.com"
to = ["ops@example.com", "boss@example.com"]
"#,
        port = post.port
    )
}

fn watch(app: &App) -> Watch {
    Watch::new(
        app.store().clone(),
        app.clock.clone(),
        app.parts.engine.metrics().clone(),
        usher::configure::secrets(app.parts.state.vault.clone()),
    )
}

async fn push(app: &App, token: &str, name: &str) -> String {
    let person = json!({"userName": name, "displayName": name,
        "emails": [{"value": format!("{name}@example.com"), "primary": true}]});
    let made = app.send(token, "POST", "/Users", Some(person)).await;
    assert_eq!(made.status, 201, "{}", made.json);
    made.id()
}

/// Looks, and expects exactly one text of each kind with these words in it, through both channels.
async fn expect(
    watch: &mut Watch,
    (hook, post): (&Receiver, &Post),
    raised: &[&str],
    over: &[&str],
) {
    watch.look().await.unwrap();
    let (told, ended) = news(hook);
    for (texts, words) in [(&told, raised), (&ended, over)] {
        assert_eq!(texts.len(), words.len(), "{texts:?} for {words:?}");
        for word in words {
            assert_eq!(
                texts.iter().filter(|t| t.contains(word)).count(),
                1,
                "{word}: {texts:?}"
            );
        }
    }
    let mails = post.news().concat();
    let flat = mails.replace("=\r\n", "");
    for word in raised.iter().chain(over) {
        assert!(flat.contains(word), "{word}: {mails}");
    }
    assert_eq!(
        mails.is_empty(),
        raised.is_empty() && over.is_empty(),
        "{mails}"
    );
    // Once is enough.
    watch.look().await.unwrap();
    assert_eq!(news(hook), (Vec::new(), Vec::new()));
    assert!(post.news().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_is_told_once_and_so_is_its_end() {
    for database in databases() {
        let (hook, post, memory) = (Receiver::start(), Post::start(), Memory::new());
        let ways = (&hook, &post);
        let app = App::start(&database, &memory).await;
        app.apply(&configuration(&database, &hook, &post)).await;
        let token = app.token("corp").await;
        let mut watch = watch(&app);
        let ada = push(&app, &token, "ada").await;
        app.drain().await;
        expect(&mut watch, ways, &[], &[]).await;

        // The target goes away.
        let gone = Failure::Unreachable {
            text: "connection refused".to_owned(),
        };
        memory.outage(Some(gone));
        push(&app, &token, "grace").await;
        app.pass(Duration::from_secs(60), 8).await;
        expect(&mut watch, ways, &[], &[]).await;
        app.pass(Duration::from_secs(60), 4).await;
        expect(&mut watch, ways, &["jira is down: connection refused"], &[]).await;
        app.pass(Duration::from_secs(60), 50).await;
        expect(
            &mut watch,
            ways,
            &["work for jira waits for more than"],
            &[],
        )
        .await;
        memory.outage(None);
        app.pass(Duration::from_secs(60), 10).await;
        expect(
            &mut watch,
            ways,
            &[],
            &["jira is down", "work for jira waits"],
        )
        .await;

        // A brake.
        let left = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": false}]});
        let path = format!("/Users/{ada}");
        assert_eq!(
            app.send(&token, "PATCH", &path, Some(left)).await.status,
            200
        );
        app.drain().await;
        expect(&mut watch, ways, &["a brake holds removals at jira"], &[]).await;
        Process::run(&database, &["held", "release", "--all"]);
        app.pass(Duration::from_secs(1), 2).await;
        expect(&mut watch, ways, &[], &["a brake holds removals at jira"]).await;

        // Silence, and a credential whose end comes nearer.
        let now = app.clock.now();
        let ends = now + 60 * DAY_US;
        app.store()
            .write(move |tx| -> Result<(), store::Error> {
                let id = tokens::connection_named(tx.conn(), "corp")?.unwrap();
                tokens::insert(
                    tx,
                    &id,
                    CredentialScheme::Bearer,
                    "",
                    "digest",
                    Some(ends),
                    now,
                )?;
                Ok(())
            })
            .await
            .unwrap();
        app.clock.advance_ms(25 * 3_600_000);
        expect(
            &mut watch,
            ways,
            &["corp has pushed nothing for more than"],
            &[],
        )
        .await;
        push(&app, &token, "new").await;
        app.drain().await;
        expect(&mut watch, ways, &[], &["corp has pushed nothing"]).await;
        for (days, words) in [
            (29, "within 30 days"),
            (16, "within 14 days"),
            (7, "within 7 days"),
        ] {
            app.clock.advance_ms(days * 86_400_000);
            app.send(&token, "PATCH", &path, Some(json!({}))).await;
            expect(&mut watch, ways, &[words], &[]).await;
        }
        Process::run(&database, &["token", "revoke", &credential(&app).await]);
        expect(&mut watch, ways, &[], &["a credential (bearer) of corp"]).await;

        // A run that was void, and one that found what pushes had missed.
        run(
            &app,
            "void",
            Some("the domain listed half of the people"),
            0,
        )
        .await;
        expect(
            &mut watch,
            ways,
            &["is void, and removed nothing: the domain listed"],
            &[],
        )
        .await;
        run(&app, "done", None, 3).await;
        expect(&mut watch, ways, &["found 3 changes"], &["is void"]).await;
        run(&app, "done", None, 0).await;
        expect(&mut watch, ways, &[], &["found 3 changes"]).await;
        app.stop().await;
    }
}

/// The id of the credential that ends.
async fn credential(app: &App) -> String {
    let all = app.store().read(tokens::list).await.unwrap();
    all.into_iter().find(|c| c.expires_at.is_some()).unwrap().id
}

async fn run(app: &App, state: &'static str, message: Option<&'static str>, missed: u64) {
    let now = app.clock.now();
    app.store()
        .write(move |tx| -> Result<(), store::Error> {
            let id = tokens::connection_named(tx.conn(), "corp")?.unwrap();
            let begun = runs::begin(tx, &id, "full", "test", false, now, now + DAY_US)?.unwrap();
            let counts = json!({"missed_pushes": missed}).to_string();
            let ended = runs::Ended {
                state,
                message,
                counts: &counts,
                watermark: None,
                full_at: None,
            };
            runs::end(tx, &id, &begun.id, &ended, now)
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_tells_another_takes_over_and_what_cannot_be_sent_waits() {
    for database in databases() {
        let (hook, post) = (Receiver::start(), Post::start());
        let app = App::start(&database, &Memory::new()).await;
        app.apply(&configuration(&database, &hook, &post)).await;
        app.token("corp").await;
        let (mut first, mut second) = (watch(&app), watch(&app));
        first.look().await.unwrap();
        app.clock.advance_ms(25 * 3_600_000);
        // The webhook fails; the mail does not wait for it, and does not come again because of it.
        hook.status.store(503, Ordering::SeqCst);
        first.look().await.unwrap();
        assert_eq!(second.look().await.unwrap(), 0, "two servers tell");
        assert_eq!(post.news().len(), 1);
        app.clock.advance_ms(31_000);
        first.look().await.unwrap();
        assert!(post.news().is_empty());
        // The first server dies; the second one tells what is left to be told.
        hook.status.store(200, Ordering::SeqCst);
        drop(first);
        app.clock.advance_ms(60_000);
        assert_eq!(second.look().await.unwrap(), 0);
        app.clock.advance_ms(60_000);
        assert_eq!(second.look().await.unwrap(), 1);
        let (raised, _) = news(&hook);
        assert!(
            raised.len() == 1 && raised[0].contains("has pushed nothing"),
            "{raised:?}"
        );
        assert!(post.news().is_empty());
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_goes_through_every_channel_and_no_secret_into_an_error() {
    let database = sqlite();
    let (hook, post) = (Receiver::start(), Post::start());
    let file = database.folder().join("usher.toml");
    std::fs::write(&file, configuration(&database, &hook, &post)).unwrap();
    let none = Process::command(&database, &["alerts", "test"])
        .output()
        .unwrap();
    assert!(!none.status.success());
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(said.contains("no channel is set up"), "{said}");

    Process::run(&database, &["apply", file.to_str().unwrap()]);
    let said = Process::run(&database, &["alerts", "test"]);
    assert!(
        said.contains("webhook: sent") && said.contains("mail: sent"),
        "{said}"
    );
    let (head, body) = hook.take().pop().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(
        head.starts_with("POST /services/T0/s3cret-path?sig=s3cret-query"),
        "{head}"
    );
    assert!(
        head.to_lowercase()
            .contains("authorization: bearer s3cret-token"),
        "{head}"
    );
    assert!(
        body["text"].as_str().unwrap().contains("nothing is wrong"),
        "{body}"
    );
    let mail = post.news().pop().unwrap();
    for line in [
        "MAIL FROM:<usher@example.com>",
        "RCPT TO:<boss@example.com>",
        "Subject: Usher: this is a test",
    ] {
        assert!(mail.contains(line), "{line}\n{mail}");
    }
    assert!(mail.contains("AUTH PLAIN "), "{mail}");

    hook.status.store(500, Ordering::SeqCst);
    std::fs::write(database.folder().join("smtp-password"), "").unwrap();
    let output = Process::command(&database, &["alerts", "test"])
        .env("USHER_LOG", "trace")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("webhook: 127.0.0.1:{} answers 500", hook.port)),
        "{said}"
    );
    assert!(said.contains("smtp-password` is empty"), "{said}");
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("s3cret"))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    let said = Process::run(&database, &["alerts", "list"]);
    assert!(said.contains("nothing is wrong"), "{said}");
    let (status, _) = get_text(&format!("http://127.0.0.1:{}/", hook.port), &[]).await;
    assert_eq!(status, 500);
}

/// What is typed into the page is kept encrypted, used, and never shown again.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_sets_alerts_up_and_tries_them() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let (hook, post) = (Receiver::start(), Post::start());
        let save = async |fields: &[(&str, &str)]| {
            let (status, _) = app
                .submit(Role::Administrator, "/settings/alerts", fields)
                .await;
            status
        };
        let url = format!("http://127.0.0.1:{}/s3cret-path", hook.port);
        let port = post.port.to_string();
        let fields = [
            ("no_push", "2d"),
            ("backlog", "30m"),
            ("webhook", "on"),
            ("webhook_url", url.as_str()),
            ("webhook_token", "s3cret-token"),
            ("mail", "on"),
            ("mail_server", "127.0.0.1"),
            ("mail_port", port.as_str()),
            ("mail_tls", "none"),
            ("mail_username", "usher"),
            ("mail_password", "s3cret-password"),
            ("mail_from", "usher@example.com"),
            ("mail_to", "ops@example.com\nboss@example.com"),
        ];
        // Nothing is kept of what cannot be used, and it is said of each.
        for (field, wrong, status) in [
            ("no_push", "two days", 422),
            ("mail_from", "nobody", 422),
            ("webhook_url", "", 422),
            ("mail_password", "", 422),
        ] {
            let mut fields = fields;
            fields.iter_mut().find(|it| it.0 == field).unwrap().1 = wrong;
            assert_eq!(save(&fields).await, status, "{field}");
        }
        let show = async || {
            app.api(Role::Auditor, "GET", "/api/v1/alerts", None)
                .await
                .json
        };
        assert_eq!(
            show().await,
            json!({"no_push": null, "backlog": "1h", "unreachable": "10m", "webhook": false, "mail": null})
        );
        assert_eq!(save(&fields).await, 303);
        let alerts = show().await;
        assert_eq!(
            (
                &alerts["no_push"],
                &alerts["unreachable"],
                &alerts["webhook"]
            ),
            (&json!("2d"), &Value::Null, &json!(true))
        );
        assert_eq!(
            alerts["mail"]["to"],
            json!(["ops@example.com", "boss@example.com"])
        );

        // Secrets that are not typed again stay.
        let again: Vec<_> = fields
            .into_iter()
            .filter(|(name, _)| !["webhook_url", "webhook_token", "mail_password"].contains(name))
            .collect();
        assert_eq!(save(&again).await, 303);
        let tested = app
            .api(Role::Administrator, "POST", "/api/v1/alerts/test", None)
            .await
            .json;
        let errors: Vec<&Value> = tested
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["error"])
            .collect();
        assert_eq!(errors, [&Value::Null; 3], "{tested}");
        let (head, _) = hook.take().remove(0);
        assert!(
            head.contains("/s3cret-path") && head.contains("Bearer s3cret-token"),
            "{head}"
        );
        assert_eq!(post.news().len(), 1);
        // So does whoever watches.
        watch(&app).look().await.unwrap();
        let page = app.page(Role::Administrator, "/settings").await;
        assert!(
            page.contains("kept here, encrypted") && page.contains("for 400d"),
            "{page}"
        );
        let kept = super::store::lines(
            app.store(),
            "SELECT coalesce(alerts, '') AS line FROM configuration \
             UNION ALL SELECT sealed FROM secret UNION ALL SELECT text FROM configuration_version",
        )
        .await
        .concat();
        assert!(
            !page.contains("s3cret") && !kept.contains("s3cret"),
            "{kept}"
        );

        // A receiver that refuses is named, by page and API.
        hook.status.store(500, Ordering::SeqCst);
        let tested = app
            .api(Role::Administrator, "POST", "/api/v1/alerts/test", None)
            .await
            .json;
        assert!(
            tested[1]["error"].as_str().unwrap().contains("500"),
            "{tested}"
        );
        // Off is off.
        assert_eq!(save(&[("backlog", "1h")]).await, 303);
        let alerts = show().await;
        assert_eq!(
            (&alerts["webhook"], &alerts["mail"]),
            (&json!(false), &Value::Null)
        );
        let body = json!({"backlog": "2h", "webhook": {}});
        let put = app
            .api(Role::Administrator, "PUT", "/api/v1/alerts", Some(body))
            .await;
        assert_eq!(put.status, 422, "{}", put.json);
    }
}
