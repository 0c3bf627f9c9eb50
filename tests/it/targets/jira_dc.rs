//! Jira Data Center against an emulated one: the suite, and what only Jira has.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use usher::domain::{
    Action, Failure, LeadSuccessors, Lookup, Observed, SecretRef, TargetAuth, TargetKind,
    TargetSettings,
};
use usher::outbound::{Client, Credential, Options};
use usher::targets::{self, JiraDc, Target};
use usher_emulators::jira::{Jira, JiraOptions, JiraUser};
use usher_emulators::{Chaos, Fault, FaultKind, Only};

use super::fault;
use super::suite::{
    self, Backstage, Fixture, Strikes, Trouble, ada, adding, create_user, deactivation, rejected,
};

/// Long enough for a busy machine, short enough to be waited for.
const TIMEOUT: Duration = Duration::from_millis(3000);

const TOKEN: &str = "emulated-jira-token";

fn target_with(url: &str, credential: Credential) -> Arc<dyn Target> {
    let options = Options {
        timeout: TIMEOUT,
        ..Options::default()
    };
    Arc::new(JiraDc::new(Client::new(url, credential, options).unwrap()))
}

fn fixture(options: JiraOptions) -> (Fixture, Arc<Jira>) {
    let shown_groups = options.picker_cap;
    let jira = Arc::new(Jira::start(options).unwrap());
    let target = target_with(&jira.url(), Credential::Bearer(TOKEN.into()));
    (
        Fixture {
            target,
            backstage: Box::new(Behind(Arc::clone(&jira), shown_groups)),
        },
        jira,
    )
}

/// The Jira, and how many groups its picker shows.
struct Behind(Arc<Jira>, usize);

fn observed(user: JiraUser) -> Observed {
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
        self.0.set_token(if refused { "another" } else { TOKEN });
        true
    }

    async fn take_rights(&self) -> bool {
        self.0.set_system_admin("admin", false);
        self.0.edit_user("admin", |user| user.groups.clear());
        true
    }

    async fn set_read_only(&self, username: &str) -> bool {
        self.0.set_read_only(username);
        true
    }

    fn hides_groups(&self) -> bool {
        self.0.groups().len() > self.1
    }

    async fn trouble(&self, trouble: Trouble, strikes: Strikes) {
        self.0.fault(fault(trouble, strikes, TIMEOUT));
    }
}

