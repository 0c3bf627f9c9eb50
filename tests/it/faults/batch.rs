//! Many people at once: fewer requests, and nobody's trouble is another's.

use usher::domain::{Failure, Observed};
use usher::store::audit;
use usher::targets::memory::Memory;

use super::{World, account, databases, person, rejected, transient};

/// So many are listed instead of looked for one by one.
const MANY: usize = 45;

async fn people(world: &World, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    for n in 0..count {
        ids.push(world.create(person(&format!("p{n}"))).await);
    }
    ids
}

async fn grouped(world: &World, name: &str, ids: &[String]) -> String {
    let members: Vec<&str> = ids.iter().map(String::as_str).collect();
    world.group(name, &members).await
}

/// What belongs to nobody but one item stands in its audit.
async fn operations(world: &World, id: &str) -> Vec<String> {
    let id = usher::domain::UserId(id.to_owned());
    let rows = world
        .app
        .store()
        .read(move |conn| audit::of_user(conn, &id, 100))
        .await
        .unwrap();
    let mut all: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row.operation, row.outcome))
        .filter(|row| !row.starts_with("create_group"))
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn many_new_people_cost_little_more_than_their_accounts() {
    for make in [Memory::new, Memory::in_bulk] {
        for database in databases() {
            let memory = make();
            let world = World::on(&database, memory, "", "").await;
            let ids = people(&world, MANY).await;
            grouped(&world, "jira-users", &ids).await;
            grouped(&world, "jira-devs", &ids).await;
            let before = world.memory.requests();
            world.app.drain().await;
            let requests = world.memory.requests() - before;
            let one_by_one = world.memory.writes().len();
            assert_eq!(world.times("create_user"), MANY);
            assert_eq!(world.times("add_member"), 2 * MANY);
            assert_eq!(world.times("create_group"), 2);
            let in_bulk = {
                use usher::targets::Target;
                world.memory.capabilities().members_a_request > 1
            };
            let least = if in_bulk {
                MANY + 2 + 2 * MANY.div_ceil(10)
            } else {
                one_by_one
            };
            // The lists of accounts and of groups.
            assert_eq!(requests, least + 2, "{}, {in_bulk}", database.name);
            for id in &ids {
                let expected = ["add_member done", "add_member done", "create_user done"];
                assert_eq!(operations(&world, id).await, expected);
            }
            world.is_in_step("", "").await;
        }
    }
}

