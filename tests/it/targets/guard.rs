//! Atlassian Guard against an emulated directory: the suite, and what only Guard has.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use usher::domain::{
    Action, Failure, Lookup, Observed, SecretRef, TargetAuth, TargetKind, TargetSettings,
};
use usher::outbound::{Credential, Options};
use usher::targets::{self, Guard as GuardTarget, Member, Target};
use usher_emulators::guard::{Guard, GuardOptions, GuardUser};
use usher_emulators::{Chaos, Fault, FaultKind, Only, RateLimit};

use super::fault;
use super::suite::{
    self, Backstage, Fixture, Strikes, Trouble, ada, adding, called, create_user, deactivating,
    member, rejected,
};
use crate::harness::{App, sqlite};

/// Long enough for a busy machine, short enough to be waited for.
const TIMEOUT: Duration = Duration::from_millis(1500);

const KEY: &str = "emulated-guard-key";

fn target_with(url: &str, key: &str) -> Arc<dyn Target> {
    let options = Options {
        timeout: TIMEOUT,
        ..Options::default()
    };
    Arc::new(GuardTarget::new(url, Credential::Bearer(key.into()), options).unwrap())
}

fn fixture(options: GuardOptions) -> (Fixture, Arc<Guard>) {
    let guard = Arc::new(Guard::start(options).unwrap());
    let target = target_with(&guard.url(), KEY);
    let backstage = Box::new(Behind(Arc::clone(&guard)));
    (Fixture { target, backstage }, guard)
}

struct Behind(Arc<Guard>);

fn observed(user: GuardUser) -> Observed {
    Observed {
        remote_id: user.id,
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
        let name = user.username;
        self.0
            .seed_user(&name, &user.display_name, &user.email.unwrap());
        for group in &user.groups {
            self.0.seed_member(group, &name);
        }
        self.0.set_active(&name, user.active);
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
        self.0.set_key(if refused { "another" } else { KEY });
        true
    }

    async fn trouble(&self, trouble: Trouble, strikes: Strikes) {
        self.0.fault(fault(trouble, strikes, TIMEOUT));
    }
}

fn updating(user: &Observed, display_name: Option<&str>, email: Option<&str>) -> Action {
    Action::UpdateUser {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
        display_name: display_name.map(str::to_owned),
        email: email.map(str::to_owned),
    }
}