fn successors(project: Option<&str>, component: Option<&str>) -> LeadSuccessors {
    LeadSuccessors {
        project: project.map(str::to_owned),
        component: component.map(str::to_owned),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_passes_the_suite() {
    let options = || JiraOptions {
        picker_cap: 10_000,
        ..JiraOptions::default()
    };
    let cases = suite::run_all(async || fixture(options()).0).await;
    eprintln!("jira-dc: {cases} cases");
}

/// Below a context path, the group picker showing next to nothing, spelling kept on a rename.
#[tokio::test(flavor = "multi_thread")]
async fn an_awkward_jira_passes_the_suite() {
    let options = || JiraOptions {
        context_path: "/jira".into(),
        keeps_old_case: true,
        default_group: None,
        version: [8, 3, 0],
        ..JiraOptions::default()
    };
    let cases = suite::run_all(async || fixture(options()).0).await;
    eprintln!("jira-dc 8.3 below /jira: {cases} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn made_by_the_registry_with_a_password() {
    let jira = Jira::start(JiraOptions::default()).unwrap();
    let settings = TargetSettings {
        name: "jira".into(),
        kind: TargetKind::JiraDc,
        base_url: format!("{}/", jira.url()),
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
        ("10.3.24", "admin")
    );
    assert!(
        check.rights.iter().any(|r| r.contains("administers")),
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

    let error = targets::connect(
        &TargetSettings {
            base_url: "jira".into(),
            ..settings
        },
        basic("x"),
    )
    .err()
    .unwrap();
    assert!(error.to_string().starts_with("base_url: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_rights_is_told_from_a_refused_record() {
    let (f, jira) = fixture(JiraOptions::default());
    jira.seed_user("plain", "Plain", "plain@example.com");
    jira.set_password("plain", "secret-word");
    let user = f.seeded(ada()).await;
    let credential = Credential::Basic {
        username: "plain".into(),
        password: "secret-word".into(),
    };
    let plain = target_with(&jira.url(), credential);
    for action in [
        create_user(&Observed {
            username: "new".into(),
            ..ada()
        }),
        adding(&user, "devs"),
    ] {
        let failure = plain.apply(&action).await.unwrap_err();
        assert!(
            matches!(failure, Failure::Unauthorized { .. }),
            "{failure:?}"
        );
        assert!(
            failure.to_string().contains("do not have permission"),
            "{failure}"
        );
    }
    let check = plain.check().await.unwrap();
    assert_eq!(
        check.warnings,
        ["plain is no Jira administrator: nothing can be written"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_jira_refuses_keep_its_words() {
    let (f, jira) = fixture(JiraOptions::default());
    let user = f.seeded(ada()).await;
    jira.set_read_only("ada");
    let text = rejected(
        f.refused(&deactivation(&user, successors(None, None)))
            .await,
    );
    assert_eq!(
        text,
        "Cannot edit user, as the user's directory is read-only"
    );
    assert!(jira.user("ada").unwrap().active);

    jira.set_read_only_directory(true);
    let new = Observed {
        username: "new".into(),
        ..ada()
    };
    let text = rejected(f.refused(&create_user(&new)).await);
    assert_eq!(
        text,
        "Cannot add user, as all the user directories are read-only"
    );
    jira.set_read_only_directory(false);

    for (username, email, field) in [
        ("a<b", "a@example.com", "username"),
        ("ab", "nobody", "email"),
    ] {
        let bad = Observed {
            username: username.into(),
            email: Some(email.into()),
            ..ada()
        };
        match f.refused(&create_user(&bad)).await {
            Failure::Rejected { field: named, .. } => assert_eq!(named.as_deref(), Some(field)),
            other => panic!("{other:?}"),
        }
    }
    let admin = f
        .target
        .observe(Lookup::Username("admin"))
        .await
        .unwrap()
        .unwrap();
    let text = rejected(
        f.refused(&deactivation(&admin, successors(None, None)))
            .await,
    );
    assert!(text.contains("currently logged in"), "{text}");

    let admins = f.target.protected().await.unwrap();
    assert_eq!(admins.users, ["admin"]);
    assert!(admins.groups.contains(&"jira-administrators".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_jira_is_found_out_and_told() {
    let (f, jira) = fixture(JiraOptions {
        version: [8, 2, 4],
        ..JiraOptions::default()
    });
    let user = f.seeded(ada()).await;
    let text = rejected(
        f.refused(&deactivation(&user, successors(None, None)))
            .await,
    );
    assert_eq!(
        text,
        "Jira 8.2.4 ignores `active` over REST; needs 8.3 or later"
    );
    assert!(jira.user("ada").unwrap().active);
    let check = f.target.check().await.unwrap();
    assert_eq!(
        check.warnings,
        ["Jira 8.2.4 cannot deactivate or reactivate over REST: needs 8.3 or later"]
    );
    // An upgrade is noticed without a restart.
    jira.set_version([8, 3, 0]);
    f.done(&deactivation(&user, successors(None, None))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_old_accounts_and_renames_by_hand() {
    let (f, jira) = fixture(JiraOptions::default());
    let key = jira.seed_old_user("Ada", "Ada Lovelace", "ada@example.com");
    assert_eq!(key, "ada");
    let user = f
        .target
        .observe(Lookup::Username("ada"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (user.remote_id.as_str(), user.username.as_str()),
        ("ada", "Ada")
    );
    jira.edit_user("ada", |user| user.name = "augusta".into());
    // Somebody else gets the old name.
    jira.seed_user("ada", "Another", "another@example.com");
    f.done(&deactivation(&user, successors(None, None))).await;
    assert!(
        !jira.user("augusta").unwrap().active,
        "the one meant, under the present name"
    );
    assert!(jira.user("ada").unwrap().active);
}

fn leads(jira: &Jira) {
    for name in ["pm", "cm", "bob"] {
        jira.seed_user(name, name, &format!("{name}@example.com"));
    }
    jira.seed_project(
        "PA",
        "ada",
        &[("API", "ada"), ("Docs", "bob"), ("Empty", "")],
    );
    jira.seed_project("PB", "bob", &[("Web", "ada")]);
    jira.seed_project("PC", "bob", &[("Rest", "bob")]);
    jira.seed_project("OLD", "ada", &[]);
    jira.archive_project("OLD");
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_are_handed_over() {
    let (f, jira) = fixture(JiraOptions::default());
    let user = f.seeded(ada()).await;
    leads(&jira);
    jira.clear_requests();
    let applied = f
        .done(&deactivation(&user, successors(Some("pm"), Some("cm"))))
        .await;
    assert!(!applied.account.unwrap().active && !jira.user("ada").unwrap().active);
    assert_eq!(jira.project_lead("PA").as_deref(), Some("pm"));
    assert_eq!(
        jira.project_lead("OLD").as_deref(),
        Some("pm"),
        "archived ones too"
    );
    assert_eq!(jira.project_lead("PB").as_deref(), Some("bob"));
    assert_eq!(jira.component_lead("PA", "API").as_deref(), Some("cm"));
    assert_eq!(jira.component_lead("PB", "Web").as_deref(), Some("cm"));
    assert_eq!(jira.component_lead("PA", "Docs").as_deref(), Some("bob"));
    assert_eq!(jira.component_lead("PA", "Empty"), None);
    let mut notes = applied.notes;
    notes.sort();
    assert_eq!(
        notes,
        [
            "component API of PA handed over from ada to cm",
            "component Web of PB handed over from ada to cm",
            "ended the sessions of ada",
            "project OLD handed over from ada to pm",
            "project PA handed over from ada to pm",
        ]
    );
    // A refused attempt, four leads, the deactivation, the sessions.
    assert_eq!(jira.writes(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn components_alone_go_to_the_leads_of_their_projects() {
    let (f, jira) = fixture(JiraOptions::default());
    let user = f.seeded(ada()).await;
    jira.seed_user("bob", "Bob", "bob@example.com");
    jira.seed_project("PB", "bob", &[("Web", "ada")]);
    f.done(&deactivation(&user, successors(None, None))).await;
    assert_eq!(jira.component_lead("PB", "Web").as_deref(), Some("bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_without_a_successor_keep_the_account_as_it_is() {
    for (project, component, expected) in [
        (None, None, "set default_project_lead"),
        (None, Some("cm"), "set default_project_lead"),
        (Some("nobody"), None, "the successor nobody does not exist"),
        (Some("pm"), Some("gone"), "the successor gone is inactive"),
        (Some("Ada"), Some("cm"), "Ada cannot succeed itself"),
    ] {
        let (f, jira) = fixture(JiraOptions::default());
        let user = f.seeded(ada()).await;
        leads(&jira);
        jira.seed_user("gone", "Gone", "gone@example.com");
        jira.edit_user("gone", |user| user.active = false);
        jira.clear_requests();
        let text = rejected(
            f.refused(&deactivation(&user, successors(project, component)))
                .await,
        );
        assert!(text.contains(expected), "{text}");
        assert!(
            text.starts_with("Cannot deactivate user because"),
            "Jira's words: {text}"
        );
        assert!(jira.user("ada").unwrap().active);
        assert_eq!(jira.project_lead("PA").as_deref(), Some("ada"));
        assert_eq!(jira.component_lead("PB", "Web").as_deref(), Some("ada"));
        assert_eq!(jira.writes(), 1, "only the attempt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_cut_off_is_finished_by_the_next_attempt() {
    for path in ["/project/", "/component/"] {
        for kind in [
            FaultKind::DropAfter,
            FaultKind::DropBefore,
            FaultKind::status(503),
        ] {
            let (f, jira) = fixture(JiraOptions::default());
            let user = f.seeded(ada()).await;
            leads(&jira);
            jira.fault(Fault::once(kind).only(Only::method_path("PUT", path)));
            let action = deactivation(&user, successors(Some("pm"), Some("cm")));
            let failure = f.refused(&action).await;
            assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
            f.done(&action).await;
            assert_eq!(jira.project_lead("PA").as_deref(), Some("pm"));
            assert_eq!(jira.component_lead("PB", "Web").as_deref(), Some("cm"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_projects_are_a_few_requests() {
    let (f, jira) = fixture(JiraOptions::default());
    let user = f.seeded(ada()).await;
    jira.seed_user("bob", "Bob", "bob@example.com");
    for i in 0..5000 {
        jira.seed_project(&format!("P{i}"), "bob", &[("C", "bob")]);
    }
    jira.seed_project("LAST", "ada", &[("C", "ada")]);
    jira.clear_requests();
    f.done(&deactivation(&user, successors(Some("bob"), None)))
        .await;
    assert!(jira.requests().len() < 25, "{}", jira.requests().len());
    assert_eq!(jira.component_lead("LAST", "C").as_deref(), Some("bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_picker_does_not_show_is_there() {
    let (f, jira) = fixture(JiraOptions {
        picker_cap: 3,
        ..JiraOptions::default()
    });
    for i in 0..9 {
        jira.seed_group(&format!("a-dev-{i}"));
    }
    jira.seed_group("dev");
    assert_eq!(f.target.group_exists("dev").await, Ok(Some("dev".into())));
    assert_eq!(f.target.group_exists("dev-").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_transient_and_a_wrong_address_is_told() {
    let (f, jira) = fixture(JiraOptions {
        context_path: "/jira".into(),
        ..JiraOptions::default()
    });
    let user = f.seeded(ada()).await;
    jira.set_down(true);
    let failure = f
        .refused(&deactivation(&user, successors(None, None)))
        .await;
    assert!(
        matches!(failure, Failure::Unreachable { .. }),
        "{failure:?}"
    );
    assert!(
        failure.to_string().contains("connection refused"),
        "{failure}"
    );
    jira.set_down(false);
    f.done(&deactivation(&user, successors(None, None))).await;

    let wrong = jira.url().replace("/jira", "/wiki");
    let wrong = target_with(&wrong, Credential::Bearer(TOKEN.into()));
    let text = rejected(wrong.check().await.unwrap_err());
    assert!(text.contains("is not the address of a Jira"), "{text}");
    // Not "no such user": that would make Usher create everyone again.
    let failure = wrong.observe(Lookup::Username("ada")).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

/// Whatever goes wrong on the way, repeating every action until it succeeds leads to exactly what was wanted.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_through_chaos_everything_ends_as_wanted() {
    let (f, jira) = fixture(JiraOptions::default());
    jira.seed_user("pm", "PM", "pm@example.com");
    jira.chaos(Some(Chaos::new(20261124)));
    for i in 0..25 {
        let name = format!("user{i}");
        let email = Some(format!("{name}@example.com"));
        let new = Observed {
            username: name.clone(),
            email,
            ..ada()
        };
        let created = persist(&f, &create_user(&new)).await;
        let group = format!("group{}", i % 5);
        persist(
            &f,
            &Action::CreateGroup {
                name: group.clone(),
            },
        )
        .await;
        let user = created.unwrap_or(Observed {
            remote_id: jira.user(&name).unwrap().key,
            ..new
        });
        persist(&f, &adding(&user, &group)).await;
        if i % 2 == 0 {
            jira.seed_project(&format!("Q{i}"), &name, &[("C", &name)]);
            persist(&f, &deactivation(&user, successors(Some("pm"), None))).await;
        }
    }
    jira.chaos(None);
    for i in 0..25 {
        let user = jira.user(&format!("user{i}")).unwrap();
        assert!(user.groups.contains(&format!("group{}", i % 5)), "{user:?}");
        assert_eq!(user.active, i % 2 == 1, "{user:?}");
        assert_eq!(jira.creations(&user.name), 1);
    }
    assert_eq!(jira.project_lead("Q24").as_deref(), Some("pm"));
    let struck = jira.requests().iter().filter(|r| r.fault.is_some()).count();
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
