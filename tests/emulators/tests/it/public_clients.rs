//! Public client libraries, which know nothing of the emulator, must get along with it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use usher_emulators::bitbucket::{Bitbucket, BitbucketOptions};
use usher_emulators::crowd::{Crowd, CrowdOptions};
use usher_emulators::guard::{Guard, GuardOptions};
use usher_emulators::jira::{Jira, JiraOptions};

fn run(python: &OsStr, script: &Path, arguments: &[String]) {
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("checks passed"), "{text}");
    eprint!("{text}");
}

/// Runs where `USHER_PYTHON` names a Python that has `jira` and `atlassian-python-api`.
#[test]
fn python_clients_get_along_with_it() {
    let Some(python) = std::env::var_os("USHER_PYTHON") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/jira_clients.py");
    for context_path in ["", "/jira"] {
        let options = JiraOptions {
            context_path: context_path.into(),
            ..JiraOptions::default()
        };
        let (token, (name, password)) = (options.token.clone(), options.admin.clone());
        let jira = Jira::start(options).unwrap();
        jira.seed_project("KPY", "admin", &[("core", "admin")]);
        let arguments = [jira.url(), token, name, password];
        run(&python, &script, &arguments);
    }
}

/// Runs where `USHER_PYTHON` names a Python that has `Crowd` and `atlassian-python-api`.
#[test]
fn python_clients_get_along_with_the_emulated_crowd() {
    let Some(python) = std::env::var_os("USHER_PYTHON") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/crowd_clients.py");
    for context_path in ["", "/crowd"] {
        let options = CrowdOptions {
            context_path: context_path.into(),
            ..CrowdOptions::default()
        };
        let (application, password) = options.application.clone();
        let crowd = Crowd::start(options).unwrap();
        run(&python, &script, &[crowd.url(), application, password]);
    }
}

/// Runs where `USHER_PYTHON` names a Python that has `stashy` and `atlassian-python-api`.
#[test]
fn python_clients_get_along_with_the_emulated_bitbucket() {
    let Some(python) = std::env::var_os("USHER_PYTHON") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/bitbucket_clients.py");
    for context_path in ["", "/bitbucket"] {
        let options = BitbucketOptions {
            context_path: context_path.into(),
            page_cap: 40,
            ..BitbucketOptions::default()
        };
        let (name, password) = options.admin.clone();
        let bitbucket = Bitbucket::start(options).unwrap();
        run(&python, &script, &[bitbucket.url(), name, password]);
    }
}

/// Runs where `USHER_PYTHON` names a Python that has `scim2-client`, and `atlassian-python-api` 5 in `guard` below it.
#[test]
fn python_clients_get_along_with_the_emulated_guard() {
    let Some(python) = std::env::var_os("USHER_PYTHON") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/guard_clients.py");
    let options = GuardOptions::default();
    let (directory, key) = (options.directory.clone(), options.key.clone());
    let guard = Guard::start(options).unwrap();
    let url = guard.url();
    let (host, _) = url.split_once("/scim/").unwrap();
    run(&python, &script, &[host.to_owned(), directory, key]);
}