/// The list may be older than what somebody has done by hand since, and adoption is as it would be without it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_made_after_the_list_is_nobodys_by_accident() {
    for (rules, state) in [("", "held"), ("adopt = true", "done")] {
        for database in databases() {
            let world = World::with(&database, rules, "").await;
            people(&world, MANY).await;
            world.app.drain().await;
            // The list is believed for a minute, and this account is not in it. All is as it would be made.
            world.memory.seed(account("late"));
            world.memory.clear_writes();
            let late = world.create(person("late")).await;
            for n in 0..MANY {
                world.create(person(&format!("q{n}"))).await;
            }
            world.app.drain().await;
            world.settle().await;
            let operations = operations(&world, &late).await;
            match state {
                "held" => {
                    assert_eq!(world.state(&late).await.0, "held", "{}", database.name);
                    assert!(operations.is_empty(), "{operations:?}");
                    world.delete(&late).await;
                    world.settle().await;
                    assert!(world.memory.user("late").unwrap().active);
                }
                _ => assert_eq!(operations, ["adopt_user done"], "{}", database.name),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_the_list_is_looked_for() {
    for database in databases() {
        let rules = "match_by = [\"username\", \"email\"]\nadopt = true";
        let world = World::with(&database, rules, "").await;
        world.memory.seed(Observed {
            username: "somebody".to_owned(),
            ..account("p7")
        });
        people(&world, MANY).await;
        world.settle().await;
        assert_eq!(world.times("create_user"), MANY - 1, "{}", database.name);
        assert_eq!(world.memory.users().len(), MANY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_be_listed_is_asked_one_by_one() {
    for database in databases() {
        let world = World::new(&database).await;
        people(&world, MANY).await;
        world.memory.fail_next(rejected("no lists here"));
        let before = world.memory.reads();
        world.app.drain().await;
        assert_eq!(world.times("create_user"), MANY, "{}", database.name);
        assert_eq!(world.memory.reads() - before, MANY + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_that_fails_fails_no_other() {
    for database in databases() {
        let world = World::on(&database, Memory::in_bulk(), "", "").await;
        let ids = people(&world, 12).await;
        world.settle().await;
        world.memory.refuse("p3", Some(rejected("no licence left")));
        let gone = Failure::Gone {
            text: "no such account".to_owned(),
        };
        world.memory.refuse("p4", Some(gone));
        grouped(&world, "jira-users", &ids).await;
        world.app.drain().await;
        for n in (0..12).filter(|n| ![3, 4].contains(n)) {
            assert_eq!(world.groups_of(&format!("p{n}")), ["jira-users"]);
            assert!(world.item(&ids[n]).await.is_none(), "{}", database.name);
        }
        let (state, why) = world.state(&ids[3]).await;
        assert_eq!(
            (state.as_str(), why.as_str()),
            ("rejected", "no licence left")
        );
        assert_eq!(world.state(&ids[4]).await.0, "pending");
        world.memory.refuse("p3", None);
        world.memory.refuse("p4", None);
        world
            .set(&ids[3], "displayName", serde_json::json!("Another"))
            .await;
        world.settle().await;
        assert_eq!(world.groups_of("p3"), ["jira-users"]);
        assert_eq!(world.groups_of("p4"), ["jira-users"]);
        world.is_in_step("", "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_leave_a_group_in_few_requests_and_one_that_cannot_stops_no_other() {
    for database in databases() {
        let world = World::on(&database, Memory::in_bulk(), "", "").await;
        let ids = people(&world, MANY).await;
        let group = grouped(&world, "jira-users", &ids).await;
        world.settle().await;
        assert_eq!(world.groups_of("p3"), ["jira-users"]);
        world.memory.refuse("p3", Some(rejected("a wall")));
        for id in &ids {
            world.leave(&group, id).await;
        }
        let before = world.memory.requests();
        world.app.drain().await;
        let requests = world.memory.requests() - before;
        assert_eq!(requests, MANY.div_ceil(10), "{}", database.name);
        for n in (0..MANY).filter(|n| *n != 3) {
            assert!(world.groups_of(&format!("p{n}")).is_empty(), "p{n}");
            assert!(world.item(&ids[n]).await.is_none(), "{}", database.name);
        }
        assert_eq!(world.groups_of("p3"), ["jira-users"]);
        assert_eq!(world.state(&ids[3]).await.0, "rejected");
        world.memory.refuse("p3", None);
        world
            .set(&ids[3], "displayName", serde_json::json!("Another"))
            .await;
        world.settle().await;
        assert!(world.groups_of("p3").is_empty(), "{}", database.name);
        world.is_in_step("", "").await;
    }
}

/// Nobody knows what became of ten memberships: they are read again, and are Usher's if they are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_about_many_is_looked_up_for_each() {
    for database in databases() {
        let world = World::on(&database, Memory::in_bulk(), "", "").await;
        let ids = people(&world, 10).await;
        world.settle().await;
        world.memory.seed_group("jira-users");
        world.memory.seed_group("jira-devs");
        world.memory.fail_after_apply(transient());
        world.memory.fail_after_apply(transient());
        let users = grouped(&world, "jira-users", &ids).await;
        let devs = grouped(&world, "jira-devs", &ids).await;
        world.app.drain().await;
        assert!(world.item(&ids[0]).await.is_some());
        world.settle().await;
        let sent = world.times("add_member");
        assert_eq!(sent, 20, "{}: nothing is done twice", database.name);
        for id in &ids {
            world.leave(&users, id).await;
            world.leave(&devs, id).await;
        }
        world.settle().await;
        for n in 0..10 {
            assert!(
                world.groups_of(&format!("p{n}")).is_empty(),
                "{}",
                database.name
            );
        }
        world.is_in_step("", "").await;
    }
}

/// Nothing was sent, so nothing can come of it later: nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_refused_connection_nothing_is_waited_for() {
    let unreachable = Failure::Unreachable {
        text: "connection refused".to_owned(),
    };
    for (failure, waits) in [(unreachable, false), (transient(), true)] {
        for database in databases() {
            let world = World::new(&database).await;
            let ada = world.create(person("ada")).await;
            world.memory.refuse("ada", Some(failure.clone()));
            world.app.drain().await;
            world.memory.refuse("ada", None);
            world.delete(&ada).await;
            world.app.drain().await;
            // A request that got no answer may still make the account, so the deleted person is looked at again.
            assert_eq!(world.item(&ada).await.is_some(), waits, "{}", database.name);
            world.settle().await;
            assert!(world.memory.user("ada").is_none());
        }
    }
}
