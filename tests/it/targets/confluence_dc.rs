//! Confluence Data Center against an emulated one: the suite, and what only Confluence has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::json;
use usher::domain::{
    Action, Applied, Failure, Lookup, MappingSettings, Observed, SecretRef, TargetAuth, TargetKind,
    TargetSettings,
};
use usher::mapping::Rules;
use usher::outbound::{Client, Credential, Options};
use usher::targets::{self, Capabilities, ConfluenceDc, Target};
use usher_emulators::confluence::{Confluence, ConfluenceOptions, ConfluenceUser};
use usher_emulators::{Chaos, Fault, FaultKind, Only, RateLimit};

use crate::harness::{App, python, sqlite};
use crate::requests::{description, validate};

use super::fault;
use super::suite::{
    self, Backstage, Fixture, Strikes, Trouble, ada, adding, create_user, deactivating,
};

/// Long enough for a busy machine, short enough to be waited for.
const TIMEOUT: Duration = Duration::from_millis(1500);

const TOKEN: &str = "emulated-confluence-token";

fn target_with(url: &str, credential: Credential) -> Arc<dyn Target> {
    let options = Options {
        timeout: TIMEOUT,
        ..Options::default()
    };
    let client = Client::new(url, credential, options).unwrap();
    Arc::new(ConfluenceDc::new(client, TIMEOUT))
}

fn fixture(options: ConfluenceOptions) -> (Fixture, Arc<Confluence>) {
    let confluence = Arc::new(Confluence::start(options).unwrap());
    let target = target_with(&confluence.url(), Credential::Bearer(TOKEN.into()));
    let behind = Behind {
        confluence: Arc::clone(&confluence),
        updates: true,
        slashes: false,
        many: 450,
    };
    (
        Fixture {
            target,
            backstage: Box::new(behind),
        },
        confluence,
    )
}

struct Behind {
    confluence: Arc<Confluence>,
    /// Whether this version changes accounts.
    updates: bool,
    /// Whether its web server lets slashes through.
    slashes: bool,
    /// More than a page of its lists holds.
    many: usize,
}

fn observed(user: ConfluenceUser) -> Observed {
    Observed {
        remote_id: user.key,
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
        let confluence = &self.confluence;
        // Nobody is told the address of an account, so who seeds what was observed has none.
        confluence.seed_user(&username, &display_name, &email.unwrap_or_default());
        groups
            .iter()
            .for_each(|group| confluence.seed_member(group, &username));
        confluence.edit_user(&username, |user| user.active = active);
    }

    async fn seed_group(&self, name: &str) {
        self.confluence.seed_group(name);
    }

    async fn user(&self, username: &str) -> Option<Observed> {
        self.confluence.user(username).map(observed)
    }

    async fn groups(&self) -> Vec<String> {
        self.confluence.groups()
    }

    async fn remove_user(&self, username: &str) {
        self.confluence.remove_user(username);
    }

    async fn trouble(&self, trouble: Trouble, strikes: Strikes) {
        self.confluence.fault(fault(trouble, strikes, TIMEOUT));
    }

    async fn refuse_credential(&self, refused: bool) -> bool {
        let token = if refused { "another" } else { TOKEN };
        self.confluence.set_token(token);
        true
    }

    async fn take_rights(&self) -> bool {
        self.confluence.set_system_admin("admin", false);
        let plain = |user: &mut ConfluenceUser| user.groups = vec!["confluence-users".into()];
        self.confluence.edit_user("admin", plain);
        true
    }

    async fn set_read_only(&self, username: &str) -> bool {
        self.confluence.set_read_only(username);
        true
    }

    fn able(&self, can: &Capabilities) -> Capabilities {
        Capabilities {
            update: self.updates,
            slashes_in_names: self.slashes,
            ..*can
        }
    }

    fn many(&self) -> usize {
        self.many
    }

    fn deletes_later(&self) -> bool {
        true
    }
}

fn rejected(failure: Failure) -> (Option<String>, String) {
    match failure {
        Failure::Rejected { field, text } => (field, text),
        other => panic!("{other:?}"),
    }
}

