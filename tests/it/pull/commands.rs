//! `usher check`, `usher sync` and `usher runs` as an administrator types them.

use super::*;
use crate::harness::Process;

fn usher(database: &Database, arguments: &[&str]) -> (bool, String, String) {
    let output = Process::command(database, arguments)
        .env("NONE", "usher-client-secret")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_say_what_was_tried_read_and_changed() {
    let database = sqlite();
    let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
    let ada = domain.add_user(&person("ada"));
    let group = domain.add_group("jira-users");
    domain.add_members(&group, &[&ada]);
    let path = database.folder().join("usher.toml");
    std::fs::write(&path, configuration(&domain.url(), "app_id = \"jira-app\"")).unwrap();
    Process::run(&database, &["apply", path.to_str().unwrap()]);

    let (ok, out, _) = usher(&database, &["check", "corp"]);
    assert!(ok, "{out}");
    assert!(
        out.contains("users: 1 in the domain") && out.contains("grants: 0 of Jira"),
        "{out}"
    );
    domain.set_roles(&["Audit Administrator"]);
    let (ok, out, _) = usher(&database, &["check", "corp"]);
    assert!(
        !ok && out.contains("grants: refused") && out.contains("Application Administrator"),
        "{out}"
    );

    let (ok, out, err) = usher(&database, &["sync", "corp"]);
    assert!(ok, "{err}");
    assert!(
        out.contains("full run") && out.contains("ada@example.com") && out.contains("created"),
        "{out}"
    );
    assert!(!err.contains('\u{1b}'), "no bar without a terminal: {err}");
    let (_, out, _) = usher(&database, &["sync", "corp", "--full"]);
    assert!(out.contains("nothing changed"), "{out}");
    domain.edit_user(&ada, |it| it.display_name = "Countess".to_owned());
    let (_, out, err) = usher(&database, &["sync", "corp", "--user", "ada@example.com"]);
    assert!(out.contains("brought in step"), "{out} {err}");
    let (ok, _, err) = usher(&database, &["sync", "corp", "--user", "nobody"]);
    assert!(!ok && err.contains("nobody"), "{err}");

    let (_, out, _) = usher(&database, &["runs", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let listed = shown["runs"].as_array().unwrap();
    assert_eq!(listed.len(), 3, "{out}");
    assert_eq!(listed[0]["kind"], "user");
    let id = listed[0]["id"].as_str().unwrap();
    let (_, out, _) = usher(&database, &["runs", id]);
    assert!(out.contains("displayName"), "{out}");

    domain.change_secret("other");
    let (ok, _, err) = usher(&database, &["sync", "corp"]);
    assert!(!ok && err.contains("confidential application"), "{err}");
    assert!(!err.contains("usher-client-secret"));
}
