//! Crowd against an emulated one: the suite, and what only Crowd has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use usher::domain::{
    Action, Failure, Lookup, Observed, SecretRef, TargetAuth, TargetKind, TargetSettings,
};
use usher::outbound::{Credential, Options};
use usher::targets::{self, Crowd as CrowdTarget, Target};
use usher_emulators::Chaos;
use usher_emulators::crowd::{Crowd, CrowdOptions, CrowdUser};

use super::fault;
use super::suite::{
    self, Backstage, Fixture, Strikes, Trouble, ada, adding, create_user, deactivating, rejected,
    renaming,
};
use crate::harness::{App, sqlite};

/// Long enough for a busy machine, short enough to be waited for.
const TIMEOUT: Duration = Duration::from_millis(1500);

fn basic(password: &str) -> Credential {
    Credential::Basic {
        username: "usher".into(),
        password: password.into(),
    }
}

fn target_with(url: &str, credential: Credential) -> Arc<dyn Target> {
    let options = Options {
        timeout: TIMEOUT,
        ..Options::default()
    };
    Arc::new(CrowdTarget::new(url, credential, options).unwrap())
}

fn fixture(options: CrowdOptions) -> (Fixture, Arc<Crowd>) {
    let crowd = Arc::new(Crowd::start(options).unwrap());
    let target = target_with(&crowd.url(), basic("application-password"));
    let backstage = Box::new(Behind(Arc::clone(&crowd)));
    (Fixture { target, backstage }, crowd)
}

struct Behind(Arc<Crowd>);

fn observed(user: CrowdUser) -> Observed {
    let remote_id = if user.key.is_empty() {
        user.name.clone()
    } else {
        user.key
    };
    Observed {
        remote_id,
        username: user.name,
        display_name: user.display_name,
        email: Some(user.email),
        active: user.active,
        groups: user.groups,
    }
}

#[async_trait]
impl Backstage for Behind {
    async fn seed_user(&self, user: Observed) {
        let Observed {
            username,
            display_name,
            email,
            active,
            groups,
            ..
        } = user;
        self.0.seed_user(&username, &display_name, &email.unwrap());
        groups
            .iter()
            .for_each(|group| self.0.seed_member(group, &username));
        self.0.edit_user(&username, |user| user.active = active);
    }

    async fn seed_group(&self, name: &str) {
        self.0.seed_group(name);
    }

    async fn user(&self, username: &str) -> Option<Observed> {
        self.0.user(username).map(observed)
    }

    async fn groups(&self) -> Vec<String> {
        self.0.groups()
    }

    async fn remove_user(&self, username: &str) {
        self.0.remove_user(username);
    }

    async fn refuse_credential(&self, refused: bool) -> bool {
        let password = if refused {
            "another"
        } else {
            "application-password"
        };
        self.0.set_application_password(password);
        true
    }

    /// What the application may write is a matter of each directory; but it may be called from nowhere.
    async fn take_rights(&self) -> bool {
        self.0.set_address_allowed(false);
        true
    }

    async fn set_read_only(&self, username: &str) -> bool {
        self.0.set_read_only(username);
        true
    }

    async fn trouble(&self, trouble: Trouble, strikes: Strikes) {
        self.0.fault(fault(trouble, strikes, TIMEOUT));
    }
}

