//! Targets that fail, refuse and throttle.

use std::sync::Arc;

use serde_json::json;
use usher::domain::Failure;
use usher::store::{users, work};
use usher::targets::memory::Memory;

use super::{World, configuration, connected, databases, person, rejected, throttled, transient};
use crate::harness::App;
use crate::store::execute;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_nothing_is_done_twice() {
    for database in databases() {
        let world = World::new(&database).await;
        world.memory.fail_after_apply(transient());
        let ada = world.create(person("ada")).await;
        world.app.drain().await;
        assert!(world.item(&ada).await.is_some());
        world.settle().await;
        let steps = [
            ("displayName", json!("Ada")),
            ("userName", json!("countess")),
            ("active", json!(false)),
            ("active", json!(true)),
        ];
        for (attribute, value) in steps {
            world.memory.fail_after_apply(transient());
            world.set(&ada, attribute, value).await;
            world.settle().await;
        }
        world.memory.seed_group("jira-users");
        world.memory.fail_after_apply(transient());
        let group = world.group("jira-users", &[&ada]).await;
        world.settle().await;
        assert_eq!(world.groups_of("countess"), ["jira-users"]);
        world.memory.fail_after_apply(transient());
        world.leave(&group, &ada).await;
        world.settle().await;
        assert!(world.groups_of("countess").is_empty());
        assert_eq!(
            world.names_of_writes(),
            [
                "create_user",
                "update_user",
                "rename_user",
                "deactivate",
                "reactivate",
                "add_member",
                "remove_member"
            ],
            "{}",
            database.name
        );
        world.is_in_step("", "").await;
    }
}

/// An operation is several requests: the last one may be refused after the first one took effect.
#[tokio::test(flavor = "multi_thread")]
async fn no_failure_proves_that_nothing_was_done() {
    let failures = [
        throttled(3),
        rejected("no"),
        Failure::Unauthorized {
            text: "HTTP 401".to_owned(),
        },
        Failure::Gone {
            text: "gone".to_owned(),
        },
    ];
    for failure in &failures {
        for database in databases() {
            let world = World::new(&database).await;
            world.memory.fail_after_apply(failure.clone());
            let ada = world.create(person("ada")).await;
            world.app.drain().await;
            world.delete(&ada).await;
            // An hour is the longest that a refused credential rests.
            world.after(3700).await;
            world.settle().await;
            let account = world.memory.user("ada").unwrap();
            assert!(!account.active, "{}: {failure:?}", database.name);

            let again = world.create(person("ada")).await;
            world.settle().await;
            assert!(world.memory.user("ada").unwrap().active);
            world.set(&again, "active", json!(false)).await;
            world.settle().await;
            // Access is given back, and that is not known.
            world.memory.fail_after_apply(failure.clone());
            world.set(&again, "active", json!(true)).await;
            world.app.drain().await;
            world.set(&again, "active", json!(false)).await;
            world.after(3700).await;
            world.settle().await;
            let account = world.memory.user("ada").unwrap();
            assert!(!account.active, "{}: {failure:?}", database.name);
        }
    }
}

