//! What others say about our SCIM: public testers against the real program, on both databases.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::harness::{Database, Process, databases, free_port, python, skip};

const CONFIGURATION: &str = "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n";

/// A running server with a connection of kind `scim`, and a token for it.
async fn server(database: &Database) -> (Process, String) {
    let file = database.folder().join("usher.toml");
    std::fs::write(&file, CONFIGURATION).unwrap();
    Process::run(database, &["apply", &file.to_string_lossy()]);
    let token = Process::run(database, &["token", "create", "corp"]);
    let process = Process::serve(database, free_port(), &[]).await;
    (process, token.trim().to_owned())
}

fn shown(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A program installed beside the Python.
fn beside(python: &Path, name: &str) -> Option<PathBuf> {
    let path = python.parent()?.join(name);
    if !path.exists() {
        skip(&format!(
            "{name} is not installed beside {}",
            python.display()
        ));
        return None;
    }
    Some(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn scim2_tester_finds_nothing_wrong() {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/scim_conformance.py");
    for database in databases() {
        let (process, token) = server(&database).await;
        let output = Command::new(&python)
            .arg(&script)
            .args([&process.scim, &token])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            database.name,
            shown(&output)
        );
        assert!(shown(&output).contains("SUCCESS"), "{}", shown(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scim_sanity_finds_nothing_wrong() {
    let Some(python) = python() else { return };
    let Some(program) = beside(&python, "scim-sanity") else {
        return;
    };
    for database in databases() {
        let (process, token) = server(&database).await;
        let output = Command::new(&program)
            .args([
                "probe",
                &process.scim,
                "--token",
                &token,
                "--i-accept-side-effects",
                "--strict",
            ])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            database.name,
            shown(&output)
        );
    }
}

/// Nothing but what the document says, and no failure of the server, whatever is sent.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_undocumented_answer_of_the_admin_api() {
    let Some(python) = python() else { return };
    let Some(program) = beside(&python, "schemathesis") else {
        return;
    };
    for database in databases() {
        let (process, _) = server(&database).await;
        let token = Process::run(
            &database,
            &["admin", "token", "schemathesis", "--role", "administrator"],
        );
        let base = process.scim.trim_end_matches("/scim/v2");
        let output = Command::new(&program)
            .args(["run", &format!("{base}/api/v1/openapi.json")])
            .args(["-H", &format!("Authorization: Bearer {}", token.trim())])
            // It would end the token that it shows.
            .args(["--exclude-operation-id", "revokeApiToken"])
            .args([
                "--checks",
                "not_a_server_error,status_code_conformance,content_type_conformance,\
                 response_schema_conformance",
            ])
            .args(["--max-examples", "10", "--seed", "1", "--no-color"])
            .current_dir(database.folder())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            database.name,
            shown(&output)
        );
        let said = shown(&output);
        assert!(!said.contains("Authentication failed"), "{said}");
    }
}

/// The command line through the API says what it says on the database.
#[tokio::test(flavor = "multi_thread")]
async fn commands_work_through_the_api_of_a_server() {
    let database = databases().remove(0);
    let (process, token) = server(&database).await;
    let body = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada@example.com"}"#;
    #[expect(
        clippy::disallowed_methods,
        reason = "the client of a test needs no limits"
    )]
    let pushed = reqwest::Client::new()
        .post(format!("{}/Users", process.scim))
        .bearer_auth(token)
        .header("Content-Type", "application/scim+json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(pushed.status(), 201);
    let secret = Process::run(&database, &["admin", "token", "cli", "--role", "operator"]);
    let base = process.scim.trim_end_matches("/scim/v2").to_owned();
    let there = |arguments: &[&str], token: &str| {
        // Neither a database nor a folder in which one could be made.
        Command::new(env!("CARGO_BIN_EXE_usher"))
            .args(arguments)
            .args(["--server", &base])
            .env("USHER_API_TOKEN", token)
            .env("USHER_DATABASE_URL", "sqlite:/nonexistent/usher.db")
            .output()
            .unwrap()
    };
    let secret = secret.trim();
    for (arguments, expected) in [
        (
            &["explain", "ada@example.com", "--json"] as &[&str],
            "ada@example.com",
        ),
        (&["status", "--json"], "targets"),
        (&["held"], "nothing is held"),
        (&["export"], "name = \"corp\""),
        (&["plan", "--json"], "summaries"),
        (&["audit", "--limit", "5"], "create_token"),
    ] {
        let output = there(arguments, secret);
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        assert!(
            shown(&output).contains(expected),
            "{arguments:?}: {}",
            shown(&output)
        );
    }
    // What cannot be done is told in words, and by the exit code.
    for (arguments, token, expected) in [
        (
            &["sync", "corp"] as &[&str],
            secret,
            "does not say how its domain is read",
        ),
        (&["status"], "usher_wrong", "401"),
        (&["token", "list"], secret, "without --server"),
    ] {
        let output = there(arguments, token);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            shown(&output).contains(expected),
            "{arguments:?}: {}",
            shown(&output)
        );
    }
    let usage = there(&["held", "release"], secret);
    assert_eq!(usage.status.code(), Some(2), "{}", shown(&usage));
}
