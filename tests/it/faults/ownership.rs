//! What is not Usher's stays as it is, and what came from somebody who left goes to who came back.

use serde_json::json;
use usher::domain::{Observed, UserId};
use usher::store::{self, users, work};
use usher::targets::Protected;

use super::{World, account, configuration, databases, person};

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_account_is_left_alone_unless_adoption_is_on() {
    for database in databases() {
        let world = World::new(&database).await;
        world.memory.seed(Observed {
            display_name: "Somebody".to_owned(),
            groups: vec!["jira-users".to_owned(), "theirs".to_owned()],
            ..account("ada")
        });
        let ada = world.create(person("ada")).await;
        let group = world.group("jira-users", &[&ada]).await;
        world.settle().await;
        assert_eq!(world.memory.writes(), []);
        let (state, why) = world.state(&ada).await;
        assert!(state == "held" && why.contains("adopt = true"), "{why}");
        world.delete(&ada).await;
        world.settle().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);

        let ada = world.create(person("ada")).await;
        world.join(&group, &ada).await;
        world
            .app
            .apply(&configuration("live", "adopt = true", ""))
            .await;
        world.settle().await;
        let after = world.memory.user("ada").unwrap();
        assert_eq!(after.display_name, "The ada");
        assert_eq!(world.names_of_writes(), ["update_user"]);
        // The membership that is wanted is Usher's now, the other one is not.
        world.leave(&group, &ada).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["theirs"], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_protected_is_never_changed() {
    for database in databases() {
        let world = World::with(
            &database,
            "adopt = true\nprotect = [\"svc-*\"]",
            "protect = [\"jira-admins\"]",
        )
        .await;
        world.memory.protect(Protected {
            users: vec!["usher-bot".to_owned()],
            groups: vec!["jira-owners".to_owned()],
            kept_by_product: Vec::new(),
        });
        let mut ids = Vec::new();
        for name in ["svc-mail", "usher-bot"] {
            world.memory.seed(account(name));
            ids.push(world.create(person(name)).await);
        }
        world.memory.seed(Observed {
            groups: vec!["jira-admins".to_owned()],
            ..account("ada")
        });
        let ada = world.create(person("ada")).await;
        ids.push(ada.clone());
        world.memory.seed_group("jira-owners");
        world.group("jira-owners", &[&ada, &ids[0]]).await;
        let admins = world.group("jira-admins", &[&ada, &ids[0]]).await;
        world.settle().await;
        world.leave(&admins, &ada).await;
        for id in &ids[..2] {
            world.set(id, "displayName", json!("Changed")).await;
            world.delete(id).await;
        }
        world.settle().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        assert_eq!(world.groups_of("ada"), ["jira-admins"]);
        // Nor is anybody renamed to such a name.
        world.set(&ada, "userName", json!("svc-ada")).await;
        world.settle().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_gets_the_account_with_its_memberships() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let group = world.group("jira-users", &[&ada]).await;
        world.settle().await;
        let key = world.memory.user("ada").unwrap().remote_id;
        world.delete(&ada).await;
        world.settle().await;
        assert!(!world.memory.user("ada").unwrap().active);
        assert_eq!(world.groups_of("ada"), ["jira-users"]);

        let again = world.create(person("ada")).await;
        world.join(&group, &again).await;
        world.memory.clear_writes();
        world.settle().await;
        let after = world.memory.user("ada").unwrap();
        assert!(after.active && after.remote_id == key, "{after:?}");
        assert_eq!(world.names_of_writes(), ["reactivate"], "{}", database.name);
        // It is Usher's membership still.
        world.leave(&group, &again).await;
        world.settle().await;
        assert!(world.groups_of("ada").is_empty(), "{}", database.name);
        world.is_in_step("", "").await;
    }
}

/// The deletion has not reached the target when the same person is there again, whatever of the two the
/// engine comes to first, and whatever became of the account meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_deleted_and_made_again_at_once_keeps_access() {
    for database in databases() {
        let world = World::new(&database).await;
        for (name, lost) in [("ada", false), ("eve", true), ("joe", false)] {
            if lost {
                // The account is made, and nobody knows.
                world.memory.fail_after_apply(super::transient());
            }
            let first = world.create(person(name)).await;
            if name != "joe" {
                world.app.drain().await;
            }
            world.delete(&first).await;
            world.create(person(name)).await;
            world.settle().await;
            let after = world.memory.user(name).unwrap();
            assert!(after.active, "{}: {after:?}", database.name);
        }
        assert_eq!(world.times("create_user"), 3, "{}", database.name);
        world.is_in_step("", "").await;
    }
}

