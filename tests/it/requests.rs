//! Every request that Usher sends is one that the vendor's own description allows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use usher::domain::SecretRef;
use usher::domain::{Action, Holdings, LeadSuccessors, Lookup};
use usher::outbound::{Credential, Options};
use usher::targets;
use usher::targets::{BitbucketDc, Guard as GuardTarget, Member, Target};
use usher_emulators::bitbucket::{Bitbucket, BitbucketOptions, Permission};
use usher_emulators::guard::{Guard, GuardOptions};
use usher_emulators::jira::{Jira, JiraOptions};
use usher_emulators::{Fault, FaultKind, Only, Recorded};

use super::harness::{App, python, sqlite};

/// The vendor's description is not ours to hand on, so its absence is no failure anywhere.
pub(crate) fn description(variable: &str, name: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let file = given.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../shared/reference/openapi")
            .join(name)
    });
    if !file.exists() {
        eprintln!("SKIPPED: {variable} does not name the vendor's OpenAPI file");
        return None;
    }
    Some(file)
}

/// Fails with what does not fit.
pub(crate) fn validate(python: &Path, description: &Path, requests: &[Recorded], context: &str) {
    let folder = tempfile::tempdir().unwrap();
    let recorded = folder.path().join("requests.json");
    std::fs::write(&recorded, serde_json::to_vec(requests).unwrap()).unwrap();
    let checked = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/validate_requests.py"))
        .args([description, &recorded])
        .args(["--context", context])
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
}

fn all_seen(requests: &[Recorded], expected: &[(&str, &str)]) {
    for (method, part) in expected {
        let seen = |r: &Recorded| r.method == *method && r.path.contains(part);
        assert!(
            requests.iter().any(seen),
            "no {method} {part}: not broad enough"
        );
    }
}

fn configuration(jira: &Jira, users: &str, groups: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "{}"
token = {{ env = "NONE" }}
timeout = "2s"

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.users]
default_project_lead = "boss"
default_component_lead = "boss"
match_by = ["username", "email"]
adopt = true
{users}

[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
{groups}
"#,
        jira.url()
    )
}

struct Scene {
    app: App,
    jira: Jira,
    token: String,
}

impl Scene {
    async fn send(&self, method: &str, path: &str, body: Value) -> String {
        let body = (!body.is_null()).then_some(body);
        let reply = self.app.send(&self.token, method, path, body).await;
        assert!(
            (200..300).contains(&reply.status),
            "{method} {path}: {reply:?}"
        );
        reply.json["id"].as_str().unwrap_or_default().to_owned()
    }

    async fn person(&self, name: &str) -> String {
        let letters = name.chars().filter(char::is_ascii_alphabetic);
        let email = format!("{}@example.com", letters.collect::<String>());
        let body = json!({
            "userName": name,
            "displayName": format!("The {name}"),
            "emails": [{"value": email, "primary": true}],
        });
        self.send("POST", "/Users", body).await
    }

    async fn set(&self, id: &str, attribute: &str, value: Value) {
        let operations = json!([{"op": "replace", "path": attribute, "value": value}]);
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        self.send("PATCH", &format!("/Users/{id}"), body).await;
        self.work().await;
    }

