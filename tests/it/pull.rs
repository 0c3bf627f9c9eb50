//! Reading an emulated domain: what comes into the mirror, what leaves it, and above all what does not.

mod bad_reads;
mod commands;
mod drift;
mod races;

use std::collections::BTreeMap;
use std::sync::Arc;

use usher::clock::Clock;
use usher::domain::{Connection, UserId};
use usher::idcs::{Idcs, Options, Secret};
use usher::reconcile::{Extent, Reconciler, Report, Scheduler, Who};
use usher::store::{runs, settings, source, users};
use usher::targets::memory::Memory;
use usher_emulators::idcs::{DeactivateForm, IdcsPush, Person, RemoveForm};
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain, SigningKey};

use super::harness::{App, Database, databases, sqlite};

/// A domain, a server that reads it, and a target in memory.
struct World {
    domain: IdcsDomain,
    app: App,
    memory: Memory,
    reconciler: Reconciler,
}

fn configuration(url: &str, lines: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"
base_url = "{url}"
client_id = "usher-client"
client_secret = {{ env = "NONE" }}
requests_per_second = 1000
{lines}

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = {{ env = "NONE" }}

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
"#
    )
}

/// A reconciler whose clients know the secret and lose no time with waiting.
fn reconciler(app: &App, refresh: Option<Arc<dyn usher::idcs::RefreshTokens>>) -> Reconciler {
    let clock = app.clock.clone();
    Reconciler::new(
        app.store().clone(),
        app.parts.intake.clone(),
        app.clock.clone(),
        Arc::new(move |connection: &Connection, attributes: &[String]| {
            reading(
                connection,
                attributes,
                "usher-client-secret",
                refresh.clone(),
                &clock,
            )
        }),
    )
}

fn client(
    connection: &Connection,
    secret: &str,
    refresh: Option<Arc<dyn usher::idcs::RefreshTokens>>,
    clock: &Clock,
) -> Result<Idcs, String> {
    reading(connection, &[], secret, refresh, clock)
}

fn reading(
    connection: &Connection,
    attributes: &[String],
    secret: &str,
    refresh: Option<Arc<dyn usher::idcs::RefreshTokens>>,
    clock: &Clock,
) -> Result<Idcs, String> {
    let secret = Secret {
        value: secret.into(),
        refresh,
    };
    let options = Options {
        attempts: 2,
        throttled_attempts: 2,
        backoff: std::time::Duration::from_millis(1),
        ..Options::default()
    };
    let pull = connection.settings.pull.as_ref().unwrap();
    Idcs::new(pull, attributes, secret, options, clock.clone()).map_err(|e| e.to_string())
}

impl World {
    async fn start(database: &Database, options: DomainOptions, lines: &str) -> Self {
        let domain = IdcsDomain::start(options).unwrap();
        let memory = Memory::new();
        let app = App::start(database, &memory).await;
        domain.set_now(app.clock.now());
        app.apply(&configuration(&domain.url(), lines)).await;
        let reconciler = reconciler(&app, None);
        Self {
            domain,
            app,
            memory,
            reconciler,
        }
    }

    async fn connection(&self) -> Connection {
        let configuration = self.app.store().read(settings::load).await.unwrap();
        configuration.connections.into_iter().next().unwrap()
    }

    async fn run(&self, extent: Extent) -> Report {
        self.try_run(extent).await.unwrap()
    }

    async fn try_run(&self, extent: Extent) -> Result<Report, usher::reconcile::Error> {
        let connection = self.connection().await;
        self.reconciler
            .run(&connection, extent, "test", false, None)
            .await
    }

    /// Lets time pass, for the domain too.
    fn later(&self, seconds: i64) {
        self.app.clock.advance_ms(seconds * 1000);
        self.domain.set_now(self.app.clock.now());
    }

    async fn push(&self) -> IdcsPush {
        IdcsPush::new(&self.app.scim, &self.app.token("corp").await)
    }

    /// The living users of the mirror with their groups.
    async fn mirror(&self) -> BTreeMap<String, Vec<String>> {
        let (_, people) = self.listed().await;
        people
    }

