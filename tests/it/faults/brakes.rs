//! Brakes: what is held, how it ends, and that nothing ever gets past them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use usher::domain::{Action, Failure, Observed, RemovalKind, TargetId, UserId};
use usher::store::brakes::{self, Choice, Decision, Hold};
use usher::store::{self, work};
use usher::targets::Protected;
use usher::targets::memory::Memory;

use super::super::harness::{App, Database};
use super::{World, account, databases, in_every_history, person, transient};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Three deactivations pass within an hour, two memberships of each group of five or more, four in all.
const TIGHT: &str = "\
    deactivations = { count = 3, share = 1.0, window = \"1h\" }\n\
    deletions = { count = 1, share = 1.0, window = \"1h\" }\n\
    membership_removals = { count = 4, share = 0.4, at_least = 4, window = \"1h\", group_size = 5 }\n";

/// The shared configuration with other brakes.
fn configuration(mode: &str, users: &str, groups: &str, brakes: &str) -> String {
    let text = super::configuration(mode, users, groups);
    let (head, _) = text.split_once("[mapping.brakes]").unwrap();
    format!("{head}[mapping.brakes]\n{brakes}")
}

impl World {
    pub(super) async fn braked(
        database: &Database,
        users: &str,
        groups: &str,
        brakes: &str,
    ) -> Self {
        let world = Self::with(database, users, groups).await;
        world
            .app
            .apply(&configuration("live", users, groups, brakes))
            .await;
        world
    }

    /// So many people with accounts, `p0` and so on.
    pub(super) async fn people(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for n in 0..count {
            ids.push(self.create(person(&format!("p{n}"))).await);
        }
        self.settle().await;
        ids
    }

    pub(super) async fn held(&self) -> Vec<Hold> {
        let all = |conn: &mut store::AnyConn| brakes::held(conn, &Choice::default(), None, 10_000);
        self.app.store().read(all).await.unwrap()
    }

    pub(super) async fn decide(&self, decision: Decision, users: Option<&[&String]>) -> usize {
        let choice = Choice {
            users: users.map(|ids| ids.iter().map(|id| UserId((*id).clone())).collect()),
            ..Choice::default()
        };
        let now = self.app.clock.now();
        self.app
            .store()
            .write(move |tx| brakes::decide(tx, &choice, decision, "the test", now))
            .await
            .unwrap()
    }

    pub(super) fn inactive(&self) -> usize {
        self.memory.users().iter().filter(|u| !u.active).count()
    }