    async fn work(&self) {
        self.app.drain().await;
        self.app.pass(Duration::from_secs(20), 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_fits_the_vendors_description() {
    let file = description("USHER_OPENAPI_JIRA", "jira-dc-10.3.24.json");
    let (Some(file), Some(python)) = (file, python()) else {
        return;
    };
    let jira = Jira::start(JiraOptions {
        // Context path and names that need care on the wire.
        context_path: "/jira".to_owned(),
        ..JiraOptions::default()
    })
    .unwrap();
    let app = App::connected(
        &sqlite(),
        Arc::new(|settings| {
            assert!(matches!(
                settings.auth,
                usher::domain::TargetAuth::Token(SecretRef::Env(_))
            ));
            let credential = Credential::Bearer("emulated-jira-token".into());
            targets::connect(settings, credential).map_err(|e| e.to_string())
        }),
    )
    .await;
    app.apply(&configuration(
        &jira,
        "on_delete = \"deactivate\"",
        "keep_existing = true",
    ))
    .await;
    let token = app.token("corp").await;
    let scene = Scene { app, jira, token };
    let jira = &scene.jira;
    jira.seed_user("boss", "Boss", "boss@example.com");
    jira.seed_user("old.name", "Eve", "eve@example.com");

    let ada = scene.person("ada+1@example.com").await;
    let joe = scene.person("joe's \u{e4}/b").await;
    let eve = scene.person("eve").await;
    let members: Vec<Value> = [&ada, &joe, &eve]
        .iter()
        .map(|id| json!({"value": id}))
        .collect();
    let group = scene
        .send(
            "POST",
            "/Groups",
            json!({"displayName": "jira-R&D + more", "members": members}),
        )
        .await;
    scene.work().await;
    assert_eq!(
        jira.members("jira-R&D + more").len(),
        3,
        "{:#?}",
        jira.users()
    );
    scene.set(&ada, "displayName", json!("Ada")).await;
    scene.set(&ada, "userName", json!("countess")).await;
    // Whoever leads something hands it over.
    jira.seed_project("ABC", "countess", &[("Engine", "countess")]);
    scene.set(&ada, "active", json!(false)).await;
    assert!(!jira.user("countess").unwrap().active);
    assert_eq!(jira.project_lead("ABC").as_deref(), Some("boss"));
    scene.set(&ada, "active", json!(true)).await;
    // Answers that never come are looked up, and what is there already is looked at.
    for (id, method) in [(&joe, "PUT"), (&eve, "PUT")] {
        jira.fault(Fault::once(FaultKind::DropAfter).only(Only::method_path(method, "/user")));
        scene.set(id, "displayName", json!("Changed")).await;
    }
    jira.remove_group("jira-R&D + more");
    let late = scene.person("late").await;
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "add", "path": "members", "value": [{"value": late}]}],
    });
    scene.send("PATCH", &format!("/Groups/{group}"), body).await;
    scene.work().await;
    assert_eq!(jira.members("jira-R&D + more").len(), 4);
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": format!("members[value eq \"{joe}\"]")}],
    });
    scene.send("PATCH", &format!("/Groups/{group}"), body).await;
    scene.work().await;
    scene
        .app
        .apply(&configuration(
            jira,
            "on_delete = \"delete\"\noperations = [\"create\", \"update\", \"rename\", \"deactivate\", \
             \"reactivate\", \"delete\"]",
            "keep_existing = false",
        ))
        .await;
    scene.work().await;
    // Jira puts new accounts into a group of its own accord; these rules take them out again.
    scene.person("fresh").await;
    scene.work().await;
    assert!(jira.user("fresh").unwrap().groups.is_empty());
    scene
        .send("DELETE", &format!("/Users/{late}"), Value::Null)
        .await;
    scene.work().await;
    assert!(jira.user("late").is_none());

    let requests = jira.requests();
    let expected = [
        ("POST", "/user"),
        ("PUT", "/user"),
        ("DELETE", "/user"),
        ("DELETE", "/user/session/"),
        ("GET", "/user/search"),
        ("POST", "/group"),
        ("POST", "/group/user"),
        ("DELETE", "/group/user"),
        ("GET", "/groups/picker"),
        ("GET", "/myself"),
        ("PUT", "/project/ABC"),
        ("PUT", "/component/"),
    ];
    all_seen(&requests, &expected);
    validate(&python, &file, &requests, "/jira");
}