/// The request was given up, the target looked at, and then the request is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_comes_into_being_late_is_not_forgotten() {
    for database in databases() {
        let world = World::new(&database).await;
        world.memory.refuse("ada", Some(transient()));
        let ada = world.create(person("ada")).await;
        world.app.drain().await;
        assert_eq!(world.times("create_user"), 1);
        world.memory.refuse("ada", None);
        world.delete(&ada).await;
        world.app.drain().await;
        assert!(world.memory.user("ada").is_none());
        world.memory.seed(super::account("ada"));
        world.settle().await;
        let account = world.memory.user("ada").unwrap();
        assert!(!account.active, "{}: {account:?}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_down_costs_nothing_and_others_go_on() {
    for database in databases() {
        let (good, bad) = (Memory::new(), Memory::new());
        let app = connected(&database, {
            let (good, bad) = (good.clone(), bad.clone());
            move |name| {
                Arc::new(if name == "jira" {
                    good.clone()
                } else {
                    bad.clone()
                })
            }
        })
        .await;
        let more = r#"
[[target]]
name = "wiki"
kind = "jira-dc"
base_url = "http://127.0.0.1:2"
token = { env = "NONE" }

[[mapping]]
connection = "corp"
target = "wiki"
mode = "live"
"#;
        app.apply(&format!("{}{more}", configuration("live", "", "")))
            .await;
        let token = app.token("corp").await;
        let world = World {
            app,
            memory: good,
            token,
        };
        bad.outage(Some(transient()));
        for n in 0..60 {
            world.create(person(&format!("p{n}"))).await;
        }
        world.app.drain().await;
        assert_eq!(world.memory.users().len(), 60, "{}", database.name);
        // Until the breaker opens: five failures, and what was under way then.
        let tried = bad.reads();
        assert!(tried <= 12, "{tried} requests to a target that is down");
        world.app.pass(std::time::Duration::from_secs(1), 120).await;
        let probes = bad.reads() - tried;
        assert!((2..=16).contains(&probes), "{probes} probes in two minutes");
        bad.outage(None);
        world.after(61).await;
        assert_eq!(bad.users().len(), 60, "{}", database.name);
        let status = world.app.store().read(usher::store::work::status).await;
        assert!(status.unwrap().iter().all(|t| t.health.state == "up"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_stops_only_itself() {
    for database in databases() {
        let world = World::new(&database).await;
        world
            .memory
            .refuse("bad", Some(rejected("The address is not valid")));
        world.memory.refuse("worse", Some(transient()));
        let bad = world.create(person("bad")).await;
        let worse = world.create(person("worse")).await;
        world.create(person("ada")).await;
        world.app.drain().await;
        assert!(world.memory.user("ada").is_some());
        let words = "The address is not valid".to_owned();
        assert_eq!(world.state(&bad).await, ("rejected".to_owned(), words));
        // Alone it opens the breaker in the end, and still holds up nobody for longer than a minute.
        world.app.pass(std::time::Duration::from_secs(30), 20).await;
        world.create(person("grace")).await;
        world.after(61).await;
        assert!(world.memory.user("grace").is_some(), "{}", database.name);
        world.create(person("mary")).await;
        world.after(1).await;
        assert!(world.memory.user("mary").is_some(), "{}", database.name);

        // Neither is tried again without need, both are when something changes or a person asks.
        let before = world.times("create_user");
        world.memory.refuse("worse", None);
        world.app.pass(std::time::Duration::from_secs(310), 2).await;
        assert!(world.memory.user("worse").is_some());
        assert!(world.item(&worse).await.is_none());
        assert_eq!(world.times("create_user"), before + 1);
        world.memory.refuse("bad", None);
        world
            .app
            .pass(std::time::Duration::from_secs(3600), 2)
            .await;
        assert!(world.memory.user("bad").is_none());
        let now = world.app.clock.now();
        let retried = world
            .app
            .store()
            .write(move |tx| usher::store::work::retry(tx, None, None, "usher retry", now))
            .await
            .unwrap();
        assert_eq!(retried, 1);
        world.settle().await;
        assert!(world.memory.user("bad").is_some());

        world.memory.refuse("bad", Some(rejected("no")));
        world.set(&bad, "displayName", json!("Bad")).await;
        world.settle().await;
        assert_eq!(world.state(&bad).await.0, "rejected");
        world.memory.refuse("bad", None);
        world.set(&bad, "displayName", json!("Good")).await;
        world.settle().await;
        assert_eq!(world.memory.user("bad").unwrap().display_name, "Good");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_stops_the_target_until_it_is_put_right() {
    for database in databases() {
        let world = World::new(&database).await;
        world.memory.outage(Some(Failure::Unauthorized {
            text: "the token is expired".to_owned(),
        }));
        for n in 0..10 {
            world.create(person(&format!("p{n}"))).await;
        }
        world.app.drain().await;
        let tried = world.memory.reads();
        // One claim's worth; nobody is tried again for half a minute, since attempts lock accounts.
        assert!(tried <= 4, "{tried}");
        world.app.pass(std::time::Duration::from_secs(1), 15).await;
        assert_eq!(world.memory.reads(), tried);
        let status = world.status().await;
        assert_eq!(status.health.state, "unauthorized");
        assert_eq!(
            status.health.last_error.as_deref(),
            Some("the token is expired")
        );
        assert_eq!(status.pending, 10, "nothing is lost");
        world.memory.outage(None);
        // The same file: what it refers to is another token.
        world.app.apply(&configuration("live", "", "")).await;
        world.app.drain().await;
        world.after(40).await;
        assert_eq!(world.memory.users().len(), 10, "{}", database.name);
        assert_eq!(world.status().await.health.state, "up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_kept_to_the_second_and_counts_as_no_failure() {
    for database in databases() {
        let world = World::new(&database).await;
        world.memory.fail_next(throttled(7));
        for n in 0..8 {
            world.create(person(&format!("p{n}"))).await;
        }
        // Of the items under way one is throttled and the others succeed, which is no reason to go on.
        world.app.drain().await;
        let done = world.memory.users().len();
        assert!(done < 8, "{}: nobody waited", database.name);
        let requests = world.memory.reads();
        world.after(6).await;
        assert_eq!(world.memory.reads(), requests, "{}", database.name);
        world.after(1).await;
        assert_eq!(world.memory.users().len(), 8);
        let status = world.status().await;
        assert_eq!(
            (status.health.state.as_str(), status.health.failures),
            ("up", 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_access_goes_first() {
    for database in databases() {
        let world = World::new(&database).await;
        let mut ids = Vec::new();
        for n in 0..30 {
            ids.push(world.create(person(&format!("p{n}"))).await);
        }
        world.settle().await;
        world.memory.clear_writes();
        for id in &ids {
            world.set(id, "displayName", json!("Renamed")).await;
        }
        world.set(&ids[29], "active", json!(false)).await;
        world.delete(&ids[28]).await;
        world.app.drain().await;
        // Of those that are worked on at the same time, anyone may be first.
        let names = world.names_of_writes();
        let last = names.iter().rposition(|n| *n == "deactivate");
        assert!(last.unwrap() < 6, "{}: {names:?}", database.name);
        assert_eq!(names.len(), 30);
    }
}

/// What was under way when the target asked for a pause may succeed after that, or fail for another reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_not_cut_short_by_other_answers() {
    for database in databases() {
        let world = World::new(&database).await;
        let (id, now) = (world.status().await.target_id, world.app.clock.now());
        let until = now + 7_000_000;
        world
            .app
            .store()
            .write(move |tx| -> Result<(), usher::store::Error> {
                work::target_throttled(tx, &id, until)?;
                work::target_succeeded(tx, &id, now)?;
                work::target_failed(tx, &id, "up", None, "HTTP 500")
            })
            .await
            .unwrap();
        assert_eq!(world.status().await.health.retry_at, Some(until));
    }
}

/// A tombstone whose account is known to be gone tells nobody anything; one with an account does.
#[tokio::test(flavor = "multi_thread")]
async fn tombstones_stay_for_as_long_as_there_is_an_account() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        world.settle().await;
        world.memory.refuse("joe", Some(rejected("no")));
        let joe = world.create(person("joe")).await;
        world.settle().await;
        world.delete(&ada).await;
        world.delete(&joe).await;
        world.settle().await;
        let before = world.app.clock.now() + 1;
        let purged = world
            .app
            .store()
            .write(move |tx| users::purge(tx, before))
            .await
            .unwrap();
        assert_eq!(purged, 1, "{}", database.name);
        assert!(world.item(&joe).await.is_none());
        world.create(person("ada")).await;
        world.settle().await;
        assert!(world.memory.user("ada").unwrap().active);
        assert_eq!(world.memory.users().len(), 1);
    }
}

/// The ledger knows accounts by the product's keys: a product that gives them out anew must not be believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_replaced_is_held_and_said() {
    for database in databases() {
        let world = World::new(&database).await;
        world.create(person("ada")).await;
        world.app.drain().await;
        let replaced = App::start(&database, &Memory::new()).await;
        let bob = world.create(person("bob")).await;
        replaced
            .clock
            .advance_ms((world.app.clock.now() - replaced.clock.now()) / 1000);
        replaced.drain().await;
        // Somebody might have taken the account over a moment ago: it is looked at once more.
        assert_eq!(world.item(&bob).await.unwrap().state, "pending");
        replaced.pass(std::time::Duration::from_secs(600), 12).await;
        let item = world.item(&bob).await.unwrap();
        assert_eq!(item.state, "held", "{}: {item:?}", database.name);
        assert!(item.last_error.unwrap().contains("replaced"));
        replaced.stop().await;
    }
}

/// What is done and cannot be recorded has to be found out again: nothing more is begun until there is room.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_more_is_begun() {
    const SQLITE: [&str; 2] = [
        "CREATE TRIGGER no_room BEFORE INSERT ON audit \
         BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
        "DROP TRIGGER no_room",
    ];
    const POSTGRES: [&str; 2] = [
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'could not extend file \"base/1/2\": No space left on device'; END $$; \
         CREATE TRIGGER no_room BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION no_room()",
        "DROP TRIGGER no_room ON audit",
    ];
    for database in databases() {
        let world = World::new(&database).await;
        let [fill, empty] = if world.app.store().is_shared() {
            POSTGRES
        } else {
            SQLITE
        };
        for n in 0..20 {
            world.create(person(&format!("p{n}"))).await;
        }
        execute(world.app.store(), fill).await;
        world.app.drain().await;
        let begun = world.times("create_user");
        assert!((1..=4).contains(&begun), "{}: {begun}", database.name);
        world.after(30).await;
        world.app.drain().await;
        assert_eq!(world.times("create_user"), begun, "{}", database.name);
        execute(world.app.store(), empty).await;
        world.after(30).await;
        world.settle().await;
        assert_eq!(world.times("create_user"), 20, "{}", database.name);
        world.is_in_step("", "").await;
    }
}
