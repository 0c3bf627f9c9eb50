//! The demo tells the truth: it is run whole, and what it prints to go on with is typed as printed.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::harness::{signal, skip};

const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn every_claim_of_the_demo_holds() {
    let Some(demo) = demo() else { return };
    let output = Command::new(demo)
        .args(["--fast", "--exit"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("✓ Every claim held."), "{text}");
    assert!(!text.contains('✗') && !text.contains('\x1b'), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_demo_leaves_running_answers_as_printed() {
    let Some(demo) = demo() else { return };
    let folder = tempfile::tempdir().unwrap();
    // A folder whose name a shell would take apart.
    let dir = folder.path().join("the demo's folder");
    let output = folder.path().join("output");
    let child = Command::new(demo)
        .arg("--fast")
        .arg("--dir")
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(File::create(&output).unwrap())
        .spawn()
        .unwrap();
    let mut demo = Demo { child, output };
    demo.until("Ctrl-C stops everything").await;

    let text = demo.text();
    let turn = text.split("your turn").last().unwrap();
    let starting =
        |with: &str| -> Vec<&str> { turn.lines().filter(|it| it.starts_with(with)).collect() };
    let commands = starting("'/");
    assert_eq!(commands.len(), 3, "{text}");
    let answers = ["jira", "carla.marsh", "did not make"];
    for (command, answer) in commands.iter().zip(answers) {
        let said = sh(command);
        assert!(said.contains(answer), "{command}: {said}");
    }
    let curls = starting("curl ");
    assert_eq!(curls.len(), 2, "{text}");
    if Command::new("curl").arg("--version").output().is_ok() {
        let pushed = sh(curls[0]);
        assert!(
            pushed.contains(r#""userName":"mary@example.com""#),
            "{pushed}"
        );
        demo.until("Jira ←        account mary created").await;
        let found = sh(curls[1]);
        assert!(found.contains("Mary Jackson"), "{found}");
    } else {
        skip("curl is not installed");
    }
    assert!(demo.end("INT").await.success(), "{}", demo.text());
    let scim = turn
        .lines()
        .find_map(|it| it.trim().strip_prefix("Usher's SCIM URL"));
    let address = scim.unwrap().trim().trim_start_matches("http://");
    let address = address.trim_end_matches("/scim/v2");
    let after = std::net::TcpStream::connect(address);
    assert!(after.is_err(), "Usher still answers at {address}");
}

struct Demo {
    child: Child,
    output: PathBuf,
}

impl Demo {
    fn text(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap()
    }

    async fn until(&mut self, part: &str) {
        let started = Instant::now();
        while !self.text().contains(part) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "{part:?} is not in the output: {}",
                self.text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(&mut self, name: &str) -> ExitStatus {
        signal(self.child.id(), name);
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "{}", self.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Not SIGKILL, which would leave its Usher behind.
            signal(self.child.id(), "TERM");
            let _ = self.child.wait();
        }
    }
}

fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The example that cargo builds for `cargo test`, beside the tests.
fn demo() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let demo = test.ancestors().nth(2).unwrap().join("examples/demo");
    if demo.exists() {
        return Some(demo);
    }
    skip("the demo is not built: run `cargo test` without --test, or `cargo build --example demo`");
    None
}
