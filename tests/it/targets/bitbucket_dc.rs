//! Bitbucket against an emulated one: the suite, and what only Bitbucket has.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use usher::domain::{
    Action, Failure, HeldGroup, Holdings, LeadSuccessors, Lookup, Observed, Owner, SecretRef,
    TargetAuth, TargetKind, TargetSettings,
};
use usher::outbound::{Credential, Options};
use usher::targets::{self, BitbucketDc, Member, Target};
use usher_emulators::bitbucket::{Bitbucket, BitbucketOptions, BitbucketUser, Permission};
use usher_emulators::{Fault, FaultKind, Only};

use super::fault;
use super::suite::{
    self, Backstage, Fixture, Strikes, Trouble, ada, adding, called, create_user, deactivating,
    member, rejected, renaming,
};
use crate::harness::{App, sqlite};

/// Long enough for a busy machine, short enough to be waited for.
const TIMEOUT: Duration = Duration::from_millis(1500);

fn basic(name: &str, password: &str) -> Credential {
    Credential::Basic {
        username: name.into(),
        password: password.into(),
    }
}

fn admin() -> Credential {
    basic("admin", "admin-password")
}

fn target_with(url: &str, credential: Credential) -> Arc<dyn Target> {
    let options = Options {
        timeout: TIMEOUT,
        ..Options::default()
    };
    Arc::new(BitbucketDc::new(url, credential, options).unwrap())
}

fn fixture(options: BitbucketOptions) -> (Fixture, Arc<Bitbucket>) {
    let many = options.page_cap + 5;
    let bitbucket = Arc::new(Bitbucket::start(options).unwrap());
    let target = target_with(&bitbucket.url(), admin());
    let backstage = Box::new(Behind(Arc::clone(&bitbucket), many));
    (Fixture { target, backstage }, bitbucket)
}

fn fresh() -> (Fixture, Arc<Bitbucket>) {
    fixture(BitbucketOptions::default())
}

/// The product, and how many make more than one page.
struct Behind(Arc<Bitbucket>, usize);

fn observed(user: BitbucketUser) -> Observed {
    Observed {
        remote_id: user.id.to_string(),
        username: user.name,
        display_name: user.display_name,
        email: Some(user.email),
        active: user.licensed,
        groups: user.groups,
    }
}