/// Every request that there is, through the target itself.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_guard_fits_the_vendors_description() {
    let file = description(
        "USHER_OPENAPI_GUARD",
        "guard-user-provisioning-2022-08.json",
    );
    let (Some(file), Some(python)) = (file, python()) else {
        return;
    };
    let guard = Guard::start(GuardOptions {
        exact_group_filter: true,
        ..GuardOptions::default()
    })
    .unwrap();
    let credential = Credential::Bearer("emulated-guard-key".into());
    let target = GuardTarget::new(&guard.url(), credential, Options::default()).unwrap();
    guard.seed_group("R&D \"more\"");
    target.check().await.unwrap();
    let made = async |name: &str, email: &str| {
        let create = Action::CreateUser {
            username: name.into(),
            display_name: "Ada \u{e4}".into(),
            email: email.into(),
        };
        target.apply(&create).await.unwrap().account.unwrap()
    };
    let (ada, joe) = (
        made("ada+1@example.com", "ada+1@example.com").await,
        made("joe's \u{e4}/b", "joe@example.com").await,
    );
    let (remote_id, username, group) = (
        ada.remote_id.clone(),
        ada.username.clone(),
        "r&d \"More\"".to_owned(),
    );
    let actions = [
        Action::CreateUser {
            username: username.clone(),
            display_name: "Ada \u{e4}".into(),
            email: "ada+1@example.com".into(),
        },
        Action::UpdateUser {
            remote_id: remote_id.clone(),
            username: username.clone(),
            display_name: Some("Ada".into()),
            email: Some("ada@example.com".into()),
        },
        Action::RenameUser {
            remote_id: remote_id.clone(),
            from: username.clone(),
            to: "countess".into(),
        },
        Action::Deactivate {
            remote_id: remote_id.clone(),
            username: username.clone(),
            successors: LeadSuccessors::default(),
            takes: None,
        },
        Action::Reactivate {
            remote_id: remote_id.clone(),
            username: username.clone(),
            gives: None,
        },
        Action::CreateGroup {
            name: group.clone(),
        },
        Action::AddMember {
            remote_id: remote_id.clone(),
            username: username.clone(),
            group: group.clone(),
        },
        Action::RemoveMember {
            remote_id: remote_id.clone(),
            username: username.clone(),
            group: group.clone(),
        },
        Action::CreateGroup { name: "new".into() },
    ];
    for action in actions {
        target.apply(&action).await.unwrap();
    }
    let members = [&ada, &joe].map(|user| Member {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
    });
    for answer in target.add_members(&group, &members).await {
        answer.unwrap();
    }
    assert_eq!(target.members(&group, None).await.unwrap().items.len(), 2);
    for answer in target.remove_members(&group, &members).await {
        answer.unwrap();
    }
    assert_eq!(target.members(&group, None).await.unwrap().items.len(), 0);
    assert_eq!(target.users(None).await.unwrap().items.len(), 2);
    assert_eq!(target.groups(None).await.unwrap().items.len(), 2);
    for lookup in [
        Lookup::RemoteId(&remote_id),
        Lookup::RemoteId("no/such id"),
        Lookup::Username("joe's \u{e4}/b"),
        Lookup::Email("ada@example.com"),
    ] {
        target.observe(lookup).await.unwrap();
    }
    let deletion = Action::DeleteUser {
        remote_id,
        username,
    };
    target.apply(&deletion).await.unwrap();
    let requests = guard.requests();
    let expected = [
        ("GET", "/ServiceProviderConfig"),
        ("GET", "/Users"),
        ("GET", "/Users/"),
        ("POST", "/Users"),
        ("PATCH", "/Users/"),
        ("DELETE", "/Users/"),
        ("GET", "/Groups"),
        ("GET", "/Groups/"),
        ("POST", "/Groups"),
        ("PATCH", "/Groups/"),
    ];
    all_seen(&requests, &expected);
    validate(&python, &file, &requests, "");
}

