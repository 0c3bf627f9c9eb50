//! The emulated Jira as a process: steered from outside, killed and started again.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use usher_emulators::jira::{Jira, JiraOptions};

use crate::client::{Client, Reply, http};

struct Process {
    child: Child,
    client: Client,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_jira-emulator"))
            .args(arguments)
            .args(["--token", "t", "--quiet"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        let url = url.trim().to_owned();
        Self {
            child,
            client: Client {
                http: http(),
                url,
                authorization: Some("Bearer t".into()),
            },
        }
    }

    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.client
            .try_send(method, &format!("/__emulator/{path}"), body)
            .await
            .unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: nothing can be written on the way out.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scratch(name: &str) -> std::path::PathBuf {
    let file = std::env::temp_dir().join(format!("usher-emulators-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    file
}

#[tokio::test]
async fn a_killed_process_goes_on_where_it_was() {
    let file = scratch("state.json");
    let path = file.to_str().unwrap();
    let process = Process::start(&["--state", path]);
    let body = json!({ "name": "ada", "emailAddress": "a@b.c", "displayName": "Ada" });
    let created = process.client.post("user", body.clone()).await;
    assert_eq!(created.status, 201);
    drop(process);

    let process = Process::start(&["--state", path]);
    let read = process.client.get("user?username=ada&expand=groups").await;
    assert_eq!(read.json["key"], created.json["key"]);
    assert_eq!(
        read.json["groups"]["items"][0]["name"],
        "jira-software-users"
    );
    assert_eq!(process.client.post("user", body).await.status, 400);
    let state = process.control(Method::GET, "state", None).await.json;
    assert_eq!(state["creations"], json!({ "ada": 1 }));
    assert_eq!(
        state["creation_attempts"],
        json!({ "ada": 2 }),
        "attempts are counted across the kill"
    );
    drop(process);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn another_process_can_steer_it() {
    let process = Process::start(&["--version", "8.2.0", "--admin", "root:secret"]);
    let seed = json!({
        "users": [{ "name": "ada", "display_name": "Ada", "email": "a@b.c" }],
        "groups": ["empty"],
        "members": { "dev": ["ada"] },
        "projects": [{ "key": "WEB", "lead": "ada", "components": [{ "name": "api" }] }],
        "read_only": ["ada"]
    });
    assert_eq!(
        process
            .control(Method::POST, "seed", Some(seed))
            .await
            .status,
        200
    );
    let refused = process
        .control(
            Method::POST,
            "seed",
            Some(json!({ "members": { "dev": ["x"] } })),
        )
        .await;
    assert_eq!(
        (refused.status, &refused.json["error"]),
        (400, &json!("no account x"))
    );
    let edit = json!({ "user": "ada", "display_name": "Ada L", "groups": [] });
    assert_eq!(
        process
            .control(Method::POST, "edit", Some(edit))
            .await
            .status,
        200
    );
    let lead = process
        .control(Method::POST, "remove", Some(json!({ "user": "ada" })))
        .await;
    assert_eq!(lead.status, 400);
    let state = process.control(Method::GET, "state", None).await.json;
    assert_eq!(state["users"][0]["display_name"], "Ada L");
    assert_eq!(state["groups"]["dev"], json!([]));
    assert_eq!(
        state["projects"]["WEB"],
        json!({ "lead": "ada", "components": { "api": null } })
    );

    let fault = json!({ "kind": "status", "status": 429, "retry_after": "1", "only": { "path": "/myself" } });
    assert_eq!(
        process
            .control(Method::POST, "fault", Some(fault))
            .await
            .status,
        200
    );
    assert_eq!(
        process
            .control(Method::POST, "fault", Some(json!({ "kind": "plague" })))
            .await
            .status,
        400
    );
    assert_eq!(
        process.client.get("serverInfo").await.json["versionNumbers"],
        json!([8, 2, 0])
    );
    assert_eq!(process.client.get("myself").await.status, 429);
    assert_eq!(
        process
            .client
            .with_basic("root", "secret")
            .get("myself")
            .await
            .status,
        200
    );
    let requests = process.control(Method::GET, "requests", None).await.json;
    assert_eq!(requests.as_array().unwrap().len(), 3);
    assert_eq!(requests[1]["fault"], "status");
    process
        .control(Method::POST, "chaos", Some(json!({ "seed": 1 })))
        .await;
    process
        .control(Method::POST, "chaos", Some(Value::Null))
        .await;
    process.control(Method::DELETE, "requests", None).await;

    assert_eq!(
        process
            .control(Method::POST, "down", Some(json!({ "ms": 300 })))
            .await
            .status,
        200
    );
    let mut was_down = false;
    loop {
        match http()
            .get(format!("{}/__emulator/state", process.client.url))
            .send()
            .await
        {
            Err(error) => was_down |= error.is_connect(),
            Ok(_) if was_down => break,
            Ok(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(process.client.get("myself").await.status, 200);
}

#[test]
fn wrong_arguments_are_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_jira-emulator"))
        .args(["--port", "x"])
        .output();
    let output = output.unwrap();
    assert!(!output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "jira-emulator: --port cannot be x\n"
    );
}

#[test]
fn a_snapshot_brings_everything_back() {
    let file = scratch("snapshot.json");
    let jira = Jira::start(JiraOptions::default()).unwrap();
    jira.seed_user("ada", "Ada", "a@b.c");
    jira.snapshot(&file).unwrap();
    jira.remove_user("ada");
    jira.restore(&file).unwrap();
    assert_eq!(jira.user("ADA").unwrap().display_name, "Ada");
    std::fs::remove_file(file).unwrap();
}
