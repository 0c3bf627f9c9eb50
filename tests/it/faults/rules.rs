//! What the rules let the engine do, and what it waits for.

use serde_json::json;
use usher::domain::Observed;

use super::{World, account, configuration, databases, person};

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_for_leavers_does_what_it_says() {
    let cases = [
        ("deactivate", true, &["deactivate"][..], Some(false)),
        ("remove-groups", true, &["remove_member"], Some(true)),
        ("keep", true, &[], Some(true)),
        ("delete", true, &["delete_user"], None),
        // What was there before is not Usher's to destroy.
        ("delete", false, &["deactivate"], Some(false)),
    ];
    for (policy, made_by_usher, writes, active) in cases {
        for database in databases() {
            let users = format!(
                "on_delete = \"{policy}\"\nadopt = true\noperations = [\"create\", \"update\", \"rename\", \
                 \"deactivate\", \"reactivate\", \"delete\"]"
            );
            let world = World::with(&database, &users, "").await;
            if !made_by_usher {
                world.memory.seed(account("ada"));
            }
            let ada = world.create(person("ada")).await;
            let group = world.group("jira-users", &[&ada]).await;
            world.settle().await;
            world.memory.clear_writes();
            world.delete(&ada).await;
            world.settle().await;
            let case = format!("{policy} {made_by_usher} {}", database.name);
            assert_eq!(world.names_of_writes(), writes, "{case}");
            assert_eq!(world.memory.user("ada").map(|a| a.active), active, "{case}");
            // Whatever was done: the person can come back.
            let again = world.create(person("ada")).await;
            world.join(&group, &again).await;
            world.settle().await;
            let after = world.memory.user("ada").unwrap();
            assert!(after.active, "{case}");
            assert_eq!(after.groups, ["jira-users"], "{case}");
            world.is_in_step(&users, "").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_off_is_not_done() {
    let all = ["create", "update", "rename", "deactivate", "reactivate"];
    for off in all {
        for database in databases() {
            let on: Vec<&str> = all.into_iter().filter(|o| *o != off).collect();
            let users = format!("adopt = true\noperations = {on:?}");
            let world = World::with(&database, &users, "").await;
            world.memory.seed(Observed {
                display_name: "Somebody".to_owned(),
                ..account("ada")
            });
            let ada = world.create(person("ada")).await;
            world.create(person("new")).await;
            world.settle().await;
            world.set(&ada, "userName", json!("countess")).await;
            world.settle().await;
            world.set(&ada, "active", json!(false)).await;
            world.settle().await;
            world.memory.seed(Observed {
                active: false,
                ..world.memory.users().remove(0)
            });
            world.set(&ada, "active", json!(true)).await;
            // A change of the rules is a look at everyone; without it a change by hand is not noticed.
            world.is_looked_at(&users).await;
            let done = world.names_of_writes().join(" ");
            let name = if off == "create" || off == "update" || off == "rename" {
                format!("{off}_user")
            } else {
                off.to_owned()
            };
            assert!(!done.contains(&name), "{off} on {}: {done}", database.name);
            let others = all.into_iter().filter(|o| *o != off);
            for other in others.filter(|o| *o != "reactivate" || off != "deactivate") {
                assert!(done.contains(other), "{other} without {off}: {done}");
            }
        }
    }
}

impl World {
    /// Has every account read instead of trusted.
    async fn is_looked_at(&self, users: &str) {
        self.app
            .apply(&configuration("live", users, "keep_existing = false"))
            .await;
        self.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_shows_and_writes_nothing_and_a_pause_keeps_the_queue() {
    for database in databases() {
        let world = World::new(&database).await;
        world.app.apply(&configuration("shadow", "", "")).await;
        let ada = world.create(person("ada")).await;
        world.group("jira-users", &[&ada]).await;
        world.settle().await;
        let (state, why) = world.state(&ada).await;
        assert_eq!(state, "shadow");
        for part in [
            "create account \"ada\"",
            "create group",
            "add \"ada\" to \"jira-users\"",
        ] {
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(world.memory.writes(), []);

        world.app.apply(&configuration("paused", "", "")).await;
        let reads = world.memory.reads();
        world.create(person("joe")).await;
        world.after(3600).await;
        assert_eq!(
            (world.memory.reads(), world.memory.writes().len()),
            (reads, 0)
        );
        assert_eq!(world.status().await.pending, 2, "{}", database.name);

        world.app.apply(&configuration("live", "", "")).await;
        world.settle().await;
        assert_eq!(world.memory.users().len(), 2);
        assert_eq!(world.groups_of("ada"), ["jira-users"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_address_yet_waits_for_it() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(json!({"userName": "ada"})).await;
        let group = world.group("jira-users", &[&ada]).await;
        world.settle().await;
        assert_eq!(world.state(&ada).await.0, "waiting");
        let emails = json!([{"value": "ada@example.com", "primary": true}]);
        world.set(&ada, "emails", emails).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["jira-users"]);
        // Taken away again, it stays where it is.
        world
            .patch(
                &format!("/Users/{ada}"),
                json!([{"op": "remove", "path": "emails"}]),
            )
            .await;
        world.leave(&group, &ada).await;
        world.settle().await;
        let after = world.memory.user("ada").unwrap();
        assert_eq!(
            after.email.as_deref(),
            Some("ada@example.com"),
            "{}",
            database.name
        );
        assert!(after.groups.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_costs_nothing() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let group = world.group("jira-users", &[&ada]).await;
        world.settle().await;
        let (reads, writes) = (world.memory.reads(), world.memory.writes().len());
        for _ in 0..5 {
            world.set(&ada, "displayName", json!("The ada")).await;
            world.join(&group, &ada).await;
            world
                .request("PUT", &format!("/Users/{ada}"), person("ada"))
                .await;
        }
        assert_eq!(world.app.drain().await, 0, "{}", database.name);
        // A change that the target does not have is not one there either.
        world.set(&ada, "title", json!("Countess")).await;
        world.settle().await;
        assert_eq!(
            (world.memory.reads(), world.memory.writes().len()),
            (reads, writes)
        );

        // Ten changes are one.
        for n in 0..10 {
            world
                .set(&ada, "displayName", json!(format!("Ada {n}")))
                .await;
        }
        world.settle().await;
        assert_eq!(world.memory.writes().len(), writes + 1);
        assert_eq!(world.memory.user("ada").unwrap().display_name, "Ada 9");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_that_the_source_does_not_know_stay_or_go() {
    for database in databases() {
        let world = World::with(&database, "adopt = true", "").await;
        let more = Observed {
            groups: vec!["by-hand".to_owned(), "jira-administrators".to_owned()],
            ..account("ada")
        };
        world.memory.seed(more);
        let ada = world.create(person("ada")).await;
        world.group("jira-users", &[&ada]).await;
        world.settle().await;
        let groups = ["by-hand", "jira-administrators", "jira-users"];
        assert_eq!(world.groups_of("ada"), groups);
        world.is_looked_at("adopt = true").await;
        let groups = ["jira-administrators", "jira-users"];
        assert_eq!(world.groups_of("ada"), groups, "{}", database.name);
        world.memory.clear_writes();
        world
            .is_looked_at("adopt = true\nprotect = [\"nobody\"]")
            .await;
        assert_eq!(world.memory.writes(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_followed_through_names_and_nesting() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let inner = world.group("jira-inner", &[&ada]).await;
        world.settle().await;
        // A product cannot rename a group: it keeps the one it stands for.
        let rename = json!([{"op": "replace", "path": "displayName", "value": "jira-renamed"}]);
        world.patch(&format!("/Groups/{inner}"), rename).await;
        let joe = world.create(person("joe")).await;
        world.join(&inner, &joe).await;
        world.settle().await;
        assert_eq!(world.groups_of("joe"), ["jira-inner"]);
        assert_eq!(world.groups_of("ada"), ["jira-inner"]);

        let outer = world.group("jira-outer", &[&inner]).await;
        world.settle().await;
        assert_eq!(world.groups_of("joe"), ["jira-inner", "jira-outer"]);
        world.leave(&inner, &joe).await;
        world.settle().await;
        assert!(world.groups_of("joe").is_empty());
        world.leave(&outer, &inner).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["jira-inner"], "{}", database.name);
        world
            .request("DELETE", &format!("/Groups/{inner}"), json!(null))
            .await;
        world.settle().await;
        assert!(world.groups_of("ada").is_empty(), "{}", database.name);
        assert_eq!(world.memory.groups(), ["jira-inner", "jira-outer"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_nested_in_a_circle_are_followed_once() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let first = world.group("jira-first", &[&ada]).await;
        let second = world.group("jira-second", &[&first]).await;
        let third = world.group("jira-third", &[&second]).await;
        world.join(&first, &third).await;
        let joe = world.create(person("joe")).await;
        world.join(&third, &joe).await;
        world.settle().await;
        let all = ["jira-first", "jira-second", "jira-third"];
        assert_eq!(world.groups_of("ada"), all, "{}", database.name);
        assert_eq!(world.groups_of("joe"), all, "{}", database.name);
        world.is_in_step("", "").await;
        // The circle is opened: what came through it goes.
        world.leave(&first, &third).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), all);
        assert_eq!(world.groups_of("joe"), ["jira-third"], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_decide_who_is_meant_and_what_is_made_of_them() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let mut robot = person("robot");
        robot["userType"] = json!("Robot");
        world.create(robot).await;
        world.settle().await;
        let users = "scope = 'userType ne \"Robot\"'";
        world.app.apply(&configuration("live", users, "")).await;
        world.settle().await;
        assert!(
            !world.memory.user("robot").unwrap().active,
            "{}",
            database.name
        );
        assert!(world.memory.user("ada").unwrap().active);

        // Whom an expression fails for waits with the reason; the others go on.
        let users = "username = \"name.givenName | ascii\"";
        world.app.apply(&configuration("live", users, "")).await;
        let name = json!({"givenName": "Иван"});
        let mut ivan = person("ivan");
        ivan["name"] = name;
        let ivan = world.create(ivan).await;
        let mut eve = person("eve");
        eve["name"] = json!({"givenName": "Eve"});
        world.create(eve).await;
        world.settle().await;
        let (state, why) = world.state(&ivan).await;
        assert!(state == "waiting" && why.contains("username"), "{why}");
        assert_eq!(world.state(&ada).await.0, "waiting");
        assert!(world.memory.user("eve").is_some(), "{}", database.name);
        world.set(&ivan, "name", json!({"givenName": "Ivan"})).await;
        world.settle().await;
        assert!(world.memory.user("ivan").is_some(), "{}", database.name);
    }
}
