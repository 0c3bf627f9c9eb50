//! What becomes of people who leave the scope or the source, and who come back.

use serde_json::json;
use usher::domain::UserId;
use usher::store::work;

use super::{World, configuration, databases, person};

const ALL: &str =
    "operations = [\"create\", \"update\", \"rename\", \"deactivate\", \"reactivate\", \"delete\"]";
const DAY: u64 = 24 * 60 * 60;

fn users(policy: &str) -> String {
    format!("scope = 'userType ne \"Guest\"'\n{ALL}\n{policy}")
}

/// Everyone has three kinds of memberships: by a group, by a rule for all, and by being new.
const GROUPS: &str = "for_all = [\"everyone\"]\nfor_new = [\"newcomers\"]";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_the_scope_and_comes_back_has_the_same_account_and_memberships() {
    let policies = [
        ("on_delete = \"deactivate\"", true),
        ("on_delete = \"remove-groups\"", true),
        ("on_delete = \"keep\"", true),
        ("on_delete = \"delete\"\ndelete_after = \"30d\"", true),
        // Deleted is deleted; the memberships come back all the same.
        ("on_delete = \"delete\"", false),
    ];
    for (policy, same_account) in policies {
        for database in databases() {
            let case = format!("{policy} on {}", database.name);
            let world = World::with(&database, &users(policy), GROUPS).await;
            world.memory.seed_group("by-hand");
            let ada = world.create(person("ada")).await;
            world.group("jira-users", &[&ada]).await;
            world.settle().await;
            let mut before = world.memory.user("ada").unwrap();
            assert_eq!(before.groups, ["everyone", "jira-users", "newcomers"]);
            before.groups.push("by-hand".to_owned());
            world.memory.seed(before.clone());
            before = world.memory.user("ada").unwrap();

            for _ in 0..2 {
                world.set(&ada, "userType", json!("Guest")).await;
                world.settle().await;
                // Whatever is pushed meanwhile does not disturb it.
                world.set(&ada, "title", json!("Countess")).await;
                world.settle().await;
                world.set(&ada, "userType", json!("Employee")).await;
                world.settle().await;
                let mut after = world.memory.user("ada").unwrap();
                if !same_account {
                    assert_ne!(after.remote_id, before.remote_id, "{case}");
                    after.remote_id.clone_from(&before.remote_id);
                    after.groups.push("by-hand".to_owned());
                    after.groups.sort();
                }
                assert_eq!(after, before, "{case}");
            }
            assert_eq!(world.status().await.grace, 0, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_deleted_when_its_grace_period_is_over_and_not_if_the_person_comes_back() {
    for database in databases() {
        let users = users("on_delete = \"delete\"\ndelete_after = \"30d\"");
        let world = World::with(&database, &users, "").await;
        let ada = world.create(person("ada")).await;
        let eve = world.create(person("eve")).await;
        world.settle().await;
        world.delete(&ada).await;
        world.set(&eve, "userType", json!("Guest")).await;
        world.settle().await;
        let (state, why) = world.state(&ada).await;
        assert!(state == "grace" && why.contains("deleted at"), "{why}");
        assert!(!world.memory.user("ada").unwrap().active);
        assert_eq!(world.status().await.grace, 2);

        // A change of the rules, a restart or a push in between does not begin it anew.
        world.after(20 * DAY).await;
        world
            .app
            .apply(&configuration("live", &users, "for_all = [\"x\"]"))
            .await;
        world.set(&eve, "title", json!("Guest of honour")).await;
        world.settle().await;
        world.after(9 * DAY).await;
        assert!(world.memory.user("ada").is_some(), "{}", database.name);
        world.memory.clear_writes();

        // One comes back in time, under another id; the other one does not.
        let again = world.create(person("ada")).await;
        world.settle().await;
        world.after(2 * DAY).await;
        assert_eq!(
            world.names_of_writes(),
            ["reactivate", "create_group", "add_member", "delete_user"],
            "{}",
            database.name
        );
        assert!(world.memory.user("ada").unwrap().active);
        assert!(world.memory.user("eve").is_none());
        world.after(90 * DAY).await;
        assert!(world.memory.user("ada").unwrap().active);
        assert_eq!(world.status().await.grace, 0);

        // The next time the period begins anew.
        world.delete(&again).await;
        world.settle().await;
        world.after(29 * DAY).await;
        assert!(world.memory.user("ada").is_some());
        world.after(2 * DAY).await;
        assert!(world.memory.user("ada").is_none(), "{}", database.name);
    }
}

/// Deleted and made again before anything was done: whoever of the two comes first, the account stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_back_before_the_deletion_has_the_same_account_whoever_is_looked_at_first() {
    for policy in [
        "on_delete = \"delete\"",
        "on_delete = \"delete\"\ndelete_after = \"30d\"",
        "on_delete = \"deactivate\"",
        "on_delete = \"remove-groups\"",
    ] {
        for newcomer_first in [true, false] {
            for database in databases() {
                let case = format!("{policy}, {newcomer_first}, {}", database.name);
                let world = World::with(&database, &users(policy), GROUPS).await;
                let ada = world.create(person("ada")).await;
                let group = world.group("jira-users", &[&ada]).await;
                world.settle().await;
                let mut before = world.memory.user("ada").unwrap();
                before.groups.push("zz-by-hand".to_owned());
                world.memory.seed(before.clone());
                world.memory.clear_writes();

                world.delete(&ada).await;
                let again = world.create(person("ada")).await;
                world.join(&group, &again).await;
                let (plan, _) = world
                    .plan(world.stored().await, &usher::converge::Scope::default())
                    .await;
                let planned: Vec<&str> = plan
                    .iter()
                    .flat_map(|person| &person.operations)
                    .map(|operation| operation.operation.as_str())
                    .collect();
                assert_eq!(planned, ["hand_over"], "{case}");
                if newcomer_first {
                    let (user, now) = (UserId(again.clone()), world.app.clock.now());
                    let store = world.app.store();
                    store
                        .write(move |tx| work::hurry(tx, &user, now))
                        .await
                        .unwrap();
                }
                world.settle().await;
                assert_eq!(world.memory.writes(), [], "{case}");
                assert_eq!(world.memory.user("ada").unwrap(), before, "{case}");
                assert_eq!(world.status().await.pending, 0, "{case}");
                // And it is the newcomer's: whoever leaves then loses it.
                world.delete(&again).await;
                world.settle().await;
                let there = world.memory.user("ada");
                let has_access = there.is_some_and(|a| a.active && a.groups != ["zz-by-hand"]);
                assert!(!has_access, "{case}");
            }
        }
    }
}
