//! Accounts that somebody changed at the target by hand: found after a full run, and put right, accepted or asked about.

use serde_json::{Value, json};
use usher::domain::{Action, Failure, LeadSuccessors, Role};
use usher::store::drift::{self, Choice, Comparison, Drift};
use usher::targets::Target;

use super::*;

/// A world with Ada, Bob and Eve in `jira-users`, all of them at the target.
async fn settled(database: &Database, policy: &str) -> World {
    let world = World::start(database, DomainOptions::default(), "").await;
    let text = configuration(&world.domain.url(), "").replace(
        "mode = \"live\"",
        &format!("mode = \"live\"\ndrift = \"{policy}\""),
    );
    world.app.apply(&text).await;
    let ids: Vec<String> = ["ada", "bob", "eve"]
        .map(|name| world.domain.add_user(&person(name)))
        .to_vec();
    let group = world.domain.add_group("jira-users");
    world
        .domain
        .add_members(&group, &[&ids[0], &ids[1], &ids[2]]);
    world.run(Extent::Full).await;
    world.app.drain().await;
    world.later(600);
    world.memory.clear_writes();
    world
}

/// What an administrator of the product does to three accounts: renames Ada, throws Bob out, deletes Eve.
async fn by_hand(world: &World) {
    let memory = &world.memory;
    let of = |name: &str| memory.user(&format!("{name}@example.com")).unwrap();
    let (ada, bob) = (of("ada"), of("bob"));
    let edit = Action::UpdateUser {
        remote_id: ada.remote_id.clone(),
        username: ada.username.clone(),
        display_name: Some("Countess".to_owned()),
        email: None,
    };
    let leave = Action::RemoveMember {
        remote_id: bob.remote_id.clone(),
        username: bob.username.clone(),
        group: "jira-users".to_owned(),
    };
    for action in [edit, leave] {
        memory.apply(&action).await.unwrap();
    }
    memory.remove("eve@example.com");
    memory.clear_writes();
}

async fn compared(world: &World) -> Comparison {
    let report = world.run(Extent::Full).await;
    assert_eq!(report.state, "done", "{report:?}");
    world.app.drain().await;
    let all = world
        .app
        .store()
        .read(move |conn| drift::of_run(conn, &report.run))
        .await
        .unwrap();
    assert_eq!(all.len(), 1);
    all.into_iter().next().unwrap()
}

async fn known(world: &World) -> Vec<Drift> {
    world.app.store().read(drift::list).await.unwrap()
}

async fn decide(world: &World, name: &str, push: bool) -> usize {
    let choice = Choice {
        users: Some(vec![world.user_id(name).await]),
        ..Choice::default()
    };
    let now = world.app.clock.now();
    world
        .app
        .store()
        .write(move |tx| drift::decide(tx, &choice, push, "root", now))
        .await
        .unwrap()
}