/// Until the outcome of a creation is known, the name alone proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_that_name_is_not_taken_for_the_one_that_was_to_be_made() {
    for database in databases() {
        let world = World::new(&database).await;
        world.memory.refuse("ada", Some(super::transient()));
        let ada = world.create(person("ada")).await;
        world.app.drain().await;
        world.memory.refuse("ada", None);
        world.memory.seed(Observed {
            email: Some("somebody@example.net".to_owned()),
            ..account("ada")
        });
        world.memory.clear_writes();
        world.settle().await;
        assert_eq!(world.state(&ada).await.0, "held");
        world.delete(&ada).await;
        world.settle().await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        assert!(world.memory.user("ada").unwrap().active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_given_up_goes_to_the_next_one() {
    // Alone in the queue the later one would find the name free.
    for forwards in [true, false] {
        for database in databases() {
            let world = World::new(&database).await;
            let tag = if forwards { "f" } else { "b" };
            let (old, new) = (format!("ada-{tag}"), format!("countess-{tag}"));
            let ada = world.create(person(&old)).await;
            world.settle().await;
            if forwards {
                world.memory.fail_next(super::transient());
            }
            world.set(&ada, "userName", json!(new)).await;
            let mut successor = person(&old);
            successor["emails"][0]["value"] = json!("other@example.com");
            world.create(successor).await;
            world.settle().await;
            assert_eq!(
                world.memory.user(&new).unwrap().email.unwrap(),
                format!("{old}@example.com")
            );
            assert_eq!(
                world.memory.user(&old).unwrap().email.unwrap(),
                "other@example.com",
                "{}",
                database.name
            );
            let status = world.status().await;
            assert_eq!((status.held, status.failed), (0, 0));
        }
    }
}

/// Between the request that makes an account and the record of it, a successor of the name meets an account that the
/// ledger does not know by its key.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_being_made_is_nobody_elses_to_be_held_for() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        world.memory.fail_after_apply(super::transient());
        world.app.drain().await;
        assert!(world.memory.user("ada").is_some());
        world.set(&ada, "userName", json!("countess")).await;
        // Another worker is at it.
        let (target, now) = (world.status().await.target_id, world.app.clock.now());
        let user = UserId(ada.clone());
        let claimed = world
            .app
            .store()
            .write(move |tx| -> Result<_, store::Error> {
                let found = users::find(tx.conn(), &user)?;
                let wanted = work::Wanted {
                    target: target.clone(),
                    connections: found.into_iter().map(|(it, _)| it.0).collect(),
                    owner: "another".to_owned(),
                    now,
                    lease_until: now + 20_000_000,
                    limit: 1,
                    probe: false,
                    leavers_only: false,
                };
                work::claim(tx, &wanted)
            })
            .await
            .unwrap();
        assert_eq!(claimed.len(), 1);
        let mut successor = person("ada");
        successor["emails"][0]["value"] = json!("other@example.com");
        let successor = world.create(successor).await;
        world.app.drain().await;
        assert_eq!(world.state(&successor).await.0, "pending");
        world.after(30).await;
        world.settle().await;
        let email = |name: &str| world.memory.user(name).unwrap().email.unwrap();
        assert_eq!(email("countess"), "ada@example.com", "{}", database.name);
        assert_eq!(email("ada"), "other@example.com", "{}", database.name);
        assert_eq!(world.times("create_user"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_by_hand_is_found_and_put_right() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let joe = world.create(person("joe")).await;
        let group = world.group("jira-users", &[&ada, &joe]).await;
        world.settle().await;

        // The account is gone: it is made again, with everything.
        world.memory.remove("ada");
        world.set(&ada, "displayName", json!("Ada")).await;
        world.settle().await;
        assert_eq!(world.groups_of("ada"), ["jira-users"]);
        assert_eq!(world.times("create_user"), 3);

        // It has another name: it gets its own back.
        let renamed = world.memory.user("ada").unwrap();
        world.memory.seed(Observed {
            username: "lady".to_owned(),
            ..renamed.clone()
        });
        world.memory.seed_group("jira-more");
        world.group("jira-more", &[&ada]).await;
        world.set(&ada, "userName", json!("countess")).await;
        world.settle().await;
        let after = world.memory.user("countess").unwrap();
        assert_eq!(after.remote_id, renamed.remote_id);
        assert_eq!(after.groups, ["jira-more", "jira-users"]);

        // The group is gone: it is made again, and everyone is in it again.
        world.memory.remove_group("jira-users");
        let eve = world.create(person("eve")).await;
        world.join(&group, &eve).await;
        world.settle().await;
        for name in ["countess", "joe", "eve"] {
            let groups = world.groups_of(name);
            assert!(
                groups.contains(&"jira-users".to_owned()),
                "{}: {name} is in {groups:?}",
                database.name
            );
        }
        world.is_in_step("", "").await;
    }
}

/// The key is what counts: an account taken over keeps what it was.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_found_by_its_address_alone() {
    for database in databases() {
        let users = "match_by = [\"email\"]\nadopt = true";
        let world = World::with(&database, users, "").await;
        let key = world.memory.seed(Observed {
            email: Some("ada@example.com".to_owned()),
            display_name: "The ada".to_owned(),
            ..account("alovelace")
        });
        world.memory.seed(Observed {
            email: Some("other@example.net".to_owned()),
            ..account("joe")
        });
        world.create(person("ada")).await;
        // The name is somebody else's, and the address is not there.
        let joe = world.create(person("joe")).await;
        world.settle().await;
        assert_eq!(world.memory.user("ada").unwrap().remote_id, key);
        assert_eq!(world.state(&joe).await.0, "held", "{}", database.name);
        assert_eq!(world.names_of_writes(), ["rename_user"]);
        let user = usher::domain::UserId(joe);
        let rows = world
            .app
            .store()
            .read(move |conn| usher::store::ledger::accounts_of(conn, &user))
            .await
            .unwrap();
        assert!(rows.is_empty());
    }
}