    /// The operations in the audit, by how often.
    pub(super) async fn audited(&self) -> BTreeMap<String, i64> {
        let rows = super::super::store::lines(
            self.app.store(),
            "SELECT operation || ' ' || count(*) AS line FROM audit GROUP BY operation",
        )
        .await;
        rows.iter()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, count)| (name.to_owned(), count.parse().unwrap()))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_of_leavers_is_held_and_the_hold_ends_when_the_source_corrects_itself() {
    for database in databases() {
        let world = World::braked(&database, "", "", TIGHT).await;
        let ids = world.people(10).await;
        for id in &ids {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        assert_eq!(world.inactive(), 3, "{}", database.name);
        let held = world.held().await;
        assert_eq!(held.len(), 7);
        let status = world.status().await;
        assert_eq!((status.held, status.braked), (7, 7));
        let one = &held[0];
        assert_eq!(one.kind, "deactivations");
        assert!(one.cause.contains("PATCH"), "{one:?}");
        assert!(one.reason.contains("3 within 1h is the limit"), "{one:?}");
        let (state, why) = world.state(&one.subject).await;
        assert_eq!(state, "held");
        assert!(why.contains("deactivate") && why.contains("brake"), "{why}");

        // What else is stated about somebody held is not lost, and asks for nothing again.
        world.set(&one.subject, "title", json!("Countess")).await;
        world.after(MINUTE).await;
        assert_eq!(world.state(&one.subject).await.0, "held");
        assert_eq!(world.held().await[0].since, one.since);

        // An hour later nothing goes by itself, however often it is looked at.
        world.after(2 * HOUR).await;
        let now = world.app.clock.now();
        let everyone = move |tx: &mut store::Tx<'_>| work::retry(tx, None, None, "test", now);
        world.app.store().write(everyone).await.unwrap();
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (3, 7));

        for id in &ids {
            world.set(id, "active", json!(true)).await;
        }
        world.settle().await;
        assert_eq!(world.held().await, []);
        assert_eq!(world.status().await.held, 0);
        assert_eq!(world.inactive(), 0, "{}", database.name);
        assert_eq!(world.times("deactivate"), 3);
        let audited = world.audited().await;
        assert_eq!((audited["hold"], audited["cancel"]), (7, 7));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_on_a_brake_holds_until_a_window_has_passed_without_a_new_removal() {
    for database in databases() {
        let world = World::braked(&database, "", "", TIGHT).await;
        let ids = world.people(12).await;
        for id in &ids[..5] {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (3, 2));
        // The first three are out of the window, but this is a new one within it: held, and so is the next.
        world.after(50 * MINUTE).await;
        world.set(&ids[5], "active", json!(false)).await;
        world.settle().await;
        world.after(50 * MINUTE).await;
        world.set(&ids[6], "active", json!(false)).await;
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (3, 4));
        // A quiet hour later somebody leaves who has nothing to do with it.
        world.after(HOUR + MINUTE).await;
        world.set(&ids[7], "active", json!(false)).await;
        world.settle().await;
        assert!(
            !world.memory.user("p7").unwrap().active,
            "{}",
            database.name
        );
        assert_eq!((world.inactive(), world.held().await.len()), (4, 4));

        // One that a person releases goes, and counts for nothing.
        let one = world.held().await.remove(0);
        let released = world.decide(Decision::Release, Some(&[&one.subject])).await;
        assert_eq!(released, 1, "{}", database.name);
        world.memory.fail_next(transient());
        world.settle().await;
        assert!(!world.memory.user(&one.user_name).unwrap().active);
        assert_eq!((world.inactive(), world.held().await.len()), (5, 3));
        for id in &ids[8..10] {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (7, 3));
        world.set(&ids[10], "active", json!(false)).await;
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (7, 4));

        // All of them: the brake begins anew.
        assert_eq!(world.decide(Decision::Release, None).await, 4);
        world.settle().await;
        world.set(&ids[11], "active", json!(false)).await;
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (12, 0));
        let left = super::super::store::number(world.app.store(), "SELECT count(*) AS n FROM hold");
        assert_eq!(left.await, 0, "what was released and is done is forgotten");
        assert_eq!(world.audited().await["release"], 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_discards_stays_undone_until_it_is_wanted_for_another_reason() {
    for database in databases() {
        let brakes = TIGHT.replace("count = 3", "count = 0");
        let world = World::braked(&database, "", "", &brakes).await;
        let ids = world.people(2).await;
        for id in &ids {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        assert_eq!(world.held().await.len(), 2);
        assert_eq!(world.decide(Decision::Discard, None).await, 2);
        world.settle().await;
        assert_eq!(world.status().await.held, 0);
        assert!(world.item(&ids[0]).await.is_none(), "{}", database.name);
        // However often it is looked at.
        world.set(&ids[0], "title", json!("Countess")).await;
        world
            .app
            .apply(&configuration("live", "adopt = true", "", &brakes))
            .await;
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (0, 0));
        // The source says it anew: it changed its mind in between, or goes further.
        world.set(&ids[0], "active", json!(true)).await;
        world.settle().await;
        world.set(&ids[0], "active", json!(false)).await;
        world.delete(&ids[1]).await;
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (0, 2));
        // Whoever switches the brake off has decided too.
        let off = brakes.replace("{ count = 0, share = 1.0, window = \"1h\" }", "\"off\"");
        world.app.apply(&configuration("live", "", "", &off)).await;
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_are_braked_for_each_group_and_for_all_while_additions_go_on() {
    for database in databases() {
        let world = World::braked(&database, "", "", TIGHT).await;
        let ids = world.people(6).await;
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        let old = world.group("jira-old", &all).await;
        let small = world.group("jira-small", &all[..4]).await;
        world.settle().await;
        // Everybody moves to another group.
        let new = world.group("jira-new", &all).await;
        for id in &ids {
            world.leave(&old, id).await;
        }
        world.settle().await;
        let members = |name: &str| {
            let of = |user: &Observed| user.groups.iter().any(|group| group == name);
            world.memory.users().iter().filter(|user| of(user)).count()
        };
        assert_eq!((members("jira-new"), members("jira-old")), (6, 4));
        let held = world.held().await;
        assert_eq!(held.len(), 4, "{}", database.name);
        assert!(held[0].reason.contains("group \"jira-old\""), "{held:?}");
        assert_eq!(held[0].group, "jira-old");
        // The small group has no limit of its own, but four in all is the limit.
        for id in &ids[..4] {
            world.leave(&small, id).await;
        }
        world.settle().await;
        assert_eq!(members("jira-small"), 2);
        assert_eq!(world.held().await.len(), 6);
        // Whoever comes back into the group ends the hold.
        for id in &ids {
            world.join(&old, id).await;
        }
        world.settle().await;
        assert_eq!(members("jira-old"), 6);
        assert_eq!(world.held().await.len(), 2);
        // One brake may be released alone.
        let choice = Choice {
            kind: Some(RemovalKind::Deactivation),
            ..Choice::default()
        };
        let now = world.app.clock.now();
        let released = world
            .app
            .store()
            .write(move |tx| brakes::decide(tx, &choice, Decision::Release, "the test", now))
            .await
            .unwrap();
        assert_eq!(released, 0);
        world
            .request("DELETE", &format!("/Groups/{new}"), Value::Null)
            .await;
        world.settle().await;
        assert_eq!(
            members("jira-new"),
            6,
            "a deleted group is a mass removal too"
        );
        world.decide(Decision::Release, None).await;
        world.settle().await;
        assert_eq!((members("jira-new"), members("jira-small")), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_and_a_deletion_are_braked_like_a_push() {
    for database in databases() {
        let delete =
            "on_delete = \"delete\"\noperations = [\"create\", \"deactivate\", \"delete\"]";
        let world = World::braked(&database, delete, "", TIGHT).await;
        let ids = world.people(5).await;
        for id in &ids[..2] {
            world.delete(id).await;
        }
        world.settle().await;
        assert_eq!(world.memory.users().len(), 4, "{}", database.name);
        assert_eq!(world.held().await[0].kind, "deletions");
        // They come back under other ids: what was to be deleted is theirs again.
        for name in ["p0", "p1"] {
            world.create(person(name)).await;
        }
        world.settle().await;
        assert_eq!(world.held().await, []);
        assert_eq!(world.memory.users().len(), 5);

        let scope = "scope = 'userName sw \"nobody\"'\nadopt = true";
        world
            .app
            .apply(&configuration("live", scope, "", TIGHT))
            .await;
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (3, 2));
        // Back into shadow mode: nothing would be done, so nothing is held. Live again, it is.
        world
            .app
            .apply(&configuration("shadow", scope, "", TIGHT))
            .await;
        world.settle().await;
        assert_eq!(world.held().await, []);
        let report = world
            .app
            .apply(&configuration("live", scope, "", TIGHT))
            .await;
        assert_eq!(
            report.backlog,
            ["mapping corp -> jira goes live: 2 people differ (2 deactivate)"]
        );
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (3, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays() {
    for database in databases() {
        let world = World::with(&database, "adopt = true\nprotect = []", "").await;
        world.memory.protect(Protected {
            users: vec!["usher".to_owned()],
            groups: vec!["Jira-Administrators".to_owned()],
            kept_by_product: Vec::new(),
        });
        for name in ["usher", "p0", "p1", "p2"] {
            world.memory.seed(Observed {
                groups: vec!["jira-administrators".to_owned()],
                active: name != "p2",
                ..account(name)
            });
        }
        let ids = world.people(2).await;
        // Both at once: neither may count on the other.
        for id in &ids {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        let active = || world.memory.users().iter().filter(|u| u.active).count();
        assert!(
            active() >= 2,
            "{}: {:?}",
            database.name,
            world.memory.users()
        );
        for id in &ids {
            world.set(id, "title", json!("looked at again")).await;
            world.settle().await;
        }
        assert_eq!(active(), 2, "{}: {:?}", database.name, world.memory.users());
        let mut states = Vec::new();
        for id in &ids {
            states.extend(world.item(id).await);
        }
        assert_eq!(states.len(), 1, "{states:?}");
        assert_eq!(states[0].state, "held");
        let why = states[0].last_error.as_ref().unwrap();
        assert!(why.contains("last active administrator"), "{why}");
        assert_eq!(
            world.held().await,
            [],
            "no brake holds it, so nobody can release it"
        );
        // Somebody else becomes one.
        world.memory.seed(Observed {
            groups: vec!["jira-administrators".to_owned()],
            ..account("new")
        });
        let now = world.app.clock.now();
        let again = move |tx: &mut store::Tx<'_>| work::retry(tx, None, None, "test", now);
        world.app.store().write(again).await.unwrap();
        world.settle().await;
        assert!(!world.memory.user("p0").unwrap().active);
        assert!(!world.memory.user("p1").unwrap().active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_stays_where_the_product_does_not_tell_who_else_is_one() {
    for database in databases() {
        let world = World::with(&database, "adopt = true", "").await;
        let groups = vec!["jira-administrators".to_owned()];
        world.memory.protect(Protected {
            users: vec!["usher".to_owned()],
            groups: groups.clone(),
            kept_by_product: Vec::new(),
        });
        for name in ["p0", "p1"] {
            world.memory.seed(Observed {
                groups: groups.clone(),
                ..account(name)
            });
        }
        let ids = world.people(3).await;
        world.set(&ids[0], "active", json!(false)).await;
        world.set(&ids[2], "active", json!(false)).await;
        world.app.drain().await;
        world.memory.clear_writes();
        assert!(!world.memory.user("p0").unwrap().active, "p1 is one too");
        assert!(
            !world.memory.user("p2").unwrap().active,
            "{}",
            database.name
        );

        world.memory.seed(Observed {
            groups,
            ..account("more")
        });
        world.set(&ids[1], "active", json!(false)).await;
        // The first answer tells that this one is an administrator, the second one refuses to tell more.
        world.memory.refuse_listings(Some(Failure::Rejected {
            field: None,
            text: "this product is not listed".to_owned(),
        }));
        world.settle().await;
        let (state, why) = world.state(&ids[1]).await;
        assert_eq!(state, "held");
        assert!(why.contains("cannot be read"), "{why}");
        assert_eq!(world.memory.writes(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_are_live_while_the_others_stay_in_shadow() {
    for database in databases() {
        let world = World::with(&database, "", "").await;
        let shadow = super::configuration("shadow", "", "");
        let few = shadow.replace(
            "mode = \"shadow\"",
            "mode = \"shadow\"\nlive_for = [\"p0\", \"P1@Example.com\", \"group:pilots\"]",
        );
        world.app.apply(&few).await;
        let ids = world.people(4).await;
        world.group("Pilots", &[&ids[2]]).await;
        world.settle().await;
        let names: Vec<String> = world
            .memory
            .users()
            .into_iter()
            .map(|u| u.username)
            .collect();
        assert_eq!(names, ["p0", "p1", "p2"], "{}", database.name);
        assert_eq!(world.state(&ids[3]).await.0, "shadow");

        // What the others would get is told when everybody goes live.
        let report = world.app.apply(&super::configuration("live", "", "")).await;
        assert_eq!(
            report.backlog,
            ["mapping corp -> jira goes live: 1 people differ (1 create_user)"]
        );
        world.settle().await;
        assert_eq!(world.memory.users().len(), 4);
    }
}

/// The engine runs by itself here, against the machine's clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_a_running_server_within_a_second_and_keeps_everything() {
    use std::time::{Duration, Instant};
    for database in databases() {
        let world = World::with(&database, "", "").await;
        let stop = tokio_util::sync::CancellationToken::new();
        let engine = tokio::spawn({
            let (engine, stop) = (world.app.parts.engine.clone(), stop.clone());
            async move { engine.run(stop).await }
        });
        world.create(person("before")).await;
        let started = Instant::now();
        while world.memory.user("before").is_none() {
            assert!(started.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let target = TargetId(
            super::super::store::lines(world.app.store(), "SELECT id AS line FROM target")
                .await
                .remove(0),
        );
        let pause = store::pause::Pause {
            at: world.app.clock.now(),
            by: "ada".to_owned(),
            reason: Some("a wrong import".to_owned()),
        };
        let (id, wanted) = (target.clone(), pause.clone());
        let paused = world
            .app
            .store()
            .write(move |tx| store::pause::pause(tx, &id, &wanted, "test"))
            .await
            .unwrap();
        assert!(paused);
        tokio::time::sleep(Duration::from_secs(1)).await;
        for n in 0..20 {
            world.create(person(&format!("p{n}"))).await;
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(world.memory.users().len(), 1, "{}", database.name);
        let status = world.status().await;
        assert_eq!((status.pending, status.pause), (20, Some(pause.clone())));
        // Another server on this database, as after a restart, does not go on either.
        let second = App::start(&database, &world.memory).await;
        assert_eq!(second.drain().await, 0);
        world
            .app
            .store()
            .write(move |tx| store::pause::resume(tx, &target, &pause, "test"))
            .await
            .unwrap();
        let resumed = Instant::now();
        while world.memory.users().len() < 21 {
            assert!(resumed.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        engine.await.unwrap();
    }
}

/// Several servers with several workers each, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_ask_at_once_do_not_overshoot() {
    const PEOPLE: usize = 60;
    const LIMIT: usize = 17;
    for database in databases() {
        let brakes = TIGHT.replace("count = 3", &format!("count = {LIMIT}"));
        let world = World::braked(&database, "", "", &brakes).await;
        let ids = world.people(PEOPLE).await;
        for id in &ids {
            world.set(id, "active", json!(false)).await;
        }
        let second = App::start(&database, &world.memory).await;
        let third = App::start(&database, &world.memory).await;
        // On SQLite one server has the database; its workers are many, too.
        let others = database.name != "sqlite";
        let (a, b, c) = tokio::join!(
            world.app.drain(),
            async { if others { second.drain().await } else { 0 } },
            async { if others { third.drain().await } else { 0 } },
        );
        assert!(a + b + c >= PEOPLE);
        world.settle().await;
        assert_eq!(world.inactive(), LIMIT, "{}", database.name);
        assert_eq!(world.held().await.len(), PEOPLE - LIMIT);
    }
}

/// The word of a person is for what is held, and not for the next mistake.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_released_and_came_back_counts_again() {
    for database in databases() {
        let world = World::braked(&database, "", "", TIGHT).await;
        let ids = world.people(8).await;
        let all = async |active: bool| {
            for id in &ids {
                world.set(id, "active", json!(active)).await;
            }
            world.settle().await;
        };
        all(false).await;
        assert_eq!(world.inactive(), 3, "{}", database.name);
        assert_eq!(world.decide(Decision::Release, None).await, 5);
        world.settle().await;
        assert_eq!(world.inactive(), 8);
        all(true).await;
        assert_eq!(world.inactive(), 0);
        all(false).await;
        assert_eq!(world.inactive(), 3, "{}", database.name);
        assert_eq!(world.held().await.len(), 5);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Active(usize, bool),
    Delete(usize),
    Touch(usize),
    Fault(bool),
    Work,
    Wait(u16),
    Release(usize),
    ReleaseAll,
    Discard(usize),
}

const PEOPLE: usize = 8;
/// Of `TIGHT`.
const BUDGET: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..PEOPLE;
    let step = prop_oneof![
        8 => (who.clone(), prop::bool::weighted(0.3)).prop_map(|(who, on)| Step::Active(who, on)),
        2 => who.clone().prop_map(Step::Delete),
        2 => who.clone().prop_map(Step::Touch),
        2 => any::<bool>().prop_map(Step::Fault),
        6 => Just(Step::Work),
        3 => (0..90u16).prop_map(Step::Wait),
        2 => who.clone().prop_map(Step::Release),
        1 => Just(Step::ReleaseAll),
        1 => who.prop_map(Step::Discard),
    ];
    prop::collection::vec(step, 1..50)
}

/// What passed the brake by itself: when, and who.
#[derive(Default)]
struct Passed(Vec<(i64, String)>);

impl Passed {
    /// Takes in what was written since the last time, and checks the budget of every window.
    async fn look(&mut self, world: &World, seen: &mut usize, released: &mut BTreeSet<String>) {
        let now = world.app.clock.now();
        let writes = world.memory.writes();
        for action in &writes[*seen..] {
            match action {
                Action::Deactivate { username, .. } if !released.contains(username) => {
                    self.0.push((now, username.clone()));
                }
                // The word of a person was for that one time.
                Action::Reactivate { username, .. } => {
                    released.remove(username);
                }
                _ => {}
            }
        }
        *seen = writes.len();
        for (start, _) in &self.0 {
            let window = start + i64::try_from(HOUR).unwrap() * 1_000_000;
            let within: BTreeSet<&String> = self
                .0
                .iter()
                .filter(|(at, _)| at >= start && *at < window)
                .map(|(_, who)| who)
                .collect();
            assert!(within.len() <= BUDGET, "{within:?} of {:?}", self.0);
        }
    }
}

async fn live_through(history: Vec<Step>) {
    for database in databases() {
        let world = World::braked(&database, "", "", TIGHT).await;
        let ids = world.people(PEOPLE).await;
        let mut deleted = BTreeSet::new();
        let (mut passed, mut seen) = (Passed::default(), world.memory.writes().len());
        let mut released: BTreeSet<String> = BTreeSet::new();
        for step in &history {
            match step {
                Step::Active(who, on) if !deleted.contains(who) => {
                    world.set(&ids[*who], "active", json!(on)).await;
                }
                Step::Delete(who) if deleted.insert(*who) => world.delete(&ids[*who]).await,
                Step::Touch(who) if !deleted.contains(who) => {
                    let title = world.app.clock.now().to_string();
                    world.set(&ids[*who], "title", json!(title)).await;
                }
                Step::Active(..) | Step::Delete(_) | Step::Touch(_) => {}
                Step::Fault(after) if *after => world.memory.fail_after_apply(transient()),
                Step::Fault(_) => world.memory.fail_next(transient()),
                Step::Work => {
                    world.app.drain().await;
                }
                Step::Wait(minutes) => world.after(u64::from(*minutes) * MINUTE).await,
                Step::Release(who) => {
                    let held = world.held().await;
                    if world.decide(Decision::Release, Some(&[&ids[*who]])).await > 0 {
                        assert!(held.iter().any(|hold| hold.subject == ids[*who]));
                        released.insert(format!("p{who}"));
                    }
                }
                Step::ReleaseAll => {
                    let held = world.held().await;
                    let names = held.iter().map(|hold| hold.user_name.clone());
                    released.extend(names);
                    world.decide(Decision::Release, None).await;
                    // It begins anew.
                    passed.0.clear();
                }
                Step::Discard(who) => {
                    world.decide(Decision::Discard, Some(&[&ids[*who]])).await;
                }
            }
            passed.look(&world, &mut seen, &mut released).await;
        }
        world.settle().await;
        passed.look(&world, &mut seen, &mut released).await;
        // Whatever is not as the source wants it is held, or was discarded.
        world.memory.clear_faults();
        let open = super::super::store::lines(
            world.app.store(),
            "SELECT user_name AS line FROM hold WHERE state IN ('held', 'discarded')",
        )
        .await;
        let wanted = super::super::store::lines(
            world.app.store(),
            "SELECT user_name AS line FROM scim_user WHERE active AND deleted_at IS NULL",
        )
        .await;
        for account in world.memory.users() {
            let name = account.username;
            let expected = wanted.contains(&name) || open.contains(&name);
            assert_eq!(account.active, expected, "{name} on {}", database.name);
        }
    }
}

#[test]
fn no_history_gets_more_past_a_brake_than_its_budget() {
    in_every_history(16, steps(), live_through);
}

/// A mistake at the source, at the speed of a push, while the engine works: nothing gets past the brake, every
/// request is answered as always, and when the source takes it back nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_leavers_in_a_minute() {
    const LEAVERS: usize = 3_000;
    // As by default.
    const LIMIT: usize = 25;
    for database in databases() {
        let memory = Memory::new();
        let app = App::start(&database, &memory).await;
        let text = super::configuration("live", "", "");
        app.apply(text.split_once("# These tests").unwrap().0).await;
        let token = app.token("corp").await;
        let world = Arc::new(World { app, memory, token });
        let make = |n: usize| ("POST", "/Users".to_owned(), person(&format!("p{n}")));
        let answers = world.push(LEAVERS, make).await;
        let ids: Vec<String> = answers
            .iter()
            .map(|answer| answer.1["id"].as_str().unwrap().to_owned())
            .collect();
        world.settle().await;
        assert_eq!(world.memory.users().len(), LEAVERS);
        world.memory.clear_writes();

        let stop = tokio_util::sync::CancellationToken::new();
        let engine = tokio::spawn({
            let (engine, stop) = (world.app.parts.engine.clone(), stop.clone());
            async move { engine.run(stop).await }
        });
        let active = |on: bool| {
            let ids = ids.clone();
            move |n: usize| {
                let operations = json!([{"op": "replace", "path": "active", "value": on}]);
                let body = json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": operations,
                });
                ("PATCH", format!("/Users/{}", ids[n]), body)
            }
        };
        let started = std::time::Instant::now();
        let tripped = async {
            while world.held().await.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            started.elapsed()
        };
        let (answers, tripped) = tokio::join!(world.push(LEAVERS, active(false)), tripped);
        let pushed = started.elapsed();
        assert!(answers.iter().all(|(status, _)| *status == 200));
        world.until_idle().await;
        let held = world.held().await.len();
        assert_eq!(world.inactive(), LIMIT, "{}", database.name);
        assert_eq!(held, LEAVERS - LIMIT);
        assert_eq!(world.memory.writes().len(), LIMIT);

        let answers = world.push(LEAVERS, active(true)).await;
        assert!(answers.iter().all(|(status, _)| *status == 200));
        world.until_idle().await;
        assert_eq!(world.held().await, []);
        assert_eq!(world.inactive(), 0);
        let status = world.status().await;
        assert_eq!((status.held, status.failed, status.pending), (0, 0, 0));
        // Nobody lost anything but those within the limit, and these got it back.
        assert_eq!(world.times("deactivate"), LIMIT);
        assert_eq!(world.times("reactivate"), LIMIT);
        assert_eq!(world.memory.writes().len(), 2 * LIMIT);
        eprintln!(
            "{}: {LEAVERS} pushed in {pushed:.2?}, the brake tripped {tripped:.2?} after the first push; \
             {LIMIT} done and given back, {held} held and cancelled",
            database.name
        );
        stop.cancel();
        engine.await.unwrap();
    }
}

impl World {
    /// Sends so many requests, a few at a time; returns what was answered, in order.
    async fn push(
        self: &Arc<Self>,
        count: usize,
        request: impl Fn(usize) -> (&'static str, String, Value) + Send + Sync + 'static,
    ) -> Vec<(u16, Value)> {
        const AT_ONCE: usize = 16;
        let request = Arc::new(request);
        let mut tasks = tokio::task::JoinSet::new();
        for first in 0..AT_ONCE {
            let (world, request) = (self.clone(), request.clone());
            tasks.spawn(async move {
                let mut answers = Vec::new();
                for n in (first..count).step_by(AT_ONCE) {
                    let (method, path, body) = request(n);
                    let reply = world
                        .app
                        .send(&world.token, method, &path, Some(body))
                        .await;
                    answers.push((n, (reply.status, reply.json)));
                }
                answers
            });
        }
        let mut answers: Vec<(usize, (u16, Value))> =
            tasks.join_all().await.into_iter().flatten().collect();
        answers.sort_by_key(|(n, _)| *n);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Until a running engine has nothing to do any more.
    async fn until_idle(&self) {
        let started = std::time::Instant::now();
        while self.status().await.pending > 0 {
            assert!(started.elapsed() < std::time::Duration::from_secs(120));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