fn group(name: &str) -> Action {
    Action::CreateGroup { name: name.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn guard_passes_the_suite() {
    let cases = suite::run_all(async || fixture(GuardOptions::default()).0).await;
    eprintln!("guard: {cases} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn made_by_the_registry_with_the_key_of_a_directory() {
    let guard = Guard::start(GuardOptions::default()).unwrap();
    guard.seed_member("devs", {
        guard.seed_user("ada", "Ada", "ada@example.com");
        "ada"
    });
    let settings = |base_url: String| TargetSettings {
        name: "cloud".into(),
        kind: TargetKind::AtlassianGuard,
        base_url,
        auth: TargetAuth::Token(SecretRef::Env("UNUSED".into())),
        token_expires: None,
        requests_per_second: None,
        concurrency: 1,
        timeout_s: 5,
    };
    let key = || Credential::Bearer(KEY.into());
    let target = targets::connect(&settings(format!("{}/", guard.url())), key()).unwrap();
    let check = target.check().await.unwrap();
    assert_eq!(check.product, "Atlassian Guard");
    assert!(
        check
            .account
            .ends_with("2fb2c0de-7bee-4c2d-a61a-ade3834c8b2b")
    );
    assert!(check.rights[0].contains("1 users, 1 groups"), "{check:?}");
    assert_eq!(guard.writes(), 0, "a check writes nothing");

    let refused = |base_url: &str, credential| {
        let error = targets::connect(&settings(base_url.into()), credential).err();
        error.unwrap().to_string()
    };
    for url in [
        "https://api.atlassian.com",
        "https://x/scim/directory/",
        "https://x/scim/directory/1/Users",
    ] {
        let words = refused(url, key());
        assert!(
            words.starts_with("base_url: must be the directory's own address"),
            "{words}"
        );
    }
    let password = Credential::Basic {
        username: "ada".into(),
        password: "hidden-word".into(),
    };
    let words = refused(&guard.url(), password);
    assert!(
        words.contains("takes no password") && !words.contains("hidden-word"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_stops_everything_and_is_explained() {
    let (f, guard) = fixture(GuardOptions::default());
    let user = f.seeded(ada()).await;
    guard.set_key("another");
    let failures = [
        f.refused(&create_user(&called("bob"))).await,
        f.refused(&deactivating(&user)).await,
        f.refused(&adding(&user, "devs")).await,
        f.refused(&group("devs")).await,
        f.target.observe(Lookup::Username("ada")).await.unwrap_err(),
        f.target.users(None).await.unwrap_err(),
        f.target.members("devs", None).await.unwrap_err(),
        f.target.check().await.unwrap_err(),
    ];
    for failure in failures {
        assert!(
            matches!(failure, Failure::Unauthorized { .. }),
            "{failure:?}"
        );
        let text = failure.to_string();
        assert!(text.contains("the organization's own key"), "{text}");
        assert!(
            text.contains("trace id 5f1c"),
            "what Atlassian's support asks for: {text}"
        );
        assert!(!text.contains(KEY), "{text}");
    }
    let answers = f
        .target
        .add_members("devs", &[member(&user), member(&user)])
        .await;
    assert_eq!(answers.len(), 2);
    assert!(
        answers
            .iter()
            .all(|it| matches!(it, Err(Failure::Unauthorized { .. })))
    );
    // Nothing of it sticks.
    guard.set_key(KEY);
    f.done(&deactivating(&user)).await;
}

/// Atlassian says 404 of a directory as of a user: nobody must be taken for gone because the directory is.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_gone_is_no_directory_without_people() {
    let (f, guard) = fixture(GuardOptions::default());
    let user = f.seeded(ada()).await;
    guard.set_deleted(true);
    let removal = Action::RemoveMember {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
        group: "devs".into(),
    };
    let deletion = Action::DeleteUser {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
    };
    let failures = [
        f.target
            .observe(Lookup::RemoteId(&user.remote_id))
            .await
            .unwrap_err(),
        f.target.observe(Lookup::Username("ada")).await.unwrap_err(),
        f.target.group_exists("devs").await.unwrap_err(),
        f.target.check().await.unwrap_err(),
        f.refused(&deactivating(&user)).await,
        f.refused(&removal).await,
        f.refused(&deletion).await,
        f.refused(&adding(&user, "devs")).await,
    ];
    for failure in failures {
        assert!(
            matches!(failure, Failure::Unauthorized { .. }),
            "{failure:?}"
        );
        assert!(
            failure.to_string().contains("knows no directory"),
            "{failure}"
        );
    }
    guard.set_deleted(false);
    f.done(&deactivating(&user)).await;

    // Not the product at all, so an outage.
    let elsewhere = guard.url().replace("/scim/", "/wrong/scim/");
    let failure = target_with(&elsewhere, KEY).check().await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    assert!(failure.to_string().contains("is base_url"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_domain_is_refused_with_advice() {
    let (f, guard) = fixture(GuardOptions::default());
    let stranger = Observed {
        email: Some("bob@elsewhere.org".into()),
        ..called("bob")
    };
    let user = f.seeded(ada()).await;
    for action in [
        create_user(&stranger),
        updating(&user, None, Some("ada@elsewhere.org")),
    ] {
        let text = rejected(f.refused(&action).await);
        assert!(
            text.contains("is not verified"),
            "Atlassian's words: {text}"
        );
        assert!(text.contains("is elsewhere.org among them"), "{text}");
    }
    guard.verify_domain("Elsewhere.org");
    f.done(&create_user(&stranger)).await;
    // What has nothing to do with the address is not blamed on it.
    let text = rejected(
        f.refused(&Action::RenameUser {
            remote_id: user.remote_id.clone(),
            from: "ada".into(),
            to: " ".into(),
        })
        .await,
    );
    assert!(!text.contains("verified"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_told_from_an_account_that_is_there() {
    let (f, guard) = fixture(GuardOptions::default());
    f.seeded(ada()).await;
    let other = Observed {
        username: "augusta".into(),
        ..ada()
    };
    let text = rejected(f.refused(&create_user(&other)).await);
    assert!(
        text.contains("with email[ada@example.com] already exists"),
        "{text}"
    );
    assert!(text.contains("Managed accounts"), "{text}");
    assert_eq!(guard.users().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_atlassian_account_is_noted_and_a_deletion_says_what_it_means() {
    let (f, guard) = fixture(GuardOptions::default());
    guard.seed_account("ada@example.com", "5b10ac8d82e05b22cc7d4ef5");
    let applied = f.done(&create_user(&ada())).await;
    assert_eq!(
        applied.notes,
        ["Atlassian account 5b10ac8d82e05b22cc7d4ef5"]
    );
    let first = applied.account.unwrap();
    let deletion = Action::DeleteUser {
        remote_id: first.remote_id.clone(),
        username: "ada".into(),
    };
    let notes = f.done(&deletion).await.notes;
    assert!(
        notes[0].contains("whoever returns gets a new one"),
        "{notes:?}"
    );
    let again = f.done(&create_user(&ada())).await;
    assert_eq!(again.notes, applied.notes, "the account is linked again");
    assert_ne!(again.account.unwrap().remote_id, first.remote_id);
}

/// Nothing but `PATCH`: a `PUT` would clear what somebody else keeps there.
#[tokio::test(flavor = "multi_thread")]
async fn changes_lose_nothing_that_usher_does_not_manage() {
    let (f, guard) = fixture(GuardOptions::default());
    let user = f.seeded(ada()).await;
    let emails = json!([
        {"value": "private@example.com", "type": "personal"},
        {"value": "ada@example.com", "type": "office", "primary": true},
    ]);
    guard.edit_user("ada", |attributes| {
        attributes.insert("title".into(), json!("Countess"));
        attributes.insert("name".into(), json!({"givenName": "Ada"}));
        attributes.insert("externalId".into(), json!("E1"));
        attributes.insert("emails".into(), emails);
    });
    let mut expected = guard.user("ada").unwrap().attributes;
    f.done(&updating(&user, Some("Ada King"), Some("king@example.com")))
        .await;
    f.done(&deactivating(&user)).await;
    f.done(&Action::RenameUser {
        remote_id: user.remote_id.clone(),
        from: "ada".into(),
        to: "augusta".into(),
    })
    .await;
    expected.insert("userName".into(), json!("augusta"));
    expected.insert("displayName".into(), json!("Ada King"));
    expected.insert("active".into(), json!(false));
    let emails = json!([
        {"value": "king@example.com", "type": "office", "primary": true},
        {"value": "private@example.com", "type": "personal"},
    ]);
    expected.insert("emails".into(), emails);
    assert_eq!(guard.user("augusta").unwrap().attributes, expected);
    let requests = guard.requests();
    assert!(
        requests
            .iter()
            .all(|it| ["GET", "PATCH"].contains(&it.method.as_str()))
    );
    // The same once more is no write.
    guard.clear_requests();
    f.already(&updating(&user, Some("Ada King"), Some("king@example.com")))
        .await;
    assert_eq!(guard.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_found_by_its_address_if_that_is_its_name_and_in_one_request() {
    let (f, guard) = fixture(GuardOptions::default());
    for i in 0..250 {
        guard.seed_user(&format!("u{i}"), "Somebody", &format!("u{i}@example.com"));
    }
    guard.seed_user("Eve@Example.com", "Eve", "eve@example.com");
    guard.seed_user("joe@example.com", "Joe", "joseph@example.com");
    let found = async |address: &str| {
        let found = f.target.observe(Lookup::Email(address)).await.unwrap();
        found.map(|user| user.display_name)
    };
    assert_eq!(found("eve@example.com").await.as_deref(), Some("Eve"));
    assert_eq!(found("joe@example.com").await, None, "it is only a name");
    assert_eq!(found("u7@example.com").await, None);
    assert_eq!(
        guard.requests().len(),
        3,
        "nobody pages through the directory"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_a_hundred_at_a_time() {
    let (f, guard) = fixture(GuardOptions::default());
    for i in 0..230 {
        guard.seed_user(&format!("u{i}"), "Somebody", &format!("u{i}@example.com"));
        guard.seed_member("everybody", &format!("u{i}"));
    }
    guard.set_active("u9", false);
    for i in 0..60 {
        guard.seed_group(&format!("group {i}"));
    }
    let (mut users, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = f.target.users(cursor.as_deref()).await.unwrap();
        users.extend(page.items);
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    let expected: Vec<Observed> = guard.users().into_iter().map(observed).collect();
    let expected = expected.into_iter().map(|user| Observed {
        groups: Vec::new(),
        ..user
    });
    assert_eq!(users, expected.collect::<Vec<_>>());
    assert_eq!(users.iter().filter(|user| !user.active).count(), 1);

    let (mut groups, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = f.target.groups(cursor.as_deref()).await.unwrap();
        groups.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(groups, guard.groups());

    let members = f.target.members("Everybody", None).await.unwrap();
    assert_eq!((members.items.len(), members.next), (230, None));
    let mut names: Vec<&str> = members.items.iter().map(|m| m.username.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, guard.members("everybody"));
    let failure = f.target.members("no-such-group", None).await.unwrap_err();
    assert!(matches!(failure, Failure::Gone { .. }), "{failure:?}");
    assert!(f.target.users(Some("nonsense")).await.is_err());
    assert_eq!(guard.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_a_hundred_a_request() {
    let (f, guard) = fixture(GuardOptions::default());
    guard.seed_group("devs");
    let mut members = Vec::new();
    for i in 0..250 {
        let name = format!("u{i}");
        let remote_id = guard.seed_user(&name, "Somebody", &format!("{name}@example.com"));
        members.push(Member {
            remote_id,
            username: name,
        });
    }
    guard.seed_member("devs", "u3");
    guard.clear_requests();
    let answers = f.target.add_members("Devs", &members).await;
    assert!(
        answers.len() == 250 && answers.iter().all(Result::is_ok),
        "{answers:?}"
    );
    assert_eq!(guard.members("devs").len(), 250);
    assert_eq!(
        (guard.writes(), guard.requests().len()),
        (3, 4),
        "one look for the group's id"
    );

    // One who is gone stops only itself; the others are in.
    guard.remove_group("devs");
    guard.seed_group("devs");
    guard.remove_user("u7");
    guard.clear_requests();
    let answers = f.target.add_members("devs", &members[..100]).await;
    assert_eq!(answers.len(), 100);
    for (member, answer) in members.iter().zip(&answers) {
        match answer {
            Ok(_) => assert_ne!(member.username, "u7"),
            Err(failure) => {
                assert_eq!(member.username, "u7");
                assert!(matches!(failure, Failure::Gone { .. }), "{failure:?}");
            }
        }
    }
    assert_eq!(guard.members("devs").len(), 99);
    assert!(guard.requests().len() < 30, "{}", guard.requests().len());

    // Nobody is asked to go on while Atlassian asks to slow down.
    guard.clear_requests();
    guard.fault(Fault::once(FaultKind::throttled(9)).only(Only::Writes));
    let answers = f.target.add_members("devs", &members).await;
    assert_eq!(answers.len(), 250);
    assert!(
        answers
            .iter()
            .all(|it| matches!(it, Err(Failure::Throttled { .. })))
    );
    assert_eq!(guard.writes(), 1);

    let answers = f.target.add_members("no-such-group", &members[..2]).await;
    assert!(
        answers
            .iter()
            .all(|it| matches!(it, Err(Failure::Gone { .. }))),
        "{answers:?}"
    );

    // Out by the hundred as well; whoever was not in is out too, and whoever is not there is no trouble.
    guard.clear_requests();
    let answers = f.target.remove_members("devs", &members[..200]).await;
    assert!(
        answers.len() == 200 && answers.iter().all(Result::is_ok),
        "{answers:?}"
    );
    assert!(guard.members("devs").is_empty());
    assert_eq!(guard.writes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_made_anew_is_found_again() {
    let (f, guard) = fixture(GuardOptions::default());
    let user = f.seeded(ada()).await;
    f.done(&group("devs")).await;
    f.done(&adding(&user, "devs")).await;
    guard.remove_group("devs");
    guard.seed_group("devs");
    f.done(&adding(&user, "devs")).await;
    assert_eq!(guard.members("devs"), ["ada"]);
    // Its id is known, so it is not looked for each time.
    guard.clear_requests();
    f.already(&adding(&user, "devs")).await;
    assert_eq!(guard.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_a_site_are_refused_with_advice() {
    let (f, guard) = fixture(GuardOptions {
        own_group: true,
        ..GuardOptions::default()
    });
    let text = rejected(f.refused(&group("Jira-Users-Acme")).await);
    assert!(
        text.contains("default access group"),
        "Atlassian's words: {text}"
    );
    assert!(text.contains("map another name"), "{text}");
    // The group that Atlassian keeps everybody in is shown, left to the product, and refused if tried all the same.
    let user = f.done(&create_user(&ada())).await.account.unwrap();
    let own = "All members for directory - 2fb2c0de-7bee-4c2d-a61a-ade3834c8b2b";
    assert_eq!(user.groups, [own]);
    assert!(
        f.target
            .protected()
            .await
            .unwrap()
            .kept_by_product
            .contains(&own.to_owned())
    );
    let removal = Action::RemoveMember {
        remote_id: user.remote_id,
        username: user.username,
        group: own.into(),
    };
    rejected(f.refused(&removal).await);
    assert_eq!(guard.members(own), ["ada"]);
}

/// Where the filter looks at case and the names do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_the_same_name_in_another_case_is_the_same_group() {
    let (f, guard) = fixture(GuardOptions {
        exact_group_filter: true,
        ..GuardOptions::default()
    });
    let user = f.seeded(ada()).await;
    for i in 0..30 {
        guard.seed_group(&format!("group {i}"));
    }
    guard.seed_group("Developers");
    assert_eq!(f.target.group_exists("developers").await, Ok(None));
    f.already(&group("developers")).await;
    f.done(&adding(&user, "developers")).await;
    assert_eq!(guard.members("Developers"), ["ada"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_not_told_are_not_taken_for_none() {
    let (f, guard) = fixture(GuardOptions::default());
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    guard.set_groups_told(false);
    for lookup in [Lookup::RemoteId(&user.remote_id), Lookup::Username("ada")] {
        let failure = f.target.observe(lookup).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    }
    // A new account is in no group.
    let bob = f.done(&create_user(&called("bob"))).await.account.unwrap();
    assert!(bob.groups.is_empty());
}

/// Whatever goes wrong on the way, repeating every action until it succeeds leads to exactly what was wanted.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_through_chaos_everything_ends_as_wanted() {
    let (f, guard) = fixture(GuardOptions::default());
    guard.chaos(Some(Chaos::new(20261125)));
    for i in 0..25 {
        let user = persist(&f, &create_user(&called(&format!("user{i}"))))
            .await
            .unwrap();
        let devs = format!("group{}", i % 5);
        persist(&f, &group(&devs)).await;
        persist(&f, &adding(&user, &devs)).await;
        let address = format!("other{i}@example.com");
        persist(
            &f,
            &updating(&user, Some(&format!("Renamed {i}")), Some(&address)),
        )
        .await;
        if i % 2 == 0 {
            persist(&f, &deactivating(&user)).await;
        }
        if i % 3 == 0 {
            let rename = Action::RenameUser {
                remote_id: user.remote_id.clone(),
                from: user.username.clone(),
                to: format!("person{i}"),
            };
            persist(&f, &rename).await;
        }
    }
    guard.chaos(None);
    assert_eq!(guard.users().len(), 25);
    for i in 0..25 {
        let made_as = format!("user{i}");
        let name = if i % 3 == 0 {
            format!("person{i}")
        } else {
            made_as.clone()
        };
        let user = guard.user(&name).unwrap();
        assert_eq!(user.groups, [format!("group{}", i % 5)], "{user:?}");
        assert_eq!(user.active, i % 2 == 1, "{user:?}");
        assert_eq!(user.display_name, format!("Renamed {i}"));
        assert_eq!(user.email, format!("other{i}@example.com"));
        assert_eq!(guard.creations(&made_as), 1);
    }
    assert!((0..5).all(|i| guard.group_creations(&format!("group{i}")) == 1));
    let struck = guard.requests();
    let struck = struck.iter().filter(|r| r.fault.is_some()).count();
    assert!(struck > 40, "{struck}");
}

async fn persist(f: &Fixture, action: &Action) -> Option<Observed> {
    for _ in 0..50 {
        match f.target.apply(action).await {
            Ok(applied) => return applied.account,
            Err(
                Failure::Transient { .. } | Failure::Unreachable { .. } | Failure::Throttled { .. },
            ) => {}
            Err(other) => panic!("{action:?}: {other:?}"),
        }
    }
    panic!("{action:?} did not succeed");
}

fn configuration(groups: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "cloud"
kind = "atlassian-guard"
base_url = "https://api.atlassian.com/scim/directory/1"
token = {{ env = "NONE" }}
token_expires = "2027-03-01"

[[mapping]]
connection = "corp"
target = "cloud"
mode = "live"

[mapping.users]
match_by = ["username", "email"]
adopt = true

[mapping.groups]
on_the_fly = true
create_missing = true
{groups}
"#
    )
}

/// The main job, whole: pushed over SCIM, there in the directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_person_appears_in_the_directory_changes_leaves_and_comes_back() {
    let guard = Guard::start(GuardOptions {
        own_group: true,
        rate_limit: Some(RateLimit {
            capacity: 1000,
            per_second: 1000,
        }),
        ..GuardOptions::default()
    })
    .unwrap();
    let target = target_with(&guard.url(), KEY);
    let app = App::connected(&sqlite(), Arc::new(move |_| Ok(Arc::clone(&target)))).await;
    app.apply(&configuration("keep_existing = false")).await;
    let token = app.token("corp").await;
    let send = async |method: &str, path: &str, body: Option<Value>| {
        let reply = app.send(&token, method, path, body).await;
        assert!((200..300).contains(&reply.status), "{}", reply.json);
        app.drain().await;
        reply
    };
    let person = |name: &str, display: &str, email: &str| json!({"userName": name, "displayName": display, "emails": [{"value": email, "primary": true}]});
    // Somebody whom another tool brought there before, under the address, and with a group of its own.
    let eve = guard.seed_user("eve@example.com", "Eve Old", "eve@example.com");
    guard.seed_member("left over", "eve@example.com");

    let id = send(
        "POST",
        "/Users",
        Some(person("Ada", "Ada Byron", "ada@example.com")),
    )
    .await
    .id();
    let eve_id = send(
        "POST",
        "/Users",
        Some(person("eve", "Eve", "eve@example.com")),
    )
    .await
    .id();
    let members =
        json!({"displayName": "jira-devs", "members": [{"value": id}, {"value": eve_id}]});
    let group_id = send("POST", "/Groups", Some(members)).await.id();
    let own = "All members for directory - 2fb2c0de-7bee-4c2d-a61a-ade3834c8b2b";
    let made = guard.user("ada").unwrap();
    assert_eq!(
        (made.display_name.as_str(), made.email.as_str()),
        ("Ada Byron", "ada@example.com")
    );
    assert_eq!(
        made.groups,
        [own, "jira-devs"],
        "what Atlassian keeps is left alone"
    );
    let adopted = guard.user("eve").unwrap();
    assert_eq!(adopted.id, eve, "found by the address, taken over, renamed");
    assert_eq!(adopted.groups, ["jira-devs"]);

    let path = format!("/Users/{id}");
    send(
        "PUT",
        &path,
        Some(person("lovelace", "Ada Lovelace", "lovelace@example.com")),
    )
    .await;
    let renamed = guard.user("lovelace").unwrap();
    assert_eq!(
        (&renamed.id, renamed.email.as_str()),
        (&made.id, "lovelace@example.com")
    );

    // A group that is renamed at the source keeps the one that it had: there is no other name for it here.
    let renaming = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "path": "displayName", "value": "jira-builders"}]});
    send("PATCH", &format!("/Groups/{group_id}"), Some(renaming)).await;
    assert_eq!(guard.groups(), [own, "left over", "jira-devs"]);

    send("DELETE", &path, None).await;
    let left = guard.user("lovelace").unwrap();
    assert!(
        !left.active && left.id == made.id,
        "deactivated, and the record stays"
    );
    send(
        "POST",
        "/Users",
        Some(person("lovelace", "Ada Lovelace", "lovelace@example.com")),
    )
    .await;
    app.pass(Duration::from_secs(2), 2).await;
    let back = guard.user("lovelace").unwrap();
    assert!(back.active && back.id == made.id);
    assert!(
        guard
            .requests()
            .iter()
            .all(|r| r.method != "DELETE" && r.method != "PUT")
    );

    guard.clear_requests();
    assert_eq!(app.drain().await, 0);
    assert!(guard.requests().is_empty());
    app.stop().await;
}
