//! What others say about our SCIM: public testers against the real program, on both databases.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::harness::{Database, Process, databases, python, skip};

const CONFIGURATION: &str = "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n";

pub(super) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

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
