//! A product without inactive accounts: what deactivation takes is written down first, and given back on return.

use std::time::Duration;

use serde_json::json;
use usher::domain::{Action, Observed, Owner};
use usher::targets::memory::Memory;

use super::gate::{pair_on, work_until_it_took_effect};
use super::{World, account, configuration, databases, person, transient};

fn product() -> Memory {
    Memory::without_inactive(&["jira-users", "jira-admins"])
}

/// Ada with an account that Usher made, a group that it put her in, and one that somebody else did.
async fn ada_in_two_groups(world: &World) -> (String, String) {
    let ada = world.create(person("ada")).await;
    let group = world.group("jira-users", &[&ada]).await;
    world.settle().await;
    let mut there = world.memory.user("ada").unwrap();
    there.groups.push("theirs".to_owned());
    world.memory.seed(there);
    world.memory.clear_writes();
    (ada, group)
}

fn is_out(world: &World) {
    let there = world.memory.user("ada").unwrap();
    assert!(!there.active && there.groups.is_empty(), "{there:?}");
}

fn is_back(world: &World) {
    let there = world.memory.user("ada").unwrap();
    assert!(there.active, "{there:?}");
    assert_eq!(there.groups, ["jira-users", "theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_loses_everything_and_gets_it_back_on_return() {
    for database in databases() {
        let world = World::on(&database, product(), "", "").await;
        let (ada, group) = ada_in_two_groups(&world).await;
        world.set(&ada, "active", json!(false)).await;
        world.settle().await;
        is_out(&world);
        let writes = world.memory.writes();
        let [
            Action::Deactivate {
                takes: Some(takes), ..
            },
        ] = &writes[..]
        else {
            panic!("{writes:?}")
        };
        assert_eq!(takes.owner_of("jira-users"), Some(Owner::Created));
        assert_eq!(takes.owner_of("theirs"), Some(Owner::Foreign));
        // What is out stays out, whatever the engine believes.
        world.is_in_step("", "").await;
        world.app.apply(&configuration("live", "", "")).await;
        world.settle().await;
        assert_eq!(world.memory.writes(), []);

        world.set(&ada, "active", json!(true)).await;
        world.settle().await;
        is_back(&world);
        assert_eq!(world.names_of_writes(), ["reactivate"], "{}", database.name);
        // Each membership is still whose it was.
        world.leave(&group, &ada).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["theirs"]);
        // And what was given back once is not given back again.
        world.memory.clear_writes();
        world.set(&ada, "displayName", json!("Ada")).await;
        world.settle().await;
        assert_eq!(world.names_of_writes(), ["update_user"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_back_that_the_rules_do_not_give_any_more() {
    for database in databases() {
        let world = World::on(&database, product(), "", "").await;
        let (ada, group) = ada_in_two_groups(&world).await;
        world.delete(&ada).await;
        world.settle().await;
        is_out(&world);
        // The same person under another SCIM id, and in another group.
        let again = world.create(person("ada")).await;
        world.group("jira-new", &[&again]).await;
        world.settle().await;
        let there = world.memory.user("ada").unwrap();
        assert!(there.active);
        assert_eq!(there.groups, ["jira-new", "theirs"], "{}", database.name);

        world.set(&again, "active", json!(false)).await;
        world.settle().await;
        is_out(&world);
        world.join(&group, &again).await;
        let only_ours = configuration("live", "", "keep_existing = false");
        world.app.apply(&only_ours).await;
        world.set(&again, "active", json!(true)).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["jira-new", "jira-users"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_half_is_remembered_in_full() {
    for returns_early in [false, true] {
        for database in databases() {
            let world = World::on(&database, product(), "", "").await;
            let (ada, _) = ada_in_two_groups(&world).await;
            world.memory.fail_midway(transient());
            world.set(&ada, "active", json!(false)).await;
            world.app.drain().await;
            let half = world.memory.user("ada").unwrap();
            assert_eq!(half.groups, ["theirs"], "one was taken");
            if !returns_early {
                // The second attempt sees less than the first one did.
                world.settle().await;
                is_out(&world);
            }
            world.set(&ada, "active", json!(true)).await;
            world.settle().await;
            is_back(&world);
        }
    }
}

/// The server dies when everything was taken and nothing recorded, or given back and not recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_forgets_nothing_that_was_taken() {
    for database in databases() {
        let (world, second, gate) = pair_on(&database, product()).await;
        let (ada, group) = ada_in_two_groups(&world).await;
        for active in [false, true] {
            world.set(&ada, "active", json!(active)).await;
            let crashed = work_until_it_took_effect(&world, &gate).await;
            crashed.abort();
            let _ = crashed.await;
            for _ in 0..20 {
                second.pass(Duration::from_secs(20), 1).await;
            }
            assert_eq!(world.status().await.pending, 0);
            if active {
                is_back(&world);
            } else {
                is_out(&world);
            }
        }
        world.leave(&group, &ada).await;
        second.pass(Duration::from_secs(20), 3).await;
        assert_eq!(world.groups_of("ada"), ["theirs"], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_group_stays_and_is_told_if_it_gives_access() {
    for database in databases() {
        let protect = "protect = [\"jira-admins\", \"jira-board\"]";
        let world = World::on(&database, product(), "adopt = true", protect).await;
        for (name, group) in [("ada", "jira-board"), ("bob", "jira-admins")] {
            world.memory.seed(Observed {
                groups: vec![group.to_owned()],
                ..account(name)
            });
            let id = world.create(person(name)).await;
            world.settle().await;
            world.set(&id, "active", json!(false)).await;
            world.settle().await;
            let there = world.memory.user(name).unwrap();
            assert_eq!(there.groups, [group], "{}", database.name);
            if name == "ada" {
                assert!(!there.active, "the group gives no access");
                continue;
            }
            let (state, why) = world.state(&id).await;
            assert_eq!(state, "rejected");
            assert!(why.contains("jira-admins"), "{why}");
        }
    }
}

/// It counts as inactive, but its group may give it access any day.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_had_access_gets_none_and_is_out_all_the_same() {
    for database in databases() {
        let world = World::on(&database, product(), "adopt = true", "").await;
        world.memory.seed(Observed {
            groups: vec!["theirs".to_owned()],
            active: false,
            ..account("ada")
        });
        let ada = world.create(person("ada")).await;
        world.settle().await;
        let again = configuration("live", "adopt = true", "keep_existing = true");
        world.app.apply(&again).await;
        world.settle().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        assert!(!world.memory.user("ada").unwrap().active);

        world.set(&ada, "active", json!(false)).await;
        world.settle().await;
        is_out(&world);
        world.set(&ada, "active", json!(true)).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["theirs"]);
        assert!(!world.memory.user("ada").unwrap().active);
    }
}