fn updating(user: &Observed, display_name: &str) -> Action {
    Action::UpdateUser {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
        display_name: Some(display_name.to_owned()),
        email: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crowd_passes_the_suite() {
    let cases = suite::run_all(async || fixture(CrowdOptions::default()).0).await;
    eprintln!("crowd: {cases} cases");
}

/// At the root, and in the oldest version that can do everything: it answers a creation with nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_crowd_passes_the_suite() {
    let options = || CrowdOptions {
        context_path: String::new(),
        version: [2, 8, 4],
        ..CrowdOptions::default()
    };
    let cases = suite::run_all(async || fixture(options()).0).await;
    eprintln!("crowd 2.8.4 at the root: {cases} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jira_that_acts_as_crowd_passes_the_suite() {
    let options = || CrowdOptions {
        context_path: "/jira".into(),
        product: "JIRA".into(),
        version: [10, 3, 24],
        ..CrowdOptions::default()
    };
    let cases = suite::run_all(async || fixture(options()).0).await;
    eprintln!("jira as crowd server: {cases} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn made_by_the_registry_with_the_applications_password() {
    let crowd = Crowd::start(CrowdOptions::default()).unwrap();
    let settings = TargetSettings {
        name: "crowd".into(),
        kind: TargetKind::Crowd,
        base_url: format!("{}/", crowd.url()),
        auth: TargetAuth::Basic {
            username: "usher".into(),
            password: SecretRef::Env("UNUSED".into()),
        },
        token_expires: None,
        concurrency: 1,
        requests_per_second: None,
        timeout_s: 5,
    };
    let target = targets::connect(&settings, basic("application-password")).unwrap();
    let check = target.check().await.unwrap();
    assert_eq!(
        (check.version.as_str(), check.account.as_str()),
        ("6.1.0", "the application usher")
    );
    assert_eq!(crowd.writes(), 0, "a check writes nothing");

    let error = targets::connect(&settings, Credential::Bearer("secret".into())).err();
    let words = error.unwrap().to_string();
    assert!(words.contains("name of the application"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_stop_everything() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let user = f.seeded(ada()).await;
    crowd.set_application_password("another");
    for action in [
        create_user(&ada()),
        adding(&user, "devs"),
        deactivating(&user),
    ] {
        let failure = f.refused(&action).await;
        assert!(
            matches!(failure, Failure::Unauthorized { .. }),
            "{failure:?}"
        );
        assert!(!failure.to_string().contains("application-password"));
    }
    assert!(f.target.observe(Lookup::Username("ada")).await.is_err());
    let person = Credential::Basic {
        username: "ada".into(),
        password: "application-password".into(),
    };
    let failure = target_with(&crowd.url(), person).check().await.unwrap_err();
    assert!(
        failure.to_string().contains("not that of a person"),
        "{failure}"
    );
    // Nothing of it sticks.
    crowd.set_application_password("application-password");
    f.done(&deactivating(&user)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_on_the_list_is_told() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let user = f.seeded(ada()).await;
    crowd.set_address_allowed(false);
    let failures = [
        f.refused(&create_user(&ada())).await,
        f.refused(&deactivating(&user)).await,
        f.refused(&adding(&user, "devs")).await,
        f.target
            .observe(Lookup::Email("ada@example.com"))
            .await
            .unwrap_err(),
        f.target.group_exists("devs").await.unwrap_err(),
        f.target.check().await.unwrap_err(),
    ];
    for failure in failures {
        assert!(
            matches!(failure, Failure::Unauthorized { .. }),
            "{failure:?}"
        );
        assert!(
            failure
                .to_string()
                .contains("remote addresses of the application usher"),
            "{failure}"
        );
    }
    crowd.set_address_allowed(true);
    f.done(&deactivating(&user)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_stops_only_its_own_accounts() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let user = f.seeded(ada()).await;
    crowd.seed_group("devs");
    crowd.set_read_only("ada");
    let before = crowd.user("ada");
    for action in [
        deactivating(&user),
        updating(&user, "Ada King"),
        renaming(&user, "augusta"),
        adding(&user, "devs"),
        Action::DeleteUser {
            remote_id: user.remote_id.clone(),
            username: user.username.clone(),
        },
    ] {
        let text = rejected(f.refused(&action).await);
        assert!(text.contains("the directory is read-only"), "{text}");
        assert!(text.contains("APPLICATION_PERMISSION_DENIED"), "{text}");
    }
    assert_eq!(crowd.user("ada"), before);
    let bob = Observed {
        username: "bob".into(),
        ..ada()
    };
    let bob = f.done(&create_user(&bob)).await.account.unwrap();
    f.done(&adding(&bob, "devs")).await;

    crowd.set_writable(false);
    let new = Observed {
        username: "new".into(),
        ..ada()
    };
    for action in [
        create_user(&new),
        deactivating(&bob),
        Action::CreateGroup {
            name: "more".into(),
        },
    ] {
        let text = rejected(f.refused(&action).await);
        assert!(
            text.contains("the application usher lacks the permission"),
            "{text}"
        );
    }
    crowd.set_writable(true);
    f.done(&create_user(&new)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_lose_nothing_that_usher_does_not_manage() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let user = f.seeded(ada()).await;
    crowd.set_password("ada", "her own");
    crowd.seed_member("devs", "ada");
    crowd.edit_user("ada", |user| {
        user.first_name = "Augusta Ada".into();
        user.last_name = "Countess".into();
        user.attributes = BTreeMap::from([("lang".to_owned(), vec!["en".to_owned()])]);
    });
    let before = crowd.user("ada").unwrap();
    f.done(&updating(&user, "Ada King")).await;
    f.done(&deactivating(&user)).await;
    f.done(&Action::Reactivate {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
        gives: None,
    })
    .await;
    f.done(&renaming(&user, "augusta")).await;
    let expected = CrowdUser {
        name: "augusta".into(),
        display_name: "Ada King".into(),
        ..before
    };
    assert_eq!(crowd.user("augusta").unwrap(), expected);
    assert_eq!(crowd.password("augusta").as_deref(), Some("her own"));
    // The same once more is no write.
    crowd.clear_requests();
    f.already(&updating(&user, "Ada King")).await;
    f.already(&renaming(&user, "augusta")).await;
    assert_eq!(crowd.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_random_and_go_nowhere_else() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let mut passwords = Vec::new();
    for name in ["ada", "bob"] {
        let user = Observed {
            username: name.into(),
            ..ada()
        };
        let applied = f.done(&create_user(&user)).await;
        let password = crowd.password(name).unwrap();
        assert!(password.len() > 30);
        assert!(!format!("{applied:?}").contains(&password));
        passwords.push(password);
    }
    assert_ne!(passwords[0], passwords[1]);

    let (f, _crowd) = fixture(CrowdOptions {
        longest_password: 10,
        ..CrowdOptions::default()
    });
    let failure = f.refused(&create_user(&ada())).await;
    assert!(
        matches!(&failure, Failure::Rejected { field: Some(field), .. } if field == "password"),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_person_is_signed_out() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let user = f.seeded(ada()).await;
    f.seeded(Observed {
        username: "bob".into(),
        ..ada()
    })
    .await;
    for name in ["ada", "ada", "bob"] {
        crowd.seed_session(name);
    }
    let applied = f.done(&deactivating(&user)).await;
    assert_eq!(applied.notes, ["ended the sessions of ada"]);
    assert_eq!((crowd.sessions("ada"), crowd.sessions("bob")), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_without_keys_and_rename_is_written_by_name() {
    let (f, crowd) = fixture(CrowdOptions {
        version: [2, 8, 3],
        keys: false,
        ..CrowdOptions::default()
    });
    let user = f.done(&create_user(&ada())).await.account.unwrap();
    assert_eq!(user.remote_id, "ada", "the name stands for the key");
    crowd.seed_group("devs");
    f.done(&adding(&user, "devs")).await;
    f.already(&adding(&user, "devs")).await;
    f.done(&updating(&user, "Ada King")).await;
    f.done(&deactivating(&user)).await;
    let found = f.target.observe(Lookup::RemoteId("ada")).await.unwrap();
    assert_eq!(found, crowd.user("ada").map(observed));
    let text = rejected(f.refused(&renaming(&user, "augusta")).await);
    assert!(
        text.starts_with("Crowd 2.8.3 cannot rename users over REST"),
        "{text}"
    );
    assert!(text.contains("rename ada to augusta by hand"), "{text}");
    let warnings = f.target.check().await.unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    // An upgrade is noticed without a restart.
    crowd.set_version([2, 8, 4]);
    let renamed = f.done(&renaming(&user, "augusta")).await.account.unwrap();
    assert_eq!(renamed.remote_id, "augusta");
    assert_eq!(f.target.observe(Lookup::RemoteId("ada")).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_renamed_by_hand_is_still_the_one_meant() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    crowd.edit_user("ada", |user| user.name = "augusta".into());
    // Somebody else gets the old name.
    crowd.seed_user("ada", "Another", "another@example.com");
    f.done(&deactivating(&user)).await;
    assert!(!crowd.user("augusta").unwrap().active);
    assert!(crowd.user("ada").unwrap().active);
    let removal = Action::RemoveMember {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
        group: "devs".into(),
    };
    let failure = f.refused(&removal).await;
    assert!(matches!(failure, Failure::Gone { .. }), "{failure:?}");
    assert_eq!(crowd.user("augusta").unwrap().groups, ["devs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_through_other_groups_are_left_alone() {
    let (f, crowd) = fixture(CrowdOptions::default());
    crowd.seed_subgroup("everyone", "devs");
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    assert_eq!(user.groups, ["devs"], "only direct ones are shown");
    f.already(&Action::RemoveMember {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
        group: "everyone".into(),
    })
    .await;
    assert_eq!(crowd.user("ada").unwrap().groups, ["devs"]);
    f.done(&adding(&user, "everyone")).await;
    assert_eq!(crowd.members("everyone"), ["ada"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_groups_than_a_page_are_all_seen() {
    let (f, crowd) = fixture(CrowdOptions::default());
    f.seeded(ada()).await;
    for i in 0..1001 {
        crowd.seed_member(&format!("group{i:04}"), "ada");
    }
    let seen = f.target.observe(Lookup::Username("ada")).await.unwrap();
    assert_eq!(seen, crowd.user("ada").map(observed));
    assert_eq!(seen.unwrap().groups.len(), 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_in_front_is_an_outage_and_no_absence() {
    let (f, crowd) = fixture(CrowdOptions::default());
    let user = f.seeded(ada()).await;
    crowd.set_marked(false);
    for lookup in [
        Lookup::Username("ada"),
        Lookup::Username("nobody"),
        Lookup::RemoteId("no-such-key"),
        Lookup::Email("ada@example.com"),
    ] {
        let failure = f.target.observe(lookup).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        assert!(
            failure.to_string().contains("X-Embedded-Crowd-Version"),
            "{failure}"
        );
    }
    crowd.set_marked(true);
    crowd.set_down(true);
    let failure = f.refused(&deactivating(&user)).await;
    assert!(
        failure.to_string().contains("connection refused"),
        "{failure}"
    );
    crowd.set_down(false);
    f.done(&deactivating(&user)).await;

    let wrong = crowd.url().replace("/crowd", "/wiki");
    let wrong = target_with(&wrong, basic("application-password"));
    let failure = wrong.check().await.unwrap_err();
    assert!(failure.to_string().contains("is base_url"), "{failure}");
    // Not "no such user": that would make Usher create everyone again.
    let failure = wrong.observe(Lookup::Username("ada")).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

/// Whatever goes wrong on the way, repeating every action until it succeeds leads to exactly what was wanted.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_through_chaos_everything_ends_as_wanted() {
    let (f, crowd) = fixture(CrowdOptions::default());
    crowd.chaos(Some(Chaos::new(20261124)));
    for i in 0..25 {
        let name = format!("user{i}");
        let new = Observed {
            username: name.clone(),
            email: Some(format!("{name}@example.com")),
            ..ada()
        };
        let user = persist(&f, &create_user(&new)).await.unwrap();
        let group = format!("group{}", i % 5);
        let made = Action::CreateGroup {
            name: group.clone(),
        };
        persist(&f, &made).await;
        persist(&f, &adding(&user, &group)).await;
        persist(&f, &updating(&user, &format!("Renamed {i}"))).await;
        if i % 2 == 0 {
            persist(&f, &deactivating(&user)).await;
        }
        if i % 3 == 0 {
            persist(&f, &renaming(&user, &format!("person{i}"))).await;
        }
    }
    crowd.chaos(None);
    assert_eq!(crowd.users().len(), 25);
    for i in 0..25 {
        let made_as = format!("user{i}");
        let name = if i % 3 == 0 {
            format!("person{i}")
        } else {
            made_as.clone()
        };
        let user = crowd.user(&name).unwrap();
        assert_eq!(user.groups, [format!("group{}", i % 5)], "{user:?}");
        assert_eq!(user.active, i % 2 == 1, "{user:?}");
        assert_eq!(user.display_name, format!("Renamed {i}"));
        assert_eq!(user.email, format!("user{i}@example.com"));
        assert_eq!(
            (user.first_name.as_str(), user.last_name.as_str()),
            ("Ada", "Lovelace")
        );
        assert_eq!(crowd.creations(&made_as), 1);
    }
    assert!((0..5).all(|i| crowd.group_creations(&format!("group{i}")) == 1));
    let struck = crowd.requests();
    let struck = struck.iter().filter(|r| r.fault.is_some()).count();
    assert!(struck > 40, "{struck}");
}

async fn persist(f: &Fixture, action: &Action) -> Option<Observed> {
    for _ in 0..50 {
        match f.target.apply(action).await {
            Ok(applied) => return applied.account,
            Err(Failure::Transient { .. } | Failure::Throttled { .. }) => {}
            Err(other) => panic!("{action:?}: {other:?}"),
        }
    }
    panic!("{action:?} did not succeed");
}

const CONFIGURATION: &str = r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "crowd"
kind = "crowd"
base_url = "http://127.0.0.1:1/crowd"
username = "usher"
password = { env = "NONE" }

[[mapping]]
connection = "corp"
target = "crowd"
mode = "live"

[mapping.users]
operations = ["create", "update", "rename", "deactivate", "reactivate"]

[mapping.groups]
on_the_fly = true
create_missing = true
"#;

/// The main job, whole: pushed over SCIM, there in Crowd.
#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_person_appears_in_crowd_changes_leaves_and_comes_back() {
    let crowd = Crowd::start(CrowdOptions::default()).unwrap();
    let target = target_with(&crowd.url(), basic("application-password"));
    let app = App::connected(&sqlite(), Arc::new(move |_| Ok(Arc::clone(&target)))).await;
    app.apply(CONFIGURATION).await;
    let token = app.token("corp").await;
    let send = async |method: &str, path: &str, body| {
        let reply = app.send(&token, method, path, body).await;
        assert!((200..300).contains(&reply.status), "{}", reply.json);
        app.drain().await;
        reply
    };
    let person = |name: &str, display: &str| json!({"userName": name, "displayName": display, "emails": [{"value": "ada@example.com", "primary": true}]});
    let id = send("POST", "/Users", Some(person("Ada", "Ada Byron")))
        .await
        .id();
    let members = json!({"displayName": "crowd-users", "members": [{"value": id}]});
    send("POST", "/Groups", Some(members)).await;
    let made = crowd.user("ada").unwrap();
    assert_eq!(
        (made.display_name.as_str(), made.email.as_str()),
        ("Ada Byron", "ada@example.com")
    );
    assert_eq!(made.groups, ["crowd-users"]);

    let path = format!("/Users/{id}");
    send("PUT", &path, Some(person("lovelace", "Ada Lovelace"))).await;
    let expected = CrowdUser {
        name: "lovelace".into(),
        display_name: "Ada Lovelace".into(),
        ..made
    };
    assert_eq!(
        crowd.user("lovelace"),
        Some(expected.clone()),
        "renamed, not made anew"
    );
    assert_eq!(crowd.users().len(), 1);

    send("DELETE", &path, None).await;
    assert!(!crowd.user("lovelace").unwrap().active);
    send("POST", "/Users", Some(person("lovelace", "Ada Lovelace"))).await;
    app.pass(Duration::from_secs(2), 2).await;
    let back = crowd.user("lovelace").unwrap();
    assert!(back.active && back.key == expected.key);

    crowd.clear_requests();
    assert_eq!(app.drain().await, 0);
    assert!(crowd.requests().is_empty());
    app.stop().await;
}