    async fn listed(&self) -> (usize, BTreeMap<String, Vec<String>>) {
        let token = self.app.token("corp").await;
        let (mut start, mut found) = (1, BTreeMap::new());
        loop {
            let path = format!("/Users?startIndex={start}&count=200");
            let page = self.app.send(&token, "GET", &path, None).await.json;
            let rows = page["Resources"].as_array().cloned().unwrap_or_default();
            for user in &rows {
                let names = user["groups"].as_array().cloned().unwrap_or_default();
                let mut names: Vec<String> = names
                    .iter()
                    .map(|it| it["display"].as_str().unwrap().to_owned())
                    .collect();
                names.sort();
                let name = user["userName"].as_str().unwrap().to_owned();
                let twice = found.insert(name, names);
                assert_eq!(twice, None, "somebody is there twice");
            }
            start += rows.len();
            let total = usize::try_from(page["totalResults"].as_u64().unwrap()).unwrap();
            if start > total {
                return (total, found);
            }
        }
    }

    async fn results(&self, report: &Report) -> Vec<runs::RunResult> {
        let id = report.run.clone();
        let read = move |conn: &mut _| runs::results(conn, &id, 1000);
        self.app.store().read(read).await.unwrap()
    }

    async fn user_id(&self, name: &str) -> UserId {
        let name = name.to_owned();
        let found = self
            .app
            .store()
            .read(move |conn| users::named(conn, &name))
            .await
            .unwrap();
        found.into_iter().next().unwrap()
    }
}

