//! The seat in a real browser: Debian's Chromium, driven by `tests/browser/seat.mjs`, against the real program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use usher_emulators::idcs::Person;
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain};
use usher_emulators::jira::{Jira, JiraOptions};

use super::harness::{Database, Process, free_port, skip, sqlite};

const PASSWORD: &str = "correct horse battery";

/// What a browser needs, or `None` with a line about what is missing.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let Some(packages) = std::env::var_os("USHER_BROWSER").map(PathBuf::from) else {
        skip(
            "USHER_BROWSER does not name a folder with the packages of tests/browser/package.json",
        );
        return None;
    };
    let chromium = [
        "/usr/bin/chromium",
        "/usr/bin/google-chrome",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ];
    let chromium = chromium.iter().map(Path::new).find(|path| path.exists());
    if chromium.is_none() {
        skip("there is no Chromium and no Chrome");
    }
    Some((packages, chromium?.to_owned()))
}

/// Runs scenarios and shows what they said if one of them failed.
fn run(scenarios: &[&str], environment: &[(&str, &str)]) {
    let Some((packages, chromium)) = browser() else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/seat.mjs");
    let output = Command::new("node")
        .arg(script)
        .args(scenarios)
        .env("USHER_BROWSER", packages)
        .env("USHER_CHROMIUM", chromium)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for name in scenarios {
        assert!(said.contains(&format!("{name}: through")), "{said}");
    }
}

fn jira() -> Jira {
    Jira::start(JiraOptions {
        token: "secret".to_owned(),
        ..JiraOptions::default()
    })
    .unwrap()
}

/// Somebody at the seat, made on the command line.
fn person(database: &Database, name: &str, role: &str) {
    let mut child = Process::command(database, &["admin", "create", name, "--role", role])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{PASSWORD}").unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_steps_lead_from_nothing_to_a_person_in_jira() {
    if browser().is_none() {
        return;
    }
    let (jira, database) = (jira(), sqlite());
    let process = Process::serve(&database, free_port(), &[]).await;
    let log = process.log();
    let code = log
        .split("\"code\":\"")
        .nth(1)
        .and_then(|it| it.split('"').next());
    let code = code
        .unwrap_or_else(|| panic!("no code in {log}"))
        .to_owned();
    let base = process.scim.trim_end_matches("/scim/v2").to_owned();
    let url = jira.url();
    tokio::task::spawn_blocking(move || {
        run(
            &["wizard"],
            &[
                ("USHER_URL", &base),
                ("USHER_CODE", &code),
                ("USHER_JIRA", &url),
            ],
        );
    })
    .await
    .unwrap();
    assert_eq!(
        jira.user("ada@example.com").unwrap().display_name,
        "Ada Byron"
    );
    assert!(jira.user("grace@example.com").unwrap().active);
    // What was typed is nowhere to be read.
    let files = std::fs::read_dir(database.folder()).unwrap();
    for file in files {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(PASSWORD.len())
            .any(|w| w == PASSWORD.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_work_in_a_browser() {
    if browser().is_none() {
        return;
    }
    let (jira, database) = (jira(), sqlite());
    // Slow enough that a run is seen while it is under way.
    let domain = IdcsDomain::start(DomainOptions {
        client_secret: "usher-secret".to_owned(),
        latency: Duration::from_millis(250),
        page_cap: 50,
        ..DomainOptions::default()
    })
    .unwrap();
    for n in 0..300 {
        let id = domain.add_user(&Person::new(
            &format!("reader{n}@example.com"),
            "Reader",
            "Of Books",
        ));
        if n == 1 {
            domain.sign_in_as(Some(&id));
        }
    }
    for (name, role) in [
        ("ada", "administrator"),
        ("operator", "operator"),
        ("auditor", "auditor"),
    ] {
        person(&database, name, role);
    }
    let file = database.folder().join("usher.toml");
    let configuration = format!(
        r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "{}"
token = {{ env = "JIRA_TOKEN" }}

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"
[mapping.groups]
on_the_fly = true
create_missing = true
"#,
        jira.url()
    );
    std::fs::write(&file, configuration).unwrap();
    Process::run(&database, &["apply", &file.to_string_lossy()]);
    let token = Process::run(&database, &["token", "create", "corp"]);
    let token = token.trim();
    let process = Process::serve(&database, free_port(), &[("JIRA_TOKEN", "secret")]).await;
    let base = process.scim.trim_end_matches("/scim/v2").to_owned();
    push_people(&process.scim, token, &jira).await;
    let pictures = std::env::var("USHER_PICTURES").unwrap_or_default();
    // Another site than the server's, for a browser.
    let domain_url = domain.url().replace("127.0.0.1", "localhost");
    tokio::task::spawn_blocking(move || {
        run(
            &[
                "held",
                "mapping",
                "synchronize",
                "domain",
                "hold",
                "roles",
                "keyboard",
                "pages",
            ],
            &[
                ("USHER_URL", &base),
                ("USHER_DOMAIN", &domain_url),
                ("USHER_PICTURES", &pictures),
            ],
        );
    })
    .await
    .unwrap();
    // One removal was released, and the others were discarded.
    let inactive = jira.users().iter().filter(|user| !user.active).count();
    assert!((1..30).contains(&inactive), "{inactive} are inactive");
}

/// Fifty people with a group, of whom thirty leave at once when all have accounts.
async fn push_people(scim: &str, token: &str, jira: &Jira) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the client of a test needs no limits"
    )]
    let client = reqwest::Client::new();
    let send = async |method: &str, path: &str, body: serde_json::Value| {
        let answer = client
            .request(method.parse().unwrap(), format!("{scim}{path}"))
            .bearer_auth(token)
            .header("Content-Type", "application/scim+json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let mut ids = Vec::new();
    for n in 0..50 {
        let name = format!("person{n}@example.com");
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": name, "displayName": format!("Person Number {n}"), "active": true,
            "emails": [{"value": name, "type": "work", "primary": true}],
        });
        let made = send("POST", "/Users", body).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let members: Vec<_> = ids.iter().map(|id| json!({"value": id})).collect();
    let group = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "jira-readers", "members": members,
    });
    send("POST", "/Groups", group).await;
    for _ in 0..1500 {
        if jira.members("jira-readers").len() == ids.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(jira.members("jira-readers").len(), ids.len());
    for id in ids.iter().take(30) {
        let leave = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": false}],
        });
        send("PATCH", &format!("/Users/{id}"), leave).await;
    }
}