fn is_as_usher_left_it(world: &World) -> bool {
    let of = |name: &str| world.memory.user(&format!("{name}@example.com"));
    of("ada").is_some_and(|it| it.display_name == "ada Test")
        && of("bob").is_some_and(|it| it.groups == ["jira-users"])
        && of("eve").is_some_and(|it| it.active && it.groups == ["jira-users"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_by_hand_is_put_right_where_the_mapping_says_so() {
    for database in databases() {
        let world = settled(&database, "push").await;
        assert!(is_as_usher_left_it(&world), "{:?}", world.memory.users());
        let quiet = compared(&world).await;
        assert_eq!(
            (
                quiet.compared.accounts,
                quiet.compared.groups,
                quiet.compared.differing
            ),
            (3, 1, 0)
        );
        assert!(world.memory.writes().is_empty());
        by_hand(&world).await;
        let found = compared(&world).await.compared;
        assert_eq!((found.differing, found.pushed, found.asked), (3, 3, 0));
        assert!(is_as_usher_left_it(&world), "{:?}", world.memory.users());
        // Once, and not again.
        world.memory.clear_writes();
        assert_eq!(compared(&world).await.compared.differing, 0);
        assert!(world.memory.writes().is_empty());
        // A run of what changed lately compares nothing.
        by_hand(&world).await;
        let report = world.run(Extent::Incremental).await;
        world.app.drain().await;
        let none = world
            .app
            .store()
            .read(move |conn| drift::of_run(conn, &report.run))
            .await
            .unwrap();
        assert!(none.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_a_person_decides_about_each() {
    for database in databases() {
        let world = settled(&database, "ask").await;
        by_hand(&world).await;
        for _ in 0..2 {
            let found = compared(&world).await.compared;
            assert_eq!((found.differing, found.pushed, found.asked), (3, 0, 3));
            assert!(world.memory.writes().is_empty(), "nobody said so");
            world.later(600);
        }
        let all = known(&world).await;
        let of = |name: &str| {
            all.iter()
                .find(|it| it.user_name.starts_with(name))
                .unwrap()
        };
        assert_eq!(
            of("ada").differences,
            ["display name is \"Countess\", was \"ada Test\""]
        );
        assert_eq!(of("bob").differences, ["not in \"jira-users\" any more"]);
        assert_eq!(of("eve").differences, ["the account is gone"]);
        assert!(
            of("eve")
                .would
                .iter()
                .any(|it| it.contains("create account"))
        );

        assert_eq!(decide(&world, "bob@example.com", true).await, 1);
        assert_eq!(decide(&world, "ada@example.com", false).await, 1);
        world.app.drain().await;
        let bob = world.memory.user("bob@example.com").unwrap();
        assert_eq!(bob.groups, ["jira-users"]);
        let found = compared(&world).await.compared;
        assert_eq!((found.differing, found.accepted, found.asked), (2, 1, 1));
        // What was accepted stays, until it is something else that differs.
        let ada = world.memory.user("ada@example.com").unwrap();
        assert_eq!(ada.display_name, "Countess");
        let edit = Action::UpdateUser {
            remote_id: ada.remote_id,
            username: ada.username,
            display_name: Some("Enchantress".to_owned()),
            email: None,
        };
        world.memory.apply(&edit).await.unwrap();
        assert_eq!(compared(&world).await.compared.asked, 2);
        // The source says something new about the very thing.
        let id = world.domain.user_ids()[0].clone();
        world
            .domain
            .edit_user(&id, |it| it.display_name = "Ada King".to_owned());
        world.later(600);
        assert_eq!(compared(&world).await.compared.differing, 1, "only Eve");
        let ada = world.memory.user("ada@example.com").unwrap();
        assert_eq!(ada.display_name, "Ada King");
        assert_eq!(known(&world).await.len(), 1);
        // Somebody makes it as it was: there is nothing to decide.
        decide(&world, "eve@example.com", true).await;
        world.app.drain().await;
        assert_eq!(compared(&world).await.compared.differing, 0);
        assert!(known(&world).await.is_empty() && world.memory.user("eve@example.com").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_stays_but_nobody_gets_access_by_being_overlooked() {
    for database in databases() {
        let world = settled(&database, "accept").await;
        by_hand(&world).await;
        let found = compared(&world).await.compared;
        assert_eq!((found.differing, found.accepted, found.asked), (3, 3, 0));
        assert!(world.memory.writes().is_empty() && known(&world).await.is_empty());

        // Bob leaves, and somebody lets him in again by hand.
        let bob = world.domain.user_ids()[1].clone();
        world.domain.set_active(&bob, false);
        world.later(600);
        world.run(Extent::Full).await;
        world.app.drain().await;
        // The ledger learns that he is not in the group, which takes a second look.
        world.app.pass(std::time::Duration::from_secs(600), 2).await;
        let account = world.memory.user("bob@example.com").unwrap();
        assert!(!account.active);
        let back = Action::Reactivate {
            remote_id: account.remote_id,
            username: account.username,
            gives: None,
        };
        world.memory.apply(&back).await.unwrap();
        let found = compared(&world).await.compared;
        assert_eq!(found.asked, 1, "{found:?}");
        let all = known(&world).await;
        assert!(
            all[0].has_access && all[0].user_name == "bob@example.com",
            "{all:?}"
        );
        decide(&world, "bob@example.com", true).await;
        world.app.drain().await;
        assert!(!world.memory.user("bob@example.com").unwrap().active);
    }
}

/// Lists only say where to look: each of them may lie.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_concluded_from_a_list() {
    for database in databases() {
        let world = settled(&database, "push").await;
        // The target does not list: said, tried again, given up, and nothing is written.
        let failure = Failure::Transient {
            text: "no list today".to_owned(),
        };
        world.memory.refuse_listings(Some(failure));
        let tried = compared(&world).await;
        assert!(
            !tried.is_over
                && tried
                    .note
                    .as_deref()
                    .is_some_and(|it| it.contains("no list")),
            "{tried:?}"
        );
        world
            .app
            .pass(std::time::Duration::from_secs(3600), 8)
            .await;
        assert!(world.memory.writes().is_empty());
        world.memory.refuse_listings(None);
        world.later(600);
        assert_eq!(compared(&world).await.compared.differing, 0);
        assert!(world.memory.writes().is_empty());
        // Work that is under way is nobody's hand: the deactivation is pending while it is compared.
        let ada = world.memory.user("ada@example.com").unwrap();
        let out = Action::Deactivate {
            remote_id: ada.remote_id,
            username: ada.username,
            successors: LeadSuccessors::default(),
            takes: None,
        };
        world.memory.apply(&out).await.unwrap();
        world.memory.clear_writes();
        let found = compared(&world).await.compared;
        assert_eq!((found.differing, found.pushed), (1, 1));
        assert!(world.memory.user("ada@example.com").unwrap().active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_in_shadow_mode_compares_nobody() {
    let world = settled(&sqlite(), "push").await;
    let text =
        configuration(&world.domain.url(), "").replace("mode = \"live\"", "mode = \"shadow\"");
    world.app.apply(&text).await;
    world.app.drain().await;
    by_hand(&world).await;
    let found = compared(&world).await.compared;
    assert_eq!(found.differing, 0);
    assert!(world.memory.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_api_show_it_and_take_decisions() {
    for database in databases() {
        let world = settled(&database, "ask").await;
        let app = &world.app;
        by_hand(&world).await;
        assert_eq!(compared(&world).await.compared.asked, 3);

        let first = app
            .api(Role::Auditor, "GET", "/api/v1/drift?limit=2", None)
            .await;
        let cursor = first.json["next"].as_str().unwrap();
        let path = format!("/api/v1/drift?limit=2&cursor={cursor}");
        let second = app.api(Role::Auditor, "GET", &path, None).await;
        let items = [&first.json["items"], &second.json["items"]];
        let items: Vec<&Value> = items.iter().flat_map(|it| it.as_array().unwrap()).collect();
        assert_eq!(items.len(), 3, "{items:?}");
        assert!(second.json.get("next").is_none());
        let ada = items
            .iter()
            .find(|it| it["user_name"] == "ada@example.com")
            .unwrap();
        assert_eq!(
            ada["differences"][0],
            "display name is \"Countess\", was \"ada Test\""
        );
        let page = app.page(Role::Auditor, "/drift").await;
        assert!(
            page.contains("Countess") && !page.contains("Put right"),
            "{page}"
        );
        assert!(
            app.page(Role::Operator, "/drift")
                .await
                .contains("Put right")
        );
        let path = format!("/people/{}", ada["user_id"].as_str().unwrap());
        let page = app.page(Role::Auditor, &path).await;
        assert!(page.contains("changed by hand: display name is"), "{page}");

        let post = async |role, path: &str, body| app.api(role, "POST", path, Some(body)).await;
        let (push, accept) = ("/api/v1/drift/push", "/api/v1/drift/accept");
        assert_eq!(post(Role::Auditor, push, json!({})).await.status, 403);
        let nowhere = post(Role::Operator, push, json!({"target": "nowhere"})).await;
        assert_eq!(nowhere.status, 404);
        let wrong = app
            .api(Role::Auditor, "GET", "/api/v1/drift?cursor=x", None)
            .await;
        assert_eq!(wrong.status, 400);
        let which = json!({"users": [ada["user_id"]]});
        let left = post(Role::Operator, accept, which.clone()).await;
        assert_eq!(left.json["count"], 1, "{}", left.json);
        // To say so again changes nothing.
        let again = post(Role::Operator, accept, which).await;
        assert_eq!(again.json["count"], 0);
        let page = app.page(Role::Auditor, &path).await;
        assert!(page.contains("changed by hand, and accepted by"), "{page}");
        let all = post(Role::Operator, push, json!({})).await;
        assert_eq!(all.json["count"], 3);
        app.drain().await;
        assert!(is_as_usher_left_it(&world), "{:?}", world.memory.users());
        assert!(
            app.page(Role::Auditor, "/drift")
                .await
                .contains("No account is known to differ")
        );
    }
}
