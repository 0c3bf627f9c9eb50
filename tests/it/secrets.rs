//! No secret gets out: values are planted, everything is done that may repeat them, and everything that was said is
//! searched.

use std::fmt::Write;

use serde_json::json;
use usher::domain::Failure;
use usher::targets::memory::Memory;
use usher_emulators::jira::{Jira, JiraOptions};

use super::harness::{App, Process, databases, free_port, get_text};

/// The personal access token that the emulated Jira takes.
const JIRA: &str = "emulated-jira-token";
const PASSWORD: &str = "planted-pushed-password-7f3a";
const WRONG: &str = "planted-wrong-bearer-91bc";
const HOOK: &str = "planted-webhook-path-55d0";
const SMTP: &str = "planted-smtp-password-c2e8";
const IN_FILE: &str = "planted-in-the-file-by-mistake-0b77";
const MASTER: &str = "cGxhbnRlZC1tYXN0ZXIta2V5LTEyMzQ1Njc4OWFiY2Q=";

fn configuration(jira: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "{jira}"
token = {{ env = "JIRA_TOKEN" }}

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[alerts]
no_push = "1h"

[alerts.webhook]
url = {{ env = "HOOK" }}

[alerts.mail]
server = "127.0.0.1"
port = 1
tls = "none"
username = "usher"
password = {{ env = "SMTP" }}
from = "usher@example.com"
to = ["ops@example.com"]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_planted_is_found_in_logs_answers_errors_metrics_or_the_database() {
    for database in databases() {
        let jira = Jira::start(JiraOptions::default()).unwrap();
        let hook = format!("http://127.0.0.1:1/services/{HOOK}?sig={HOOK}");
        let environment = [
            ("JIRA_TOKEN", JIRA),
            ("HOOK", hook.as_str()),
            ("SMTP", SMTP),
            ("USHER_MASTER_KEY", MASTER),
            ("USHER_LOG", "trace"),
            ("USHER_METRICS_FROM", "127.0.0.1"),
        ];
        // Everything that was said, with where.
        let mut said = String::new();
        let run = |said: &mut String, arguments: &[&str]| {
            let output = Process::command(&database, arguments)
                .envs(environment)
                .output()
                .unwrap();
            let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            let _ = writeln!(said, "usher {arguments:?}\n{text}");
            (output.status.success(), text)
        };
        let file = database.folder().join("usher.toml");
        let path = file.to_str().unwrap();
        let right = configuration(&jira.url());
        let literal = format!("token = \"{IN_FILE}\"");
        std::fs::write(
            &file,
            right.replace("token = { env = \"JIRA_TOKEN\" }", &literal),
        )
        .unwrap();
        assert!(!run(&mut said, &["apply", path]).0);
        std::fs::write(&file, right).unwrap();
        assert!(run(&mut said, &["apply", path]).0);
        let token = Process::run(&database, &["token", "create", "corp"])
            .trim()
            .to_owned();

        let port = free_port();
        let server = Process::serve(&database, port, &environment).await;
        let base = format!("http://127.0.0.1:{port}");
        let client = reqwest::Client::builder().build().unwrap();
        let mut push = async |token: &str, name: &str| {
            let body = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "userName": name, "displayName": name, "password": PASSWORD,
                "emails": [{"value": format!("{name}@example.com"), "primary": true}]});
            let answer = client
                .post(format!("{base}/scim/v2/Users"))
                .bearer_auth(token)
                .header("Content-Type", "application/scim+json")
                .body(body.to_string())
                .send()
                .await
                .unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            let _ = writeln!(said, "POST {status}\n{text}");
            status
        };
        assert_eq!(push(&token, "ada").await, 201);
        assert_eq!(push(&token, "ada").await, 409);
        assert_eq!(push(WRONG, "eve").await, 401);
        for _ in 0..500 {
            if jira.users().iter().any(|user| user.name == "ada") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(jira.users().iter().any(|user| user.name == "ada"));
        for (path, shown) in [
            ("/scim/v2/Users", token.as_str()),
            ("/scim/v2/Users?filter=password%20eq%20%22x%22", &token),
            ("/scim/v2/Users", WRONG),
            ("/api/v1/status", WRONG),
            ("/hooks/forward-auth", WRONG),
            ("/metrics", WRONG),
        ] {
            let header = format!("Bearer {shown}");
            let answer = get_text(&format!("{base}{path}"), &[("Authorization", &header)]).await;
            let _ = writeln!(said, "GET {path}\n{answer:?}");
        }
        for arguments in [
            &["check"][..],
            &["status", "--json"],
            &["explain", "ada"],
            &["plan"],
            &["audit", "--format", "jsonl"],
            &["export"],
            &["config", "history"],
            &["token", "list"],
            &["alerts", "test"],
            &["alerts", "list"],
            &["retry"],
        ] {
            run(&mut said, arguments);
        }
        // Jira refuses the credential, and then everything.
        let refused = Process::command(&database, &["check"])
            .env("JIRA_TOKEN", WRONG)
            .env("USHER_LOG", "trace")
            .output()
            .unwrap();
        said.push_str(&String::from_utf8_lossy(
            &[refused.stdout, refused.stderr].concat(),
        ));
        let log = server.log();
        assert!(
            log.contains("create_user") && log.contains("TRACE"),
            "the log says too little"
        );
        said.push_str(&log);
        assert!(server.terminate().success());

        let secrets = [
            JIRA,
            PASSWORD,
            WRONG,
            HOOK,
            SMTP,
            IN_FILE,
            MASTER,
            token.as_str(),
        ];
        for secret in secrets {
            let lines: Vec<&str> = said.lines().filter(|line| line.contains(secret)).collect();
            assert!(lines.is_empty(), "{}: {secret}: {lines:#?}", database.name);
        }
        let kept = if database.name == "sqlite" {
            let folder = std::fs::read_dir(database.folder()).unwrap();
            folder
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.to_string_lossy().contains("usher.db"))
                .flat_map(|path| std::fs::read(path).unwrap())
                .collect()
        } else {
            super::keep::dump(&database).await.into_bytes()
        };
        assert!(
            kept.windows(3).any(|bytes| bytes == b"ada"),
            "nothing is kept"
        );
        for secret in secrets {
            let bytes = secret.as_bytes();
            let found = kept.windows(bytes.len()).any(|window| window == bytes);
            assert!(!found, "{}: {secret} is in the database", database.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_for_support_tells_what_is_wrong_and_nobody_s_name() {
    for database in databases() {
        let memory = Memory::new();
        let app = App::start(&database, &memory).await;
        let more = "\n[mapping.users]\nprotect = [\"planted-protected\"]\ndefault_project_lead = \"planted-lead\"\n";
        let text = configuration("http://127.0.0.1:1")
            .replace("mode = \"live\"\n", &format!("mode = \"live\"\n{more}"));
        app.apply(&text).await;
        let token = app.token("corp").await;
        let refusal = Failure::Rejected {
            field: None,
            text:
                "user 'planted-name' <planted-mail@example.com> is not allowed, said planted-name"
                    .to_owned(),
        };
        memory.refuse("planted-name", Some(refusal));
        for name in ["planted-name", "planted-other"] {
            let person = json!({"userName": name, "displayName": "Planted Display",
                "emails": [{"value": "planted-mail@example.com", "primary": true}]});
            app.send(&token, "POST", "/Users", Some(person)).await;
        }
        app.drain().await;
        let file = database.folder().join("bundle.json");
        let path = file.to_str().unwrap();
        let said = Process::run(&database, &["support-bundle", path]);
        assert!(said.contains("look through it"), "{said}");
        let text = std::fs::read_to_string(&file).unwrap();
        for planted in ["planted", "Planted", "ops@example.com", &token] {
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(planted)).collect();
            assert!(lines.is_empty(), "{planted}: {lines:#?}");
        }
        let bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bundle["targets"][0]["queue"]["rejected"], 1, "{bundle:#}");
        assert!(
            bundle["refusals"][0]["words"]
                .as_str()
                .unwrap()
                .contains("is not allowed"),
            "{bundle:#}"
        );
        let rows = bundle["audit"].as_array().unwrap();
        let made = rows
            .iter()
            .find(|row| row["operation"] == "create_user" && row["outcome"] == "done");
        assert!(
            made.unwrap()["person"]
                .as_str()
                .unwrap()
                .starts_with("person "),
            "{rows:#?}"
        );
        let configuration = bundle["configuration"].as_str().unwrap();
        assert!(
            configuration.contains("protect = [\"***\"]"),
            "{configuration}"
        );
        let again = Process::command(&database, &["support-bundle", path])
            .output()
            .unwrap();
        assert!(!again.status.success(), "it wrote over a file");
        app.stop().await;
    }
}