#[async_trait]
impl Backstage for Behind {
    /// Whoever is active has a licence by a permission of its own.
    async fn seed_user(&self, user: Observed) {
        let name = &user.username;
        self.0
            .seed_user(name, &user.display_name, &user.email.unwrap());
        for group in &user.groups {
            self.0.seed_member(group, name);
        }
        self.0
            .permit(name, user.active.then_some(Permission::LicensedUser));
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

    async fn refuse_credential(&self, refused: bool) -> bool {
        let password = if refused { "another" } else { "admin-password" };
        self.0.set_password("admin", password);
        true
    }

    async fn take_rights(&self) -> bool {
        self.0.permit("admin", Some(Permission::LicensedUser));
        true
    }

    async fn set_read_only(&self, username: &str) -> bool {
        self.0.set_read_only(username, "LDAP");
        true
    }

    fn many(&self) -> usize {
        self.1
    }

    async fn remove_user(&self, username: &str) {
        self.0.remove_user(username);
        // What it was permitted must not come back with the next one of that name.
        self.0.advance(Duration::from_secs(8 * 24 * 3600));
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
async fn bitbucket_passes_the_suite() {
    let cases = suite::run_all(async || fresh().0).await;
    eprintln!("bitbucket: {cases} cases");
}

/// Below a context path, and with pages so small that every list has several.
#[tokio::test(flavor = "multi_thread")]
async fn a_bitbucket_with_small_pages_passes_the_suite() {
    let options = || BitbucketOptions {
        context_path: "/bitbucket".into(),
        page_cap: 2,
        ..BitbucketOptions::default()
    };
    let cases = suite::run_all(async || fixture(options()).0).await;
    eprintln!("bitbucket, small pages: {cases} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn made_by_the_registry_and_tried_out() {
    let bitbucket = Bitbucket::start(BitbucketOptions {
        licences: Some(3),
        ..BitbucketOptions::default()
    })
    .unwrap();
    let settings = TargetSettings {
        name: "bitbucket".into(),
        kind: TargetKind::BitbucketDc,
        base_url: format!("{}/", bitbucket.url()),
        auth: TargetAuth::Basic {
            username: "admin".into(),
            password: SecretRef::Env("UNUSED".into()),
        },
        concurrency: 1,
        requests_per_second: None,
        token_expires: None,
        timeout_s: 5,
    };
    let target = targets::connect(&settings, admin()).unwrap();
    let check = target.check().await.unwrap();
    assert_eq!(
        (check.version.as_str(), check.account.as_str()),
        ("9.2.0", "admin")
    );
    assert!(check.warnings.is_empty(), "{:?}", check.warnings);
    let rights = check.rights.join("\n");
    for words in [
        "(ADMIN)",
        "SYS_ADMIN",
        "Internal Directory",
        "1 of 3 licences",
    ] {
        assert!(rights.contains(words), "{words}: {rights}");
    }
    bitbucket.seed_user("eve", "Eve", "eve@example.com");
    bitbucket.set_read_only("eve", "Corporate LDAP");
    bitbucket.set_licences(Some(1));
    let warnings = target.check().await.unwrap().warnings;
    assert!(
        warnings[0].contains("\"Corporate LDAP\" cannot be changed"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("1 of 1 licences"), "{warnings:?}");
    assert_eq!(bitbucket.writes(), 0, "a check writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_lacking_right_are_told_apart() {
    let (f, bitbucket) = fresh();
    let user = f.seeded(ada()).await;
    bitbucket.set_password("ada", "secret");
    for (credential, words, other) in [
        (basic("admin", "wrong"), "refuses the credential", "ADMIN"),
        (
            basic("ada", "secret"),
            "permission ADMIN",
            "refuses the credential",
        ),
        (
            Credential::Bearer("emulated-bitbucket-token".into()),
            "BSERV-10482",
            "refuses the credential",
        ),
    ] {
        let target = target_with(&bitbucket.url(), credential);
        let failures = [
            target
                .apply(&create_user(&called("bob")))
                .await
                .unwrap_err(),
            target
                .apply(&updating(&user, "Ada King"))
                .await
                .unwrap_err(),
            target
                .apply(&adding(&user, "stash-users"))
                .await
                .unwrap_err(),
            target.protected().await.unwrap_err(),
        ];
        for failure in failures {
            assert!(
                matches!(failure, Failure::Unauthorized { .. }),
                "{failure:?}"
            );
            let text = failure.to_string();
            assert!(text.contains(words) && !text.contains(other), "{text}");
            assert!(
                !text.contains("secret") && !text.contains("token/"),
                "{text}"
            );
        }
        match target.check().await {
            Ok(check) => assert!(check.warnings[0].contains(words), "{check:?}"),
            Err(failure) => assert!(failure.to_string().contains(words), "{failure}"),
        }
    }
    assert!(bitbucket.user("bob").is_none());
}

/// 401 is about one record if the account may administer otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_ranks_higher_stops_only_their_own_record() {
    let (f, bitbucket) = fresh();
    bitbucket.seed_user("svc", "Usher", "svc@example.com");
    bitbucket.permit("svc", Some(Permission::Admin));
    bitbucket.set_password("svc", "password");
    let boss = f.seeded(called("boss")).await;
    bitbucket.permit("boss", Some(Permission::SysAdmin));
    let target = target_with(&bitbucket.url(), basic("svc", "password"));
    for action in [
        updating(&boss, "Other"),
        renaming(&boss, "chef"),
        deactivating(&boss),
        Action::DeleteUser {
            remote_id: boss.remote_id.clone(),
            username: boss.username.clone(),
        },
    ] {
        let text = rejected(target.apply(&action).await.unwrap_err());
        assert!(text.contains("rank"), "{text}");
    }
    let applied = target.apply(&create_user(&ada())).await.unwrap();
    assert!(applied.account.unwrap().active);
    assert_eq!(target.protected().await.unwrap().users, ["svc"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_in_the_address_is_worth_nothing_a_moment_later() {
    let (f, bitbucket) = fresh();
    let applied = f.done(&create_user(&ada())).await;
    assert!(applied.notes.is_empty(), "{:?}", applied.notes);
    let user = bitbucket.user("ada").unwrap();
    assert_eq!((user.passwords, user.notified), (2, false));
    let password = bitbucket.password("ada").unwrap();
    assert!(password.len() > 30 && !format!("{applied:?}").contains(&password));

    // If it cannot be replaced the account stays, and somebody is told.
    bitbucket
        .fault(Fault::once(FaultKind::status(500)).only(Only::method_path("PUT", "/credentials")));
    let applied = f.done(&create_user(&called("bob"))).await;
    assert!(
        applied.notes[0].contains("give bob another one"),
        "{:?}",
        applied.notes
    );
    assert!(!format!("{applied:?}").contains(&bitbucket.password("bob").unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_said_is_taken_and_given_back() {
    let (f, bitbucket) = fresh();
    let groups = ["devs", "ops", "stash-users"].map(str::to_owned).to_vec();
    let user = f.seeded(Observed { groups, ..ada() }).await;
    bitbucket.permit("ada", Some(Permission::ProjectCreate));
    let holdings = f.target.holdings(&user.remote_id, "ada").await.unwrap();
    assert_eq!(holdings.permissions, ["PROJECT_CREATE"]);
    assert_eq!(holdings.groups.len(), 3);

    let mut takes = holdings.clone();
    takes.groups.retain(|held| held.name != "ops");
    takes.kept = vec!["ops".to_owned()];
    let action = Action::Deactivate {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
        successors: LeadSuccessors::default(),
        takes: Some(takes),
    };
    let applied = f.done(&action).await;
    let account = applied.account.unwrap();
    assert_eq!(
        (account.active, &account.groups[..]),
        (false, &["ops".to_owned()][..])
    );
    let notes = applied.notes.join("; ");
    for words in ["PROJECT_CREATE", "devs, stash-users", "stays in ops"] {
        assert!(notes.contains(words), "{words}: {notes}");
    }

    // A group that is gone meanwhile is told, and keeps nothing else from coming back.
    bitbucket.remove_group("devs");
    let back = Action::Reactivate {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
        gives: Some(holdings),
    };
    let applied = f.done(&back).await;
    assert!(applied.account.unwrap().active);
    let notes = applied.notes.join("; ");
    assert!(notes.contains("devs: it is not there"), "{notes}");
    let user = bitbucket.user("ada").unwrap();
    assert_eq!(user.permission, Some(Permission::ProjectCreate));
    assert_eq!(user.groups, ["ops", "stash-users"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_are_not_made_and_their_groups_not_touched() {
    let (f, bitbucket) = fresh();
    bitbucket.permit_group("chiefs", Some(Permission::Admin));
    let user = f
        .seeded(Observed {
            groups: vec!["chiefs".into(), "devs".into()],
            ..ada()
        })
        .await;
    bitbucket.permit("ada", Some(Permission::Admin));
    let protected = f.target.protected().await.unwrap();
    assert_eq!(protected.groups, ["chiefs"]);
    let text = rejected(f.refused(&deactivating(&user)).await);
    assert!(
        text.contains("can still sign in") && text.contains("chiefs"),
        "{text}"
    );
    let there = bitbucket.user("ada").unwrap();
    assert_eq!(
        (there.permission, &there.groups[..]),
        (None, &["chiefs".to_owned()][..])
    );

    bitbucket.edit_user("ada", |user| user.groups.clear());
    let back = Action::Reactivate {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
        gives: Some(Holdings {
            permissions: vec!["ADMIN".to_owned()],
            ..Holdings::default()
        }),
    };
    let applied = f.done(&back).await;
    assert!(
        applied.notes[0].contains("held ADMIN"),
        "{:?}",
        applied.notes
    );
    let there = bitbucket.user("ada").unwrap();
    assert_eq!(there.permission, Some(Permission::LicensedUser));
}

/// Reactivation gives back and nothing else: what gives no licence gives none.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_nothing_back_that_gives_a_licence_is_told() {
    let (f, bitbucket) = fresh();
    bitbucket.seed_group("devs");
    let user = f
        .seeded(Observed {
            active: false,
            ..ada()
        })
        .await;
    let held = HeldGroup {
        name: "devs".into(),
        owner: Owner::Foreign,
    };
    let back = Action::Reactivate {
        remote_id: user.remote_id.clone(),
        username: "ada".into(),
        gives: Some(Holdings {
            groups: vec![held],
            ..Holdings::default()
        }),
    };
    let applied = f.done(&back).await;
    assert!(!applied.account.unwrap().active);
    assert!(
        applied.notes.iter().any(|n| n.contains("has no licence")),
        "{:?}",
        applied.notes
    );
    // Full, it is refused by name.
    bitbucket.set_licences(Some(1));
    let text = rejected(f.refused(&create_user(&called("bob"))).await);
    assert!(text.contains("no licence left for bob"), "{text}");
    assert!(bitbucket.user("bob").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_members_take_one_write_and_each_is_the_one_meant() {
    let (f, bitbucket) = fixture(BitbucketOptions {
        page_cap: 25,
        ..BitbucketOptions::default()
    });
    bitbucket.seed_group("devs");
    let mut users = Vec::new();
    for i in 0..60 {
        users.push(f.seeded(called(&format!("user{i:02}"))).await);
    }
    bitbucket.seed_member("devs", "user07");
    let members: Vec<Member> = users.iter().map(member).collect();
    bitbucket.clear_requests();
    let answers = f.target.add_members("devs", &members).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(bitbucket.members("devs").len(), 60);
    assert_eq!(bitbucket.writes(), 1);
    // Whoever was made a moment ago is not asked for.
    let mut new = Vec::new();
    for name in ["new1", "new2"] {
        let made = f.done(&create_user(&called(name))).await;
        new.push(member(&made.account.unwrap()));
    }
    bitbucket.clear_requests();
    let answers = f.target.add_members("devs", &new).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(bitbucket.requests().len(), 1);

    // Somebody is missing: all others are put in one by one.
    bitbucket.seed_group("ops");
    bitbucket.remove_user("user03");
    let answers = f.target.add_members("ops", &members[..6]).await;
    for (i, answer) in answers.iter().enumerate() {
        match answer {
            Err(failure) => assert!(
                i == 3 && matches!(failure, Failure::Gone { .. }),
                "{failure:?}"
            ),
            Ok(applied) => assert!(i != 3 && !applied.already),
        }
    }
    assert_eq!(bitbucket.members("ops").len(), 5);
    // Somebody was renamed by hand, and another has the name now.
    bitbucket.edit_user("user10", |user| user.name = "renamed".into());
    bitbucket.seed_user("user10", "Another", "another@example.com");
    let answers = f.target.add_members("ops", &members[9..12]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let there = bitbucket.members("ops");
    assert!(there.contains(&"renamed".to_owned()) && !there.contains(&"user10".to_owned()));

    for answer in f.target.add_members("no-such-group", &members[..3]).await {
        assert!(matches!(answer, Err(Failure::Gone { .. })), "{answer:?}");
    }
    assert!(f.target.add_members("ops", &[]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_bitbucket_says() {
    let (f, bitbucket) = fixture(BitbucketOptions {
        page_cap: 7,
        ..BitbucketOptions::default()
    });
    for i in 0..20 {
        let active = i % 3 != 0;
        f.seeded(Observed {
            active,
            ..called(&format!("user{i:02}"))
        })
        .await;
        bitbucket.seed_member("devs", &format!("user{i:02}"));
        bitbucket.seed_group(&format!("group{i:02}"));
    }
    let (mut users, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = f.target.users(cursor.as_deref()).await.unwrap();
        assert!(page.items.len() <= 7);
        users.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let told: Vec<(String, bool)> = users.into_iter().map(|u| (u.username, u.active)).collect();
    let there = bitbucket.users().into_iter();
    assert_eq!(
        told,
        there.map(|u| (u.name, u.licensed)).collect::<Vec<_>>()
    );
    let (mut names, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = f.target.groups(cursor.as_deref()).await.unwrap();
        names.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, bitbucket.groups());
    let (mut members, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = f.target.members("Devs", cursor.as_deref()).await.unwrap();
        members.extend(page.items.into_iter().map(|member| member.username));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(members, bitbucket.members("devs"));
    let failure = f.target.members("no-such-group", None).await.unwrap_err();
    assert!(matches!(failure, Failure::Gone { .. }), "{failure:?}");
    let empty = f.target.members("group00", None).await.unwrap();
    assert!(empty.items.is_empty() && empty.next.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_renamed_by_hand_is_still_the_one_meant() {
    let (f, bitbucket) = fixture(BitbucketOptions {
        page_cap: 5,
        ..BitbucketOptions::default()
    });
    for i in 0..12 {
        f.seeded(called(&format!("user{i:02}"))).await;
    }
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    bitbucket.edit_user("ada", |user| user.name = "zoe".into());
    // Somebody else gets the old name.
    bitbucket.seed_user("ada", "Another", "another@example.com");
    bitbucket.permit("ada", Some(Permission::LicensedUser));
    let found = f.target.revisit(&user.remote_id, "ada").await.unwrap();
    assert_eq!(found.unwrap().username, "zoe");
    let found = f.target.observe(Lookup::RemoteId(&user.remote_id)).await;
    assert_eq!(found.unwrap().unwrap().username, "zoe");
    f.done(&updating(&user, "Zoe")).await;
    f.done(&deactivating(&user)).await;
    assert!(!bitbucket.user("zoe").unwrap().licensed);
    let other = bitbucket.user("ada").unwrap();
    assert!(other.licensed && other.display_name == "Another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_stops_only_its_own_accounts() {
    let (f, bitbucket) = fresh();
    let user = f
        .seeded(Observed {
            groups: vec!["devs".into()],
            ..ada()
        })
        .await;
    bitbucket.seed_group("ops");
    bitbucket.set_read_only("ada", "LDAP");
    for action in [
        updating(&user, "Ada King"),
        renaming(&user, "augusta"),
        adding(&user, "ops"),
        deactivating(&user),
    ] {
        let text = rejected(f.refused(&action).await);
        assert!(text.contains("'LDAP'"), "{text}");
    }
    f.done(&create_user(&called("bob"))).await;
    bitbucket.set_read_only_directory(true);
    let text = rejected(f.refused(&create_user(&called("cleo"))).await);
    assert!(text.contains("directory"), "{text}");
}

const CONFIGURATION: &str = r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "bitbucket"
kind = "bitbucket-dc"
base_url = "http://127.0.0.1:1"
username = "admin"
password = { env = "NONE" }

[[mapping]]
connection = "corp"
target = "bitbucket"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
"#;

/// The main job, whole: pushed over SCIM, there in Bitbucket, gone and back with what was there before.
#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_person_appears_in_bitbucket_changes_leaves_and_comes_back() {
    let bitbucket = Bitbucket::start(BitbucketOptions::default()).unwrap();
    let target = target_with(&bitbucket.url(), admin());
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
    let members = json!({"displayName": "reviewers", "members": [{"value": id}]});
    send("POST", "/Groups", Some(members)).await;
    let made = bitbucket.user("ada").unwrap();
    assert!(made.licensed && made.display_name == "Ada Byron");
    assert_eq!(made.groups, ["reviewers", "stash-users"]);

    let path = format!("/Users/{id}");
    send("PUT", &path, Some(person("lovelace", "Ada Lovelace"))).await;
    let renamed = bitbucket.user("lovelace").unwrap();
    assert_eq!(
        (renamed.id, renamed.display_name.as_str()),
        (made.id, "Ada Lovelace")
    );
    bitbucket.seed_member("theirs", "lovelace");
    bitbucket.permit("lovelace", Some(Permission::ProjectCreate));

    send("DELETE", &path, None).await;
    let gone = bitbucket.user("lovelace").unwrap();
    assert!(
        !gone.licensed && gone.groups.is_empty() && gone.permission.is_none(),
        "{gone:?}"
    );
    send("POST", "/Users", Some(person("lovelace", "Ada Lovelace"))).await;
    app.pass(Duration::from_secs(2), 2).await;
    let back = bitbucket.user("lovelace").unwrap();
    assert!(back.licensed && back.id == made.id);
    assert_eq!(back.permission, Some(Permission::ProjectCreate));
    // The source says nothing of `reviewers` any more; what others put her into is hers again.
    assert_eq!(back.groups, ["stash-users", "theirs"]);

    bitbucket.clear_requests();
    assert_eq!(app.drain().await, 0);
    assert!(bitbucket.requests().is_empty());
    app.stop().await;
}
