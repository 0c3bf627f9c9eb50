//! The real program: what its commands print, where, with which exit code, and what it never says.

use std::process::Output;

use serde_json::{Value, json};

use super::harness::{App, Database, Process, databases, free_port, sqlite};

const SECRET: &str = "s3cret-of-the-target";
const CONFIGURATION: &str = r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = { env = "USHER_TEST_SECRET" }

[[mapping]]
connection = "corp"
target = "jira"
mode = "shadow"
"#;

fn run(database: &Database, arguments: &[&str]) -> Output {
    Process::command(database, arguments)
        .env("USHER_TEST_SECRET", SECRET)
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes a configuration file and returns its path.
fn file(database: &Database, text: &str) -> String {
    let path = database.folder().join("usher.toml");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn apply_is_idempotent_and_says_what_it_does() {
    for database in databases() {
        let path = file(&database, CONFIGURATION);
        let dry = run(&database, &["apply", &path, "--plan"]);
        assert_eq!(dry.status.code(), Some(0), "{}", err(&dry));
        assert!(
            out(&dry).contains("connection corp: would be created"),
            "{}",
            out(&dry)
        );
        let first = run(&database, &["apply", &path]);
        assert_eq!(first.status.code(), Some(0), "{}", err(&first));
        for line in [
            "connection corp: created",
            "target jira: created",
            "mapping corp -> jira: created",
        ] {
            assert!(out(&first).lines().any(|l| l == line), "{}", out(&first));
        }
        assert!(err(&first).contains("shadow"), "{}", err(&first));
        let again = run(&database, &["apply", &path]);
        assert_eq!(
            out(&again).lines().collect::<Vec<_>>(),
            [
                "connection corp: unchanged",
                "target jira: unchanged",
                "mapping corp -> jira: unchanged"
            ],
            "{}",
            database.name
        );
        let path = file(&database, &CONFIGURATION.replace("shadow", "live"));
        let changed = run(&database, &["apply", &path]);
        assert!(
            out(&changed).contains("mapping corp -> jira: changed"),
            "{}",
            out(&changed)
        );
        assert!(
            out(&changed).contains("target jira: unchanged"),
            "{}",
            out(&changed)
        );
        // What the file does not name stays, and is named.
        let path = file(
            &database,
            "[[connection]]\nname = \"other\"\nkind = \"scim\"\n",
        );
        let less = run(&database, &["apply", &path]);
        assert!(
            err(&less).contains("connection corp: not in the file"),
            "{}",
            err(&less)
        );
        assert!(
            err(&less).contains("target jira: not in the file"),
            "{}",
            err(&less)
        );
    }
}

#[test]
fn a_wrong_file_changes_nothing_and_says_where_it_is_wrong() {
    for database in databases() {
        for (text, line, words) in [
            (
                "[[connection]]\nname = \"corp\"\nkind = \"oracle-idsc\"\n",
                3,
                "oracle-idcs",
            ),
            (
                "[[connection]]\nnmae = \"corp\"\nkind = \"scim\"\n",
                2,
                "name",
            ),
            (
                "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n\n[[conection]]\n",
                5,
                "connection",
            ),
            ("[[connection]\n", 1, ""),
            (
                &CONFIGURATION.replace(
                    "mode = \"shadow\"",
                    "mode = \"shadow\"\n[mapping.users]\nusername = \"userName |\"",
                ),
                17,
                "username",
            ),
            (
                &CONFIGURATION.replace("target = \"jira\"", "target = \"jra\""),
                14,
                "jira",
            ),
        ] {
            let path = file(&database, text);
            let refused = run(&database, &["apply", &path]);
            assert_eq!(refused.status.code(), Some(1), "{text}");
            assert_eq!(out(&refused), "");
            let place = format!("{path}:{line}");
            assert!(err(&refused).contains(&place), "{place}: {}", err(&refused));
            assert!(err(&refused).contains(words), "{words}: {}", err(&refused));
        }
        let missing = run(&database, &["apply", "/no/such/file.toml"]);
        assert_eq!(missing.status.code(), Some(1));
        assert!(
            err(&missing).contains("/no/such/file.toml"),
            "{}",
            err(&missing)
        );
        let status = run(&database, &["status", "--json"]);
        let status: Value = serde_json::from_str(&out(&status)).unwrap();
        let empty = json!({"targets": [], "missed_pushes": {}, "paused_people": 0});
        assert_eq!(status, empty, "{}", database.name);
    }
}

#[test]
fn tokens_are_shown_once_and_alone() {
    for database in databases() {
        let path = file(&database, CONFIGURATION);
        let none = run(&database, &["token", "create", "corp"]);
        assert_eq!(none.status.code(), Some(1));
        assert!(err(&none).contains("usher apply"), "{}", err(&none));
        run(&database, &["apply", &path]);
        let made = run(&database, &["token", "create", "corp", "--label", "idcs"]);
        assert_eq!(made.status.code(), Some(0));
        let token = out(&made);
        assert_eq!(token.lines().count(), 1);
        let token = token.trim_end();
        assert!(token.starts_with("usher_") && token.len() == 49, "{token}");
        assert!(!err(&made).contains(token));
        let basic = run(
            &database,
            &[
                "token",
                "create",
                "corp",
                "--basic",
                "idcs",
                "--expires-in-days",
                "30",
            ],
        );
        assert_eq!(out(&basic).lines().count(), 1);
        for name in ["", "a:b"] {
            let refused = run(&database, &["token", "create", "corp", "--basic", name]);
            assert_eq!(refused.status.code(), Some(1), "{name}");
            assert_eq!(out(&refused), "");
        }
        let unknown = run(&database, &["token", "create", "crop"]);
        assert_eq!(unknown.status.code(), Some(1));
        assert!(err(&unknown).contains("corp"), "{}", err(&unknown));

        let listed = run(&database, &["token", "list", "--json"]);
        let listed: Value = serde_json::from_str(&out(&listed)).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
        let shown = format!("{listed}{}", out(&run(&database, &["token", "list"])));
        assert!(!shown.contains(token) && !shown.contains(out(&basic).trim_end()));
        let own = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["scheme"] == "bearer")
            .unwrap();
        assert_eq!(
            (&own["label"], &own["expires_at"]),
            (&json!("idcs"), &Value::Null)
        );
        let id = own["id"].as_str().unwrap();
        assert_eq!(
            run(&database, &["token", "revoke", id]).status.code(),
            Some(0)
        );
        assert_eq!(
            run(&database, &["token", "revoke", id]).status.code(),
            Some(1)
        );
    }
}

#[test]
fn a_token_that_ends_is_shown_and_warned_of() {
    let with_ends = format!(
        "{CONFIGURATION}\n{}{}",
        target("late", "token_expires = \"2999-12-31\""),
        target("over", "token_expires = 2020-02-29"),
    );
    for database in databases() {
        let path = file(&database, &with_ends);
        assert_eq!(run(&database, &["apply", &path]).status.code(), Some(0));
        let status = run(&database, &["status", "--json"]);
        let status: Value = serde_json::from_str(&out(&status)).unwrap();
        let token = |name: &str| {
            let targets = status["targets"].as_array().unwrap();
            targets.iter().find(|t| t["name"] == name).unwrap()["token"].clone()
        };
        assert_eq!(token("jira"), Value::Null);
        assert_eq!(token("late")["expires"], "2999-12-31");
        assert!(token("late")["days_left"].as_i64().unwrap() > 300_000);
        assert_eq!(token("late")["warning"], Value::Null);
        assert_eq!(token("over")["warning"], 0);
        assert!(token("over")["days_left"].as_i64().unwrap() < 0);
        for command in ["status", "check"] {
            let shown = out(&run(&database, &[command]));
            assert!(shown.contains("the token expired on 2020-02-29"), "{shown}");
            assert!(shown.contains("make a new one"), "{shown}");
            assert!(shown.contains(" days"), "{shown}");
        }
        let checked = run(&database, &["check", "over", "--json"]);
        let checked: Value = serde_json::from_str(&out(&checked)).unwrap();
        assert_eq!(checked["targets"][0]["token"], token("over"));
    }
}

fn target(name: &str, line: &str) -> String {
    format!(
        "[[target]]\nname = \"{name}\"\nkind = \"jira-dc\"\nbase_url = \"http://127.0.0.1:1\"\n\
         token = {{ env = \"NONE\" }}\n{line}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_for_programs_have_a_shape() {
    for database in databases() {
        let path = file(&database, CONFIGURATION);
        run(&database, &["apply", &path]);
        let memory = usher::targets::memory::Memory::new();
        let app = App::start(&database, &memory).await;
        let token = app.token("corp").await;
        let body = json!({"userName": "Ada", "displayName": "Ada Byron", "emails": [{"value": "ada@example.com"}]});
        let id = app.send(&token, "POST", "/Users", Some(body)).await.id();
        app.drain().await;
        app.stop().await;
        assert!(memory.writes().is_empty(), "shadow mode writes nothing");

        let status = run(&database, &["status", "--json"]);
        let status: Value = serde_json::from_str(&out(&status)).unwrap();
        let jira = &status["targets"][0];
        assert_eq!(jira["name"], "jira");
        assert_eq!(jira["state"], "up");
        let mut keys: Vec<&str> = jira
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "drift",
                "failed",
                "grace",
                "held",
                "held_by_brakes",
                "last_error",
                "last_success_at",
                "name",
                "oldest_pending_at",
                "paused",
                "pending",
                "retry_at",
                "shadow",
                "state",
                "token",
                "waiting",
            ]
        );
        assert_eq!(jira["shadow"], 1, "{jira}");
        assert_eq!(jira["pending"], 0);
        let table = out(&run(&database, &["status"]));
        assert!(
            table.contains("TARGET") && table.contains("jira"),
            "{table}"
        );

        for name in ["ada", "ADA@EXAMPLE.COM", id.as_str()] {
            let explained = run(&database, &["explain", name, "--json"]);
            assert_eq!(explained.status.code(), Some(0), "{}", err(&explained));
            let explained: Value = serde_json::from_str(&out(&explained)).unwrap();
            assert_eq!(explained["id"], id.as_str());
            assert_eq!(explained["user_name"], "Ada");
            assert_eq!(explained["connection"], "corp");
            assert_eq!(explained["deleted"], false);
            assert_eq!(explained["others"], json!([]));
            let target = &explained["targets"][0];
            assert_eq!(target["target"], "jira");
            assert_eq!(target["mode"], "shadow");
            assert_eq!(target["work"]["state"], "shadow", "{explained}");
            assert!(
                target["desired"]["because"]
                    .as_array()
                    .is_some_and(|b| !b.is_empty())
            );
        }
        assert!(out(&run(&database, &["explain", "ada"])).contains("Ada"));
        let nobody = run(&database, &["explain", "nobody"]);
        assert_eq!(nobody.status.code(), Some(1));
        assert_eq!(out(&nobody), "");
        let retried = run(&database, &["retry", "--target", "jira"]);
        assert_eq!(retried.status.code(), Some(0));
        for arguments in [&["retry", "nobody"][..], &["retry", "--target", "nothing"]] {
            assert_eq!(run(&database, arguments).status.code(), Some(1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_shown_and_decided_about_and_a_pause_has_a_name() {
    for database in databases() {
        let live = CONFIGURATION.replace("shadow", "live");
        let brakes = "[mapping.brakes]\ndeactivations = { count = 1 }\n";
        let path = file(&database, &format!("{live}{brakes}"));
        run(&database, &["apply", &path]);
        let memory = usher::targets::memory::Memory::new();
        let app = App::start(&database, &memory).await;
        let token = app.token("corp").await;
        let mut ids = Vec::new();
        for name in ["ada", "eve", "joe"] {
            let email = format!("{name}@example.com");
            let body = json!({"userName": name, "displayName": name, "emails": [{"value": email}]});
            ids.push(app.send(&token, "POST", "/Users", Some(body)).await.id());
        }
        app.drain().await;
        for id in &ids {
            let body = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{"op": "replace", "path": "active", "value": false}],
            });
            let path = format!("/Users/{id}");
            assert_eq!(
                app.send(&token, "PATCH", &path, Some(body)).await.status,
                200
            );
            app.drain().await;
        }
        let table = out(&run(&database, &["held"]));
        for part in ["jira: 2 deactivations held since", "eve", "joe", "PATCH"] {
            assert!(table.contains(part), "{table}");
        }
        let shown = run(&database, &["held", "--json", "--target", "jira"]);
        let shown: Value = serde_json::from_str(&out(&shown)).unwrap();
        let brake = &shown["brakes"][0];
        assert_eq!(brake["count"], 2, "{shown}");
        assert_eq!(brake["brake"], "deactivations");
        assert_eq!(brake["held"][0]["user"], "eve");
        assert_eq!(shown["others"], json!([]));

        for wrong in [
            &["held", "release"][..],
            &["held", "release", "--all", "--user", "eve"],
            &["held", "release", "--all", "--brake", "members"],
        ] {
            let refused = run(&database, wrong);
            assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        }
        let nobody = run(&database, &["held", "release", "--user", "nobody"]);
        assert_eq!(nobody.status.code(), Some(1));
        let one = run(
            &database,
            &["held", "release", "--user", "eve", "--by", "Grace"],
        );
        assert_eq!(out(&one).trim(), "1 held removals are released");
        let rest = run(&database, &["held", "discard", "--all", "--by", "Grace"]);
        assert_eq!(out(&rest).trim(), "1 held removals are discarded");
        // The program marks by the machine's clock, which the test's is behind.
        let decade = std::time::Duration::from_secs(10 * 365 * 86_400);
        app.pass(decade, 1).await;
        let active = |name: &str| memory.user(name).unwrap().active;
        assert_eq!(
            (active("ada"), active("eve"), active("joe")),
            (false, false, true),
            "{}",
            database.name
        );
        assert!(err(&run(&database, &["held"])).contains("nothing is held"));

        let paused = run(
            &database,
            &["pause", "--reason", "a wrong import", "--by", "Grace"],
        );
        assert!(out(&paused).contains("jira: paused"), "{}", err(&paused));
        let again = out(&run(&database, &["pause", "--by", "Mallory"]));
        assert!(again.contains("by Grace: a wrong import"), "{again}");
        let status = out(&run(&database, &["status"]));
        assert!(status.contains("by Grace: a wrong import"), "{status}");
        assert!(out(&run(&database, &["resume"])).contains("jira: goes on"));
        assert_eq!(run(&database, &["resume"]).status.code(), Some(0));
        assert_eq!(
            run(&database, &["pause", "--target", "nothing"])
                .status
                .code(),
            Some(1)
        );
        let acts = super::store::lines(
            app.store(),
            "SELECT operation AS line FROM audit WHERE actor = 'Grace' ORDER BY operation",
        )
        .await;
        assert_eq!(acts, ["discard", "pause", "release"]);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_shows_its_plan_and_needs_the_number_of_people() {
    for database in databases() {
        let path = file(&database, &CONFIGURATION.replace("shadow", "live"));
        run(&database, &["apply", &path]);
        let memory = usher::targets::memory::Memory::new();
        let app = App::start(&database, &memory).await;
        let token = app.token("corp").await;
        for name in ["ada", "eve"] {
            let email = format!("{name}@example.com");
            let body = json!({"userName": name, "displayName": name, "emails": [{"value": email}]});
            let id = app.send(&token, "POST", "/Users", Some(body)).await.id();
            app.drain().await;
            let path = format!("/Users/{id}");
            let gone = app.send(&token, "DELETE", &path, None).await;
            assert_eq!(gone.status, 204);
            app.drain().await;
        }
        let is_active = |name: &str| memory.user(name).unwrap().active;
        assert!(!is_active("ada") && !is_active("eve"));
        // The test's clock is behind the machine's.
        let since = ["undo", "--since", "2025-01-01"];
        let with = |more: &[&'static str]| [&since[..], more].concat();
        let plan = out(&run(&database, &since));
        for part in ["ada at jira", "active again", "--confirm 2"] {
            assert!(plan.contains(part), "{plan}");
        }
        let lines = out(&run(&database, &with(&["--json", "--user", "eve"])));
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["user_name"], "eve", "{lines:?}");
        assert_eq!(lines[1]["totals"]["people"], 1);
        for (wrong, code) in [
            (&["undo"][..], 2),
            (&["undo", "--run", "nothing"], 1),
            (&["undo", "--since", "1h", "--user", "nobody"], 1),
            (&with(&["--until", "2024-01-01"]), 1),
            (&with(&["--plan", "--confirm", "2"]), 2),
            (&with(&["--confirm", "3"]), 1),
        ] {
            let refused = run(&database, wrong);
            assert_eq!(refused.status.code(), Some(code), "{wrong:?}");
        }
        assert!(!is_active("ada") && !is_active("eve"));
        let done = run(&database, &with(&["--confirm", "2", "--by", "Grace"]));
        assert!(out(&done).contains("2 accounts"), "{}", err(&done));
        let decade = std::time::Duration::from_secs(10 * 365 * 86_400);
        app.pass(decade, 3).await;
        assert!(is_active("ada") && is_active("eve"), "{}", database.name);
        let held = out(&run(&database, &["held"]));
        assert!(held.contains("given back (usher undo --since"), "{held}");
        let explained = out(&run(&database, &["explain", "ada"]));
        assert!(explained.contains("Grace"), "{explained}");
        app.stop().await;
    }
}

#[test]
fn wrong_usage_is_two() {
    let database = sqlite();
    for arguments in [
        &["frobnicate"][..],
        &["apply"],
        &["token"],
        &["token", "create"],
        &["status", "--jsn"],
        &[],
    ] {
        let refused = run(&database, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert_eq!(out(&refused), "");
    }
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        let shown = run(&database, arguments);
        assert_eq!(shown.status.code(), Some(0), "{arguments:?}");
        assert!(!out(&shown).is_empty());
    }
    let refused = run(&database, &["serve", "--public-url", "scim.example.com"]);
    assert_eq!(refused.status.code(), Some(1));
}

/// A typing error must neither make a file of that name nor print the password that the address may hold.
#[test]
fn a_database_of_another_kind_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for url in [
        "mysql://root:s3cret@db/usher",
        "mysql:usher.db",
        "s3cret",
        "postgres:s3cret",
        "sqlite::memory:",
        "sqlite:usher.db?password=s3cret",
    ] {
        for by_environment in [true, false] {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_usher"));
            command.current_dir(folder.path()).arg("status");
            if by_environment {
                command.env("USHER_DATABASE_URL", url);
            } else {
                command
                    .env_remove("USHER_DATABASE_URL")
                    .args(["--database-url", url]);
            }
            let refused = command.output().unwrap();
            assert_eq!(refused.status.code(), Some(2), "{url}: {}", err(&refused));
            assert!(!err(&refused).contains("s3cret"), "{}", err(&refused));
            assert!(err(&refused).contains("sqlite:PATH"), "{}", err(&refused));
            assert_eq!(out(&refused), "");
        }
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0);
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_usher"))
        .env("USHER_DATABASE_URL", "postgres://usher:s3cret@db/usher")
        .args(["serve", "--help"])
        .output()
        .unwrap();
    assert!(!out(&help).contains("s3cret"), "{}", out(&help));
    // The password of a server that is not there.
    let gone = std::process::Command::new(env!("CARGO_BIN_EXE_usher"))
        .env(
            "USHER_DATABASE_URL",
            "postgres://usher:s3cret@127.0.0.1:1/usher",
        )
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(!err(&gone).contains("s3cret"), "{}", err(&gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_alone_on_a_file_stops_gracefully_and_keeps_its_secrets() {
    for database in databases() {
        let configuration = CONFIGURATION.replace("shadow", "live");
        let path = file(&database, &configuration);
        run(&database, &["apply", &path]);
        let token = out(&run(&database, &["token", "create", "corp"]));
        let token = token.trim_end().to_owned();
        let environment = [("USHER_TEST_SECRET", SECRET), ("USHER_LOG", "trace")];
        let server = Process::serve(&database, free_port(), &environment).await;

        // On PostgreSQL several servers share the work.
        if database.name == "sqlite" {
            let second = run(&database, &["serve", "--listen", "127.0.0.1:0"]);
            assert_eq!(second.status.code(), Some(1));
            assert!(err(&second).contains("another server"), "{}", err(&second));
        }
        // Other commands go on beside it.
        assert_eq!(run(&database, &["status"]).status.code(), Some(0));
        assert_eq!(run(&database, &["apply", &path]).status.code(), Some(0));

        #[expect(
            clippy::disallowed_methods,
            reason = "the client of a test needs no limits"
        )]
        let client = reqwest::Client::new();
        let users = format!("{}/Users", server.scim);
        let body = json!({
            "userName": "ada", "displayName": "Ada", "password": "S3cret-do-not-log",
            "emails": [{"value": "ada@example.com", "primary": true}],
        });
        let made = client
            .post(&users)
            .bearer_auth(&token)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(made.status().as_u16(), 201);
        let refused = client
            .get(&users)
            .bearer_auth("usher_wrong-token")
            .send()
            .await
            .unwrap();
        assert_eq!(refused.status().as_u16(), 401);
        let broken = client
            .post(&users)
            .bearer_auth(&token)
            .header("Content-Type", "application/scim+json")
            .body("{\"password\": \"S3cret-do-not-log\"")
            .send()
            .await
            .unwrap();
        assert_eq!(broken.status().as_u16(), 400);
        // The engine has tried the target, which is not there.
        let mut tried = false;
        for _ in 0..500 {
            let status: Value =
                serde_json::from_str(&out(&run(&database, &["status", "--json"]))).unwrap();
            if !status["targets"][0]["last_error"].is_null() {
                tried = true;
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(tried, "{}", server.log());
        let explained = run(&database, &["explain", "ada", "--json"]);
        let log_file = database.folder().join("serve.log");
        let stopped = tokio::task::spawn_blocking(move || server.terminate())
            .await
            .unwrap();
        assert_eq!(stopped.code(), Some(0), "{}", database.name);
        let log = std::fs::read_to_string(log_file).unwrap();
        assert!(log.contains("ready") && log.contains("stopped"), "{log}");
        for line in log.lines() {
            assert!(
                serde_json::from_str::<Value>(line).is_ok(),
                "no JSON: {line}"
            );
        }
        for secret in [SECRET, &token, "S3cret-do-not-log", "usher_wrong-token"] {
            let at = log.lines().find(|line| line.contains(secret));
            assert!(at.is_none(), "{secret} is logged: {at:?}");
            assert!(!out(&explained).contains(secret));
        }
        // What was acknowledged is there, and the file is free again.
        let server = Process::serve(&database, free_port(), &environment).await;
        let found = client
            .get(format!(
                "{}/Users?filter=userName%20eq%20%22ada%22",
                server.scim
            ))
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        let found: Value = serde_json::from_str(&found.text().await.unwrap()).unwrap();
        assert_eq!(found["totalResults"], 1, "{}", database.name);
        server.kill();
    }
}

/// What the health check of the container runs, in an environment without anything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_says_whether_the_server_is_ready() {
    let database = sqlite();
    let port = free_port();
    let server = Process::serve(&database, port, &[]).await;
    let url = format!("http://127.0.0.1:{port}");
    let ask = || {
        let mut command = Process::command(&database, &["ready", "--url", &url]);
        command.env_clear().output().unwrap()
    };
    let ready = ask();
    assert!(ready.status.success(), "{}", err(&ready));
    server.kill();
    assert_eq!(ask().status.code(), Some(1));
}