fn updating(user: &Observed, display_name: &str) -> Action {
    Action::UpdateUser {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
        display_name: Some(display_name.to_owned()),
        email: Some("king@example.com".to_owned()),
    }
}

fn deleting(user: &Observed) -> Action {
    Action::DeleteUser {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
    }
}

fn named(name: &str) -> Observed {
    Observed {
        username: name.into(),
        email: Some(format!("{}@example.com", name.replace(' ', "."))),
        ..ada()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn confluence_passes_the_suite() {
    let cases = suite::run_all(async || fixture(ConfluenceOptions::default()).0).await;
    eprintln!("confluence-dc: {cases} cases");
}

/// Below a context path, one group on a page, slow deletions without a trace, no group for new accounts but the
/// administrators', and a version that cannot change accounts or tell permissions.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_and_awkward_confluence_passes_the_suite() {
    let make = async || {
        let options = ConfluenceOptions {
            context_path: "/confluence".into(),
            version: [8, 9, 4],
            page_cap: 1,
            deletion: Duration::from_millis(200),
            leaves_ghosts: false,
            default_group: None,
            ..ConfluenceOptions::default()
        };
        let (mut f, confluence) = fixture(options);
        f.backstage = Box::new(Behind {
            confluence,
            updates: false,
            slashes: false,
            many: 12,
        });
        f
    };
    let cases = suite::run_all(make).await;
    eprintln!("confluence-dc 8.9 below /confluence: {cases} cases");
}

/// An administrator may let the web server pass slashes on.
#[tokio::test(flavor = "multi_thread")]
async fn where_slashes_are_let_through_they_are_names_as_others() {
    let (f, confluence) = fixture(ConfluenceOptions {
        slashes_in_paths: true,
        ..ConfluenceOptions::default()
    });
    let user = f.seeded(named("a/b\\c")).await;
    confluence.seed_group("x/y");
    f.done(&updating(&user, "Ada King")).await;
    f.done(&adding(&user, "x/y")).await;
    assert_eq!(confluence.members("x/y"), ["a/b\\c"]);
    assert_eq!(f.target.group_exists("X/Y").await, Ok(Some("x/y".into())));
    assert_eq!(f.target.group_exists("x/z").await, Ok(None));
    f.done(&deleting(&user)).await;
    assert_eq!(confluence.user("a/b\\c"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_that_is_not_let_through_is_told() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    let user = f.seeded(ada()).await;
    confluence.seed_group("x/y");
    let (_, text) = rejected(f.refused(&adding(&user, "x/y")).await);
    assert!(text.contains("slash") && text.contains("\"x/y\""), "{text}");
    let odd = f.seeded(named("a\\b")).await;
    let (_, text) = rejected(f.refused(&deactivating(&odd)).await);
    assert!(text.contains("slash"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn made_by_the_registry_with_a_password() {
    let confluence = Confluence::start(ConfluenceOptions::default()).unwrap();
    let settings = TargetSettings {
        name: "wiki".into(),
        kind: TargetKind::ConfluenceDc,
        base_url: format!("{}/", confluence.url()),
        auth: TargetAuth::Basic {
            username: "admin".into(),
            password: SecretRef::Env("UNUSED".into()),
        },
        token_expires: None,
        concurrency: 1,
        requests_per_second: None,
        timeout_s: 5,
    };
    let basic = |password: &str| Credential::Basic {
        username: "admin".into(),
        password: password.into(),
    };
    let target = targets::connect(&settings, basic("admin-password")).unwrap();
    let check = target.check().await.unwrap();
    assert_eq!(
        (check.version.as_str(), check.account.as_str()),
        ("10.0.3", "admin")
    );
    assert!(
        check.rights[0].contains("administers"),
        "{:?}",
        check.rights
    );
    let wrong = targets::connect(&settings, basic("wrong")).unwrap();
    let failure = wrong.check().await.unwrap_err();
    assert!(
        matches!(failure, Failure::Unauthorized { .. }),
        "{failure:?}"
    );
    assert!(
        failure.to_string().contains("AUTHENTICATED_FAILED"),
        "{failure}"
    );
    assert_eq!(TargetKind::ConfluenceDc.as_str(), "confluence-dc");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_without_a_mail_and_with_a_password_that_nobody_knows() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    for name in ["ada", "bob"] {
        f.done(&create_user(&named(name))).await;
        let user = confluence.user(name).unwrap();
        assert!(!user.notified && user.password_length >= 40, "{user:?}");
        assert_eq!(user.groups, ["confluence-users"]);
    }
    let sent = confluence.requests();
    let sent: Vec<_> = sent.iter().filter(|r| r.method == "POST").collect();
    assert_eq!(sent.len(), 2);
    for request in sent {
        let body = request.body.as_ref().unwrap();
        assert_eq!(body["notifyViaEmail"], false);
        let members: BTreeSet<&str> = body
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected = [
            "email",
            "fullName",
            "notifyViaEmail",
            "password",
            "userName",
        ];
        assert_eq!(members, BTreeSet::from(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_confluence_would_refuse_is_not_sent() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    let user = f.seeded(ada()).await;
    confluence.clear_requests();
    for (name, display_name, email, field, word) in [
        ("Ada", "Ada", "a@b.org", "username", "`userName | lower`"),
        ("ada b", "Ada", "a@b.org", "username", "white space"),
        ("a+b", "Ada", "a@b.org", "username", "'+'"),
        ("anonymous", "Ada", "a@b.org", "username", "to itself"),
        ("", "Ada", "a@b.org", "username", "empty"),
        ("adab", "Ada <3", "a@b.org", "display_name", "'<'"),
        ("adab", " ", "a@b.org", "display_name", "empty"),
        ("adab", "Ada", "", "email", "no e-mail address"),
    ] {
        let bad = Observed {
            username: name.into(),
            display_name: display_name.into(),
            email: Some(email.into()),
            ..ada()
        };
        let (named, text) = rejected(f.refused(&create_user(&bad)).await);
        assert_eq!(named.as_deref(), Some(field), "{text}");
        assert!(text.contains(word), "{text}");
    }
    rejected(f.refused(&updating(&user, "Ada > Bob")).await);
    assert_eq!(confluence.writes(), 0);
    // Confluence looks closer at addresses, and its words are kept.
    let bad = Observed {
        username: "new".into(),
        email: Some("ada@nowhere".into()),
        ..ada()
    };
    let (_, text) = rejected(f.refused(&create_user(&bad)).await);
    assert_eq!(text, "Invalid email address");
}

/// Rules that a refusal or the guide recommends must be rules that can be written.
#[test]
fn what_is_recommended_can_be_written() {
    for expression in [
        "userName | lower",
        "userName | lower | replace(\" \", \".\")",
        "userName | lower | replace(\"+\", \"-\")",
    ] {
        let mut settings = MappingSettings::default();
        settings.users.username = expression.to_owned();
        assert!(Rules::problems(&settings).is_empty(), "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_licence_left_stops_only_new_accounts() {
    for half_made in [false, true] {
        let (f, confluence) = fixture(ConfluenceOptions {
            licences: Some(2),
            makes_before_it_counts: half_made,
            ..ConfluenceOptions::default()
        });
        let user = f.done(&create_user(&ada())).await.account.unwrap();
        let bob = create_user(&named("bob"));
        if half_made {
            // It is there, and Usher's: had it been refused, the next look would find a stranger's account.
            let applied = f.done(&bob).await;
            assert!(applied.account.as_ref().unwrap().groups.is_empty());
            assert!(applied.notes[0].contains("no licence left"), "{applied:?}");
            continue;
        }
        let (_, text) = rejected(f.refused(&bob).await);
        assert!(
            text.contains("no licence left for bob (License check failed)"),
            "{text}"
        );
        assert_eq!(confluence.user("bob"), None);
        f.done(&deactivating(&user)).await;
        f.done(&bob).await;
    }
}

fn signed_in_as(confluence: &Confluence, name: &str) -> Arc<dyn Target> {
    confluence.set_password(name, "secret-word");
    let credential = Credential::Basic {
        username: name.into(),
        password: "secret-word".into(),
    };
    target_with(&confluence.url(), credential)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_rights_is_told_from_a_refused_record() {
    for version in [[10, 0, 3], [8, 9, 4]] {
        let (f, confluence) = fixture(ConfluenceOptions {
            version,
            ..ConfluenceOptions::default()
        });
        let user = f.seeded(ada()).await;
        confluence.seed_group("devs");
        confluence.seed_user("plain", "Plain", "plain@example.com");
        confluence.seed_member("confluence-users", "plain");
        let plain = signed_in_as(&confluence, "plain");
        for action in [
            create_user(&named("new")),
            adding(&user, "devs"),
            deactivating(&user),
            deleting(&user),
            Action::CreateGroup { name: "new".into() },
        ] {
            let failure = plain.apply(&action).await.unwrap_err();
            assert!(
                matches!(failure, Failure::Unauthorized { .. }),
                "{action:?}: {failure:?}"
            );
        }
        let warnings = plain.check().await.unwrap().warnings;
        let expected = "plain is no Confluence administrator: nothing can be written";
        let told = warnings.iter().any(|w| w == expected);
        assert_eq!(told, version[0] == 10, "{warnings:?}");
        assert!(!warnings.is_empty());
    }
}

/// Confluence answers "no such user" for everybody to an account that may not use it. Believed, that would make
/// Usher create everyone again, and take every deletion for done.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_see_nobody_is_not_believed() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    let user = f.seeded(ada()).await;
    confluence.seed_user("blind", "Blind", "blind@example.com");
    let blind = signed_in_as(&confluence, "blind");
    let failure = blind.observe(Lookup::Username("ada")).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Unauthorized { text } if text.contains("Can use")),
        "{failure:?}"
    );
    for action in [deleting(&user), deactivating(&user)] {
        let failure = blind.apply(&action).await.unwrap_err();
        assert!(
            matches!(failure, Failure::Unauthorized { .. }),
            "{failure:?}"
        );
    }
    let warnings = blind.check().await.unwrap().warnings;
    assert!(warnings[0].contains("nobody can be found"), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_confluence_refuses_stop_only_themselves() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    let user = f.seeded(ada()).await;
    confluence.set_read_only("ada");
    let (_, text) = rejected(f.refused(&deactivating(&user)).await);
    assert!(
        text.contains("\"ada\"") && text.contains("read-only"),
        "{text}"
    );
    let (_, text) = rejected(f.refused(&updating(&user, "Ada King")).await);
    assert_eq!(
        text,
        "Failed to update the user ada. Check your server logs for more information"
    );
    let (_, text) = rejected(f.refused(&deleting(&user)).await);
    assert_eq!(text, "User is not removable");
    assert!(confluence.user("ada").unwrap().active);

    confluence.set_read_only_directory(true);
    let (_, text) = rejected(f.refused(&create_user(&named("new"))).await);
    assert!(text.contains("Check your server logs"), "{text}");
    confluence.set_read_only_directory(false);

    confluence.seed_user("root", "Root", "root@example.com");
    confluence.set_system_admin("root", true);
    confluence.set_system_admin("admin", false);
    let root = f.target.observe(Lookup::Username("root")).await;
    rejected(f.refused(&deactivating(&root.unwrap().unwrap())).await);
    let admin = f.target.observe(Lookup::Username("admin")).await;
    rejected(f.refused(&deactivating(&admin.unwrap().unwrap())).await);
    assert!(confluence.user("admin").unwrap().active);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_administrators_are_protected() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    confluence.grant_administration("Wiki-Masters");
    confluence.seed_member("site-admins", "admin");
    let protected = f.target.protected().await.unwrap();
    assert_eq!(protected.users, ["admin"]);
    assert_eq!(
        protected.groups,
        ["confluence-administrators", "Wiki-Masters", "site-admins"]
    );
    // A version that does not tell.
    let (f, _confluence) = fixture(ConfluenceOptions {
        version: [8, 5, 0],
        ..ConfluenceOptions::default()
    });
    let protected = f.target.protected().await.unwrap();
    assert_eq!(protected.groups, ["confluence-administrators"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_update_is_found_out_told_and_outgrown() {
    let (f, confluence) = fixture(ConfluenceOptions {
        version: [9, 2, 1],
        ..ConfluenceOptions::default()
    });
    let user = f.seeded(ada()).await;
    let king = updating(&user, "Ada King");
    let Applied { account, notes, .. } = f.already(&king).await;
    assert_eq!(account.unwrap().display_name, "Ada Lovelace");
    assert_eq!(
        notes,
        [
            "Confluence 9.2.1 cannot change full names and e-mail addresses over REST: ada stays as it is"
        ]
    );
    let warnings = f.target.check().await.unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("Confluence 9.2.1 may not be able to change"));
    // An upgrade is noticed without a restart.
    confluence.set_version([10, 1, 0]);
    f.done(&king).await;
    let user = confluence.user("ada").unwrap();
    assert_eq!(
        (user.display_name.as_str(), user.email.as_str()),
        ("Ada King", "king@example.com")
    );
    assert!(f.target.check().await.unwrap().warnings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_create_is_found_out_and_told() {
    let (f, confluence) = fixture(ConfluenceOptions {
        version: [7, 19, 30],
        ..ConfluenceOptions::default()
    });
    let (_, text) = rejected(f.refused(&create_user(&ada())).await);
    assert_eq!(
        text,
        "Confluence before 8.4 cannot create accounts over REST: needs 8.4 or later"
    );
    let check = f.target.check().await.unwrap();
    assert_eq!(check.version, "before 8.4");
    assert_eq!(check.warnings.len(), 2, "{:?}", check.warnings);
    assert!(check.warnings[0].contains("cannot create accounts"));
    // Everything else works.
    let user = f.seeded(named("bob")).await;
    confluence.seed_group("devs");
    f.done(&adding(&user, "devs")).await;
    f.done(&deactivating(&user)).await;
    f.done(&deleting(&user)).await;
    confluence.set_version([8, 4, 0]);
    f.done(&create_user(&ada())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_renamed_by_hand_is_followed_by_its_key() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    let user = f.seeded(ada()).await;
    confluence.edit_user("ada", |user| user.name = "augusta".into());
    // Somebody else gets the old name.
    confluence.seed_user("ada", "Another", "another@example.com");
    confluence.seed_group("devs");
    f.done(&adding(&user, "devs")).await;
    assert_eq!(confluence.members("devs"), ["augusta"]);
    let applied = f.done(&deactivating(&user)).await;
    assert_eq!(applied.account.unwrap().username, "augusta");
    assert!(!confluence.user("augusta").unwrap().active);
    assert!(confluence.user("ada").unwrap().active);
    f.done(&deleting(&user)).await;
    assert_eq!(confluence.user("augusta"), None);
    assert!(confluence.user("ada").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_followed_to_its_end() {
    let (f, confluence) = fixture(ConfluenceOptions {
        deletion: Duration::from_millis(400),
        ..ConfluenceOptions::default()
    });
    let user = f.seeded(ada()).await;
    let started = Instant::now();
    f.done(&deleting(&user)).await;
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(confluence.user("ada"), None);
    let asked = confluence.requests();
    assert!(asked.iter().any(|r| r.path.contains("/longtask/")));
    // What is left of it is found by its key, and is nobody.
    let left = f.target.observe(Lookup::RemoteId(&user.remote_id)).await;
    assert_eq!(left, Ok(None));
    f.already(&deleting(&user)).await;

    // Longer than anybody waits: still under way, and not believed to be done.
    confluence.set_deletion(TIMEOUT + Duration::from_millis(600));
    let user = f.seeded(ada()).await;
    let failure = f.refused(&deleting(&user)).await;
    assert!(
        matches!(&failure, Failure::Transient { text } if text.contains("still deleting ada")),
        "{failure:?}"
    );
    assert!(confluence.user("ada").is_some());
    let applied = f.target.apply(&deleting(&user)).await.unwrap();
    assert!(applied.account.is_none());
    assert_eq!(confluence.user("ada"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_goes_wrong_keeps_confluences_words() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    let user = f.seeded(ada()).await;
    confluence.set_failing_deletions(true);
    let (_, text) = rejected(f.refused(&deleting(&user)).await);
    assert_eq!(
        text,
        "Confluence could not delete ada: Error during user deletion: The database did not like it"
    );
    // Half done: that is what it does first.
    assert!(!confluence.user("ada").unwrap().active);
    confluence.set_failing_deletions(false);
    f.done(&deleting(&user)).await;
    // The status of the task is of no account where the account itself is gone.
    let user = f.seeded(named("bob")).await;
    confluence.fault(
        Fault::once(FaultKind::status(404))
            .only(Only::path("/longtask/"))
            .times(usize::MAX),
    );
    let failure = f.target.apply(&deleting(&user)).await;
    assert!(
        !matches!(failure, Err(Failure::Rejected { .. })),
        "{failure:?}"
    );
    confluence.clear_faults();
    f.target.apply(&deleting(&user)).await.unwrap();
    assert_eq!(confluence.user("bob"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_through_another_group_cannot_be_taken_away() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    confluence.seed_subgroup("Outer", "inner");
    let user = f
        .seeded(Observed {
            groups: vec!["inner".into()],
            ..ada()
        })
        .await;
    let seen = f.target.observe(Lookup::Username("ada")).await;
    assert_eq!(seen.unwrap().unwrap().groups, ["inner", "Outer"]);
    let removing = |group: &str| Action::RemoveMember {
        remote_id: user.remote_id.clone(),
        username: user.username.clone(),
        group: group.into(),
    };
    let (_, text) = rejected(f.refused(&removing("outer")).await);
    assert!(text.contains("through another group"), "{text}");
    f.done(&removing("inner")).await;
    f.already(&removing("outer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_list_of_groups_is_no_list() {
    let (f, confluence) = fixture(ConfluenceOptions {
        page_cap: 7,
        ..ConfluenceOptions::default()
    });
    let groups: Vec<String> = (10..40).map(|i| format!("group-{i}")).collect();
    let user = f
        .seeded(Observed {
            groups: groups.clone(),
            ..ada()
        })
        .await;
    confluence.clear_requests();
    let seen = f.target.observe(Lookup::Username("ada")).await;
    assert_eq!(seen.unwrap().unwrap().groups, groups);
    assert_eq!(confluence.requests().len(), 1 + 5);
    // A page is lost on the way.
    let pages = || Only::path("/memberof");
    confluence.fault(Fault::once(FaultKind::Slow(Duration::ZERO)).only(pages()));
    confluence.fault(Fault::once(FaultKind::DropBefore).only(pages()));
    let failure = f.target.observe(Lookup::RemoteId(&user.remote_id)).await;
    assert!(
        matches!(failure, Err(Failure::Transient { .. })),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn being_throttled_is_passed_on() {
    let (f, confluence) = fixture(ConfluenceOptions {
        rate_limit: Some(RateLimit {
            capacity: 2,
            per_second: 1,
        }),
        ..ConfluenceOptions::default()
    });
    let mut waits = Vec::new();
    for _ in 0..4 {
        if let Err(Failure::Throttled { after, .. }) = f.target.group_exists("none").await {
            waits.push(after);
        }
    }
    assert!(!waits.is_empty());
    assert!(
        waits.iter().all(|w| *w == Some(Duration::from_secs(1))),
        "{waits:?}"
    );
    confluence.set_rate_limit(None);
    assert_eq!(f.target.group_exists("none").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_transient_and_a_wrong_address_is_told() {
    let (f, confluence) = fixture(ConfluenceOptions {
        context_path: "/wiki".into(),
        ..ConfluenceOptions::default()
    });
    let user = f.seeded(ada()).await;
    confluence.set_down(true);
    let failure = f.refused(&deactivating(&user)).await;
    assert!(
        matches!(failure, Failure::Unreachable { .. }),
        "{failure:?}"
    );
    assert!(
        failure.to_string().contains("connection refused"),
        "{failure}"
    );
    confluence.set_down(false);
    f.done(&deactivating(&user)).await;

    let wrong = confluence.url().replace("/wiki", "/confluence");
    let wrong = target_with(&wrong, Credential::Bearer(TOKEN.into()));
    let (field, text) = rejected(wrong.check().await.unwrap_err());
    assert_eq!(field.as_deref(), Some("base_url"));
    assert!(
        text.contains("is not the address of a Confluence"),
        "{text}"
    );
    // Not "no such user": that would make Usher create everyone again.
    let failure = wrong.observe(Lookup::Username("ada")).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

/// Whatever goes wrong on the way, repeating every action until it succeeds leads to exactly what was wanted.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_through_chaos_everything_ends_as_wanted() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    confluence.chaos(Some(Chaos::new(20261124)));
    for i in 0..25 {
        let new = named(&format!("user{i}"));
        persist(&f, &create_user(&new)).await;
        let group = format!("group{}", i % 5);
        persist(
            &f,
            &Action::CreateGroup {
                name: group.clone(),
            },
        )
        .await;
        let user = observed(confluence.user(&new.username).unwrap());
        persist(&f, &adding(&user, &group)).await;
        persist(&f, &updating(&user, "Ada King")).await;
        match i % 3 {
            0 => persist(&f, &deactivating(&user)).await,
            1 => persist(&f, &deleting(&user)).await,
            _ => {}
        }
    }
    confluence.chaos(None);
    for i in 0..25 {
        let name = format!("user{i}");
        assert_eq!(confluence.creations(&name), 1);
        let user = confluence.user(&name);
        assert_eq!(user.is_none(), i % 3 == 1, "{user:?}");
        let Some(user) = user else { continue };
        let group = format!("group{}", i % 5);
        assert_eq!(user.groups, ["confluence-users".to_owned(), group]);
        assert_eq!(user.active, i % 3 == 2, "{user:?}");
        assert_eq!(
            (user.display_name.as_str(), user.email.as_str()),
            ("Ada King", "king@example.com")
        );
    }
    for i in 0..5 {
        assert_eq!(confluence.group_creations(&format!("group{i}")), 1);
    }
    let asked = confluence.requests();
    let struck = asked.iter().filter(|r| r.fault.is_some()).count();
    assert!(struck > 40, "{struck}");
}

async fn persist(f: &Fixture, action: &Action) {
    for _ in 0..50 {
        match f.target.apply(action).await {
            Ok(_) => return,
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
name = "wiki"
kind = "confluence-dc"
base_url = "http://127.0.0.1:1"
token = { env = "NONE" }

[[mapping]]
connection = "corp"
target = "wiki"
mode = "live"

[mapping.users]
operations = ["create", "update", "deactivate", "reactivate"]

[mapping.groups]
on_the_fly = true
create_missing = true
"#;

/// Pushed over SCIM, there in Confluence; and what Confluence cannot do holds nothing else up.
#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_person_appears_changes_leaves_and_comes_back() {
    for version in [[10, 0, 3], [9, 2, 0]] {
        let (f, confluence) = fixture(ConfluenceOptions {
            version,
            ..ConfluenceOptions::default()
        });
        let target = Arc::clone(&f.target);
        let connect = Arc::new(move |_: &_| Ok(Arc::clone(&target)));
        let app = App::connected(&sqlite(), connect).await;
        app.apply(CONFIGURATION).await;
        let token = app.token("corp").await;
        let person = |user_name: &str, name: &str| {
            Some(json!({
                "userName": user_name, "displayName": name,
                "emails": [{"value": "ada@example.com", "primary": true}],
            }))
        };
        let ada = app
            .send(&token, "POST", "/Users", person("Ada", "Ada Byron"))
            .await;
        let path = format!("/Users/{}", ada.id());
        app.drain().await;
        let user = confluence.user("ada").unwrap();
        assert_eq!(
            (user.name.as_str(), user.display_name.as_str()),
            ("ada", "Ada Byron")
        );

        // Another name, another user name and a group: two of them may be beyond it, and the third is not.
        let group = json!({"displayName": "wiki-devs", "members": [{"value": ada.id()}]});
        let put = app
            .send(&token, "PUT", &path, person("Augusta", "Ada King"))
            .await;
        assert_eq!(put.status, 200, "{}", put.json);
        app.send(&token, "POST", "/Groups", Some(group)).await;
        app.drain().await;
        let user = confluence.user("ada").unwrap();
        let updates = version[0] == 10;
        assert_eq!(user.display_name == "Ada King", updates);
        assert_eq!(user.groups, ["confluence-users", "wiki-devs"]);
        assert_eq!(app.drain().await, 0, "nothing is left to do");
        let writes = confluence.writes();
        app.pass(Duration::from_secs(600), 2).await;
        assert_eq!(confluence.writes(), writes);

        app.send(&token, "DELETE", &path, None).await;
        app.drain().await;
        assert!(!confluence.user("ada").unwrap().active);
        app.send(&token, "POST", "/Users", person("ada", "Ada King"))
            .await;
        app.pass(Duration::from_secs(2), 2).await;
        assert!(confluence.user("ada").unwrap().active);
        assert_eq!(confluence.creations("ada"), 1);
        app.stop().await;
    }
}

/// Confluence shows no addresses, so what was sent without an answer can only be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_whose_answer_was_lost_does_not_stay_when_the_former_one_is_wanted_again() {
    let (f, confluence) = fixture(ConfluenceOptions::default());
    let target = Arc::clone(&f.target);
    let connect = Arc::new(move |_: &_| Ok(Arc::clone(&target)));
    let app = App::connected(&sqlite(), connect).await;
    app.apply(CONFIGURATION).await;
    let token = app.token("corp").await;
    let person = |address: &str| {
        Some(json!({
            "userName": "ada", "displayName": "Ada", "emails": [{"value": address, "primary": true}],
        }))
    };
    let ada = app
        .send(&token, "POST", "/Users", person("ada@example.com"))
        .await;
    let path = format!("/Users/{}", ada.id());
    app.drain().await;
    let lost = Fault::once(FaultKind::DropAfter).only(Only::path("/admin/user/ada"));
    confluence.fault(lost);
    app.send(&token, "PUT", &path, person("ada@example.org"))
        .await;
    app.drain().await;
    let email = || confluence.user("ada").unwrap().email;
    assert_eq!(email(), "ada@example.org");
    app.send(&token, "PUT", &path, person("ada@example.com"))
        .await;
    app.pass(Duration::from_secs(60), 5).await;
    assert_eq!(email(), "ada@example.com");
    let writes = confluence.writes();
    app.pass(Duration::from_secs(600), 2).await;
    assert_eq!(confluence.writes(), writes);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_fits_the_vendors_description() {
    let file = description("USHER_OPENAPI_CONFLUENCE", "confluence-dc-10.0.3.json");
    let (Some(file), Some(python)) = (file, python()) else {
        return;
    };
    let recorded = std::sync::Mutex::new(Vec::new());
    suite::run_all(async || {
        // The path that the description itself has in front.
        let (f, confluence) = fixture(ConfluenceOptions {
            context_path: "/confluence".into(),
            ..ConfluenceOptions::default()
        });
        recorded.lock().unwrap().push(confluence);
        f
    })
    .await;
    let recorded = recorded.into_inner().unwrap();
    let requests: Vec<_> = recorded.iter().flat_map(|it| it.requests()).collect();
    validate(&python, &file, &requests, "");
}