/// What a target can be asked, all of it.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_bitbucket_fits_the_vendors_description() {
    let file = description("USHER_OPENAPI_BITBUCKET", "bitbucket-dc-9.2.json");
    let (Some(file), Some(python)) = (file, python()) else {
        return;
    };
    let bitbucket = Bitbucket::start(BitbucketOptions {
        context_path: "/bitbucket".to_owned(),
        page_cap: 2,
        ..BitbucketOptions::default()
    })
    .unwrap();
    let credential = Credential::Basic {
        username: "admin".to_owned(),
        password: "admin-password".into(),
    };
    let options = Options::default();
    let target = BitbucketDc::new(&bitbucket.url(), credential, options).unwrap();
    let mut members = Vec::new();
    for i in 0..5 {
        let username = format!("joe's \u{e4}/{i}&+");
        let action = Action::CreateUser {
            username: username.clone(),
            display_name: "J\u{f6}e \"J\" O'Neill".to_owned(),
            email: format!("joe+{i}@example.com"),
        };
        let account = target.apply(&action).await.unwrap().account.unwrap();
        let remote_id = account.remote_id;
        members.push(Member {
            remote_id,
            username,
        });
    }
    let Member {
        remote_id,
        username,
    } = members[0].clone();
    for group in ["R&D + more", "ops"] {
        let name = group.to_owned();
        target.apply(&Action::CreateGroup { name }).await.unwrap();
        for answer in target.add_members(group, &members).await {
            answer.unwrap();
        }
    }
    let holdings = target.holdings(&remote_id, &username).await.unwrap();
    bitbucket.permit(&username, Some(Permission::LicensedUser));
    let actions = [
        Action::UpdateUser {
            remote_id: remote_id.clone(),
            username: username.clone(),
            display_name: Some("Joe".to_owned()),
            email: Some("j@example.com".to_owned()),
        },
        Action::RemoveMember {
            remote_id: remote_id.clone(),
            username: username.clone(),
            group: "ops".to_owned(),
        },
        Action::AddMember {
            remote_id: remote_id.clone(),
            username: username.clone(),
            group: "ops".to_owned(),
        },
        Action::Deactivate {
            remote_id: remote_id.clone(),
            username: username.clone(),
            successors: LeadSuccessors::default(),
            takes: None,
        },
        Action::Reactivate {
            remote_id: remote_id.clone(),
            username: username.clone(),
            gives: Some(Holdings {
                permissions: vec!["PROJECT_CREATE".to_owned()],
                ..holdings
            }),
        },
        Action::RenameUser {
            remote_id: remote_id.clone(),
            from: username.clone(),
            to: "joe".to_owned(),
        },
        Action::DeleteUser {
            remote_id: remote_id.clone(),
            username: username.clone(),
        },
    ];
    for action in &actions {
        assert!(!target.apply(action).await.unwrap().already, "{action:?}");
    }
    for lookup in [
        Lookup::RemoteId(&remote_id),
        Lookup::Username("joe"),
        Lookup::Email("j@example.com"),
    ] {
        assert_eq!(target.observe(lookup).await.unwrap(), None);
    }
    target.group_exists("ops").await.unwrap();
    for start in [None, Some("6")] {
        target.users(start).await.unwrap();
        target.groups(start).await.unwrap();
        target.members("ops", start).await.unwrap();
    }
    target.check().await.unwrap();
    let seen = [
        ("POST", "/admin/users"),
        ("PUT", "/admin/users/credentials"),
        ("PUT", "/admin/users"),
        ("DELETE", "/admin/users"),
        ("POST", "/admin/users/rename"),
        ("POST", "/admin/users/add-groups"),
        ("POST", "/admin/users/remove-group"),
        ("POST", "/admin/groups/add-users"),
        ("POST", "/admin/groups"),
        ("PUT", "/admin/permissions/users"),
        ("DELETE", "/admin/permissions/users"),
        ("GET", "/admin/permissions/groups"),
        ("GET", "/admin/groups/more-members"),
        ("GET", "/admin/users/more-members"),
        ("GET", "/admin/user-directories"),
        ("GET", "/admin/license"),
        ("GET", "/users"),
    ];
    let requests = bitbucket.requests();
    all_seen(&requests, &seen);
    validate(&python, &file, &requests, "/bitbucket");
}