fn person(name: &str) -> Person {
    let mut person = Person::new(&format!("{name}@example.com"), name, "Test");
    person.recovery_email = Some(format!("{name}@home.example"));
    person
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_read_and_the_second_time_nothing_is_written() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "").await;
        let ids: Vec<String> = ["ada", "bob", "eve"]
            .map(|name| world.domain.add_user(&person(name)))
            .to_vec();
        let group = world.domain.add_group("jira-users");
        world.domain.add_members(&group, &[&ids[0], &ids[1]]);
        let report = world.run(Extent::Incremental).await;
        assert_eq!(
            (report.state, report.kind.as_str()),
            ("done", "full"),
            "{report:?}"
        );
        assert_eq!(report.counts.created, 4);
        assert_eq!(report.counts.joined, 2);
        assert_eq!(report.counts.missed_pushes, 0);
        world.app.drain().await;
        let ada = world.memory.user("ada@example.com").unwrap();
        assert_eq!(ada.email.as_deref(), Some("ada@example.com"));
        assert!(world.memory.user("eve@example.com").is_some());
        assert_eq!(world.mirror().await["bob@example.com"], ["jira-users"]);

        world.memory.clear_writes();
        for extent in [Extent::Full, Extent::Incremental] {
            world.later(60);
            let report = world.run(extent).await;
            let counts = report.counts;
            assert_eq!(report.state, "done");
            assert_eq!(
                (counts.created, counts.changed, counts.joined, counts.left),
                (0, 0, 0, 0),
                "{counts:?}"
            );
            assert!(world.results(&report).await.is_empty());
            assert_eq!(world.app.drain().await, 0, "nothing was marked");
        }
        assert!(world.memory.writes().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_comes_with_the_next_run_of_either_kind() {
    for extent in [Extent::Full, Extent::Incremental] {
        let world = World::start(&sqlite(), DomainOptions::default(), "").await;
        let ada = world.domain.add_user(&person("ada"));
        let bob = world.domain.add_user(&person("bob"));
        let group = world.domain.add_group("jira-users");
        world.domain.add_members(&group, &[&ada]);
        world.run(Extent::Full).await;
        world.app.drain().await;
        world.later(600);
        world
            .domain
            .edit_user(&ada, |it| it.display_name = "Ada Lovelace".to_owned());
        world.domain.set_active(&bob, false);
        world.domain.rename_group(&group, "jira-people");
        world.domain.add_members(&group, &[&bob]);
        let report = world.run(extent).await;
        assert!(report.counts.changed >= 3, "{report:?}");
        world.app.drain().await;
        assert_eq!(
            world.memory.user("ada@example.com").unwrap().display_name,
            "Ada Lovelace"
        );
        assert!(!world.memory.user("bob@example.com").unwrap().active);
        assert_eq!(world.mirror().await["bob@example.com"], ["jira-people"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_domain_has_no_more_goes_and_memberships_with_them() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "").await;
        let ids: Vec<String> = ["ada", "bob", "eve"]
            .map(|it| world.domain.add_user(&person(it)))
            .to_vec();
        let group = world.domain.add_group("jira-users");
        let other = world.domain.add_group("jira-other");
        world
            .domain
            .add_members(&group, &[&ids[0], &ids[1], &ids[2]]);
        world.domain.add_members(&other, &[&ids[0]]);
        world.run(Extent::Full).await;
        world.app.drain().await;
        world.later(600);
        world.domain.delete_user(&ids[2]);
        world.domain.remove_member(&group, &ids[1]);
        world.domain.delete_group(&other);
        let report = world.run(Extent::Full).await;
        assert_eq!(
            (report.counts.removed, report.counts.left),
            (2, 1),
            "{report:?}"
        );
        let mirror = world.mirror().await;
        assert_eq!(mirror.len(), 2);
        assert_eq!(mirror["ada@example.com"], ["jira-users"]);
        assert!(mirror["bob@example.com"].is_empty());
        world.app.drain().await;
        assert!(!world.memory.user("eve@example.com").unwrap().active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_being_deleted_and_machine_accounts_get_no_access() {
    let world = World::start(&sqlite(), DomainOptions::default(), "").await;
    let ada = world.domain.add_user(&person("ada"));
    let robot = world.domain.add_user(&person("robot"));
    world.domain.set_service_user(&robot);
    world.run(Extent::Full).await;
    world.app.drain().await;
    assert!(world.memory.user("robot@example.com").is_none());
    assert!(world.memory.user("ada@example.com").unwrap().active);
    world.later(600);
    world.domain.set_delete_in_progress(&ada);
    world.run(Extent::Incremental).await;
    world.app.drain().await;
    assert!(!world.memory.user("ada@example.com").unwrap().active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_user_is_the_one_that_was_pushed_and_misses_are_counted() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "").await;
        let ada = world.domain.add_user(&person("ada"));
        let push = world.push().await;
        let pushed = push.create(&person("ada")).await;
        assert!(pushed.ok());
        world.app.drain().await;
        world.later(600);
        let report = world.run(Extent::Full).await;
        assert_eq!(
            (report.counts.created, report.counts.missed_pushes),
            (0, 0),
            "{report:?}"
        );
        assert_eq!(world.mirror().await.len(), 1);
        assert_eq!(world.user_id("ada@example.com").await.as_str(), pushed.id());

        // Two changes that no push brings, one that a push does.
        world.later(600);
        world
            .domain
            .edit_user(&ada, |it| it.family_name = "Lovelace".to_owned());
        world.domain.add_user(&person("bob"));
        let report = world.run(Extent::Full).await;
        assert_eq!(
            report.counts.missed_pushes,
            2,
            "{:?}",
            world.results(&report).await
        );
        let lines = world.results(&report).await;
        assert!(
            lines
                .iter()
                .any(|it| it.subject == "ada@example.com" && it.missed_push && it.detail == "name"),
            "{lines:?}"
        );
        world.later(600);
        world.domain.set_active(&ada, false);
        push.deactivate(pushed.id(), DeactivateForm::Plain).await;
        world.later(600);
        assert_eq!(world.run(Extent::Full).await.counts.missed_pushes, 0);
        // Renamed in the domain: still the same one.
        world
            .domain
            .edit_user(&ada, |it| it.user_name = "countess@example.com".to_owned());
        world.run(Extent::Full).await;
        assert_eq!(
            world.user_id("countess@example.com").await.as_str(),
            pushed.id()
        );
        assert_eq!(world.mirror().await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_push_took_away_stays_away_until_a_push_or_a_person_says_otherwise() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "").await;
        let ada = world.domain.add_user(&person("ada"));
        world.domain.add_user(&person("bob"));
        let push = world.push().await;
        let first = push.create(&person("ada")).await.id().to_owned();
        world.run(Extent::Full).await;
        world.app.drain().await;
        push.revoke(&first).await;
        world.later(600);
        for number in [2, 3] {
            let report = world.run(Extent::Full).await;
            assert_eq!(report.counts.revoked, 1, "{report:?}");
            // Who is gone here counts neither as known nor as seen, although the domain shows it.
            let id = world.connection().await.id;
            let covered = move |conn: &mut _| source::users_covered(conn, &id, number);
            let covered = world.app.store().read(covered).await.unwrap();
            assert_eq!((covered.known, covered.seen), (1, 1));
            world.app.drain().await;
            assert_eq!(world.mirror().await.len(), 1);
            assert!(!world.memory.user("ada@example.com").unwrap().active);
            world.later(86_400 * 40);
        }
        let connection = world.connection().await;
        let synced = world
            .reconciler
            .one_user(&connection, &Who::Id(ada.clone()), "login", false)
            .await
            .unwrap();
        assert!(synced.revoked && synced.user_id.is_none());
        let synced = world
            .reconciler
            .one_user(
                &connection,
                &Who::Name("ada@example.com".to_owned()),
                "usher sync",
                true,
            )
            .await
            .unwrap();
        assert!(synced.changed, "{synced:?}");
        world.app.drain().await;
        // The account is handed over from the one whom the push took away, which takes a second look.
        world.app.pass(std::time::Duration::from_secs(60), 5).await;
        assert!(world.memory.user("ada@example.com").unwrap().active);
        world.later(600);
        let report = world.run(Extent::Full).await;
        assert_eq!(
            (report.counts.revoked, report.counts.created),
            (0, 0),
            "{report:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_whom_the_application_is_granted_to_are_in_scope() {
    for database in databases() {
        let lines = "app_id = \"jira-app\"\nonly_granted = true";
        let world = World::start(&database, DomainOptions::default(), lines).await;
        let ids: Vec<String> = ["ada", "bob", "eve"]
            .map(|it| world.domain.add_user(&person(it)))
            .to_vec();
        let group = world.domain.add_group("jira-users");
        world.domain.add_members(&group, &[&ids[1]]);
        world.domain.grant("jira-app", "User", &ids[0]);
        world.domain.grant("jira-app", "Group", &group);
        world.domain.grant("other-app", "User", &ids[2]);
        world.run(Extent::Full).await;
        world.app.drain().await;
        let has = |name: &str| {
            world
                .memory
                .user(&format!("{name}@example.com"))
                .is_some_and(|it| it.active)
        };
        assert!(has("ada") && has("bob") && !has("eve"));

        world.later(600);
        world.domain.revoke_grant(&ids[0]);
        world.domain.add_members(&group, &[&ids[2]]);
        let report = world.run(Extent::Full).await;
        assert_eq!(
            (report.counts.granted, report.counts.ungranted),
            (1, 1),
            "{report:?}"
        );
        world.app.drain().await;
        assert!(!has("ada") && has("bob") && has("eve"));

        // Without the setting everyone is in scope again.
        world
            .app
            .apply(&configuration(&world.domain.url(), ""))
            .await;
        world.later(600);
        world.run(Extent::Full).await;
        world.app.drain().await;
        assert!(has("ada"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_refresh_only_those_who_were_pushed() {
    let lines = "pull_users = \"pushed\"\npull_groups = 'displayName sw \"jira-\"'";
    let world = World::start(&sqlite(), DomainOptions::default(), lines).await;
    let ada = world.domain.add_user(&person("ada"));
    let bob = world.domain.add_user(&person("bob"));
    let group = world.domain.add_group("jira-users");
    let other = world.domain.add_group("hr");
    world.domain.add_members(&group, &[&ada, &bob]);
    world.domain.add_members(&other, &[&ada]);
    world.push().await.create(&person("ada")).await;
    let report = world.run(Extent::Full).await;
    assert_eq!(report.counts.groups, 1);
    let mirror = world.mirror().await;
    assert_eq!(mirror.len(), 1);
    assert_eq!(mirror["ada@example.com"], ["jira-users"]);
    // Pushed later: the memberships come with the next run, although the group did not change.
    world.push().await.create(&person("bob")).await;
    world.later(600);
    world.run(Extent::Full).await;
    assert_eq!(world.mirror().await["bob@example.com"], ["jira-users"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_new_with_the_name_of_somebody_gone_is_another_one() {
    let world = World::start(&sqlite(), DomainOptions::default(), "").await;
    let first = world.domain.add_user(&person("ada"));
    world.domain.add_user(&person("bob"));
    world.run(Extent::Full).await;
    let before = world.user_id("ada@example.com").await;
    world.domain.delete_user(&first);
    let second = world.domain.add_user(&person("ada"));
    world.later(600);
    world.run(Extent::Full).await;
    assert_eq!(world.mirror().await.len(), 2);
    let after = world.user_id("ada@example.com").await;
    assert_ne!(before, after);
    let of_user = world
        .app
        .store()
        .read(move |conn| source::of_user(conn, &after))
        .await
        .unwrap();
    assert_eq!(of_user, Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_domains_do_not_share_an_account() {
    let world = World::start(&sqlite(), DomainOptions::default(), "").await;
    let second = IdcsDomain::start(DomainOptions::default()).unwrap();
    second.set_now(world.app.clock.now());
    let more = configuration(&second.url(), "").replace("\"corp\"", "\"zeta\"");
    world.app.apply(&more).await;
    world.domain.add_user(&person("ada"));
    second.add_user(&person("ada"));
    second.add_user(&person("zoe"));
    world.run(Extent::Full).await;
    world.app.drain().await;
    let configuration = world.app.store().read(settings::load).await.unwrap();
    let zeta = configuration
        .connections
        .iter()
        .find(|it| it.settings.name == "zeta")
        .unwrap();
    world
        .reconciler
        .run(zeta, Extent::Full, "test", false, None)
        .await
        .unwrap();
    world.app.drain().await;
    assert!(world.memory.user("zoe@example.com").is_some());
    assert_eq!(world.memory.users().len(), 2, "{:?}", world.memory.users());
    // The second one is held with words, and changes nothing at the first one's account.
    let status = world
        .app
        .store()
        .read(usher::store::work::status)
        .await
        .unwrap();
    assert_eq!(status[0].held, 1, "{status:?}");
    second.set_active(&second.user_ids()[0], false);
    world.later(600);
    world
        .reconciler
        .run(zeta, Extent::Full, "test", false, None)
        .await
        .unwrap();
    world.app.drain().await;
    assert!(world.memory.user("ada@example.com").unwrap().active);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_catch_up_once_and_one_run_is_at_a_time() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "schedule = \"30m\"").await;
        world.domain.add_user(&person("ada"));
        let scheduler = Scheduler::new(world.reconciler.clone());
        let connection = world.connection().await;
        let due = async || scheduler.due().await.unwrap().len();
        let scheduled = async || {
            world
                .reconciler
                .run(&connection, Extent::AsDue, "schedule", true, None)
                .await
        };
        assert_eq!(due().await, 1);
        assert_eq!(scheduled().await.unwrap().kind, "full");
        assert_eq!(due().await, 0);
        world.later(29 * 60);
        assert_eq!(due().await, 0);
        // Down for five hours: ten times were missed, one run makes up for them.
        world.later(5 * 3600);
        assert_eq!(due().await, 1);
        assert_eq!(scheduled().await.unwrap().kind, "incremental");
        assert_eq!(due().await, 0);
        world.later(3600);
        assert_eq!(
            scheduled().await.unwrap().kind,
            "full",
            "the last full one is six hours old"
        );

        // Somebody else is at it, and dies.
        let (id, now) = (connection.id.clone(), world.app.clock.now());
        let begun = world
            .app
            .store()
            .write(move |tx| runs::begin(tx, &id, "full", "other", false, now, now + 60_000_000))
            .await
            .unwrap();
        assert!(begun.is_some());
        world.later(30);
        assert!(matches!(
            scheduled().await,
            Err(usher::reconcile::Error::Busy)
        ));
        world.later(3600);
        assert_eq!(scheduled().await.unwrap().state, "done");
        let all = world
            .app
            .store()
            .read(|conn| runs::list(conn, None, None, 10))
            .await
            .unwrap();
        let dead = all.iter().find(|it| it.cause == "other").unwrap();
        assert_eq!(dead.state, "failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_groups_are_read_in_pages_and_twice_only_when_they_changed() {
    let world = World::start(&sqlite(), DomainOptions::default(), "").await;
    let ids: Vec<String> = (0..2300)
        .map(|it| world.domain.add_user(&person(&format!("u{it}"))))
        .collect();
    let group = world.domain.add_group("jira-users");
    let members: Vec<&str> = ids.iter().map(String::as_str).collect();
    world.domain.add_members(&group, &members);
    let report = world.run(Extent::Full).await;
    assert_eq!(report.counts.joined, 2300, "{report:?}");
    world.later(600);
    world.domain.clear_requests();
    let report = world.run(Extent::Full).await;
    // Users 3, groups 1, members 3: nothing is asked twice.
    assert_eq!(report.counts.requests, 7, "{report:?}");
    world.later(600);
    world.domain.remove_member(&group, &ids[1500]);
    let report = world.run(Extent::Full).await;
    assert_eq!(
        (report.counts.left, report.counts.joined),
        (1, 0),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_very_many_have_changed_nobody_is_asked_about_alone() {
    let world = World::start(&sqlite(), DomainOptions::default(), "").await;
    let ids: Vec<String> = (0..1_200)
        .map(|n| world.domain.add_user(&person(&format!("p{n}"))))
        .collect();
    world.run(Extent::Full).await;
    for (changed, most) in [(1_200, 10), (5, 15)] {
        world.later(600);
        for id in ids.iter().take(changed) {
            world.domain.edit_user(id, |it| it.display_name.push('x'));
        }
        let report = world.run(Extent::Incremental).await;
        assert_eq!(report.counts.changed, changed as u64, "{report:?}");
        assert!(report.counts.requests <= most, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_may_prove_itself_with_a_key() {
    let domain = IdcsDomain::start(DomainOptions::default()).unwrap();
    let key = SigningKey::generate();
    domain.trust_client_key(&key);
    let app = App::start(&sqlite(), &Memory::new()).await;
    domain.set_now(app.clock.now());
    let text = configuration(&domain.url(), "").replace("client_secret =", "private_key =");
    app.apply(&text).await;
    let configuration = app.store().read(settings::load).await.unwrap();
    let connection = &configuration.connections[0];
    let steps = client(connection, &key.pem(), None, &app.clock)
        .unwrap()
        .check()
        .await;
    assert!(steps.iter().all(|it| it.outcome.is_ok()), "{steps:?}");
    let stranger = SigningKey::generate().pem();
    let steps = client(connection, &stranger, None, &app.clock)
        .unwrap()
        .check()
        .await;
    assert!(
        steps[0]
            .outcome
            .as_ref()
            .unwrap_err()
            .contains("invalid_client"),
        "{steps:?}"
    );
    assert!(
        client(connection, "no key", None, &app.clock)
            .unwrap_err()
            .contains("PEM")
    );
}

/// Groups are made of an attribute that only the mapping names: the domain is asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_mapping_makes_groups_of_is_read() {
    for database in databases() {
        let world = World::start(&database, DomainOptions::default(), "").await;
        let text = configuration(&world.domain.url(), "")
            .replace("allow = [\"jira-*\"]", "group_attributes = [\"nickName\"]");
        let mut ada = person("ada");
        ada.more.insert("nickName".to_owned(), "jira-poets".into());
        world.domain.add_user(&ada);
        world.run(Extent::Full).await;
        world.app.drain().await;
        assert!(
            world
                .memory
                .user("ada@example.com")
                .unwrap()
                .groups
                .is_empty()
        );
        world.app.apply(&text).await;
        world.later(600);
        world.run(Extent::Full).await;
        world.app.drain().await;
        let ada = world.memory.user("ada@example.com").unwrap();
        assert_eq!(ada.groups, ["jira-poets"]);
    }
}
