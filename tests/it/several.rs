//! Several identity providers into one target: who has an account that people of two of them claim.

use serde_json::json;
use usher::domain::ConnectionKind;
use usher::store::{audit, users, work};
use usher::targets::memory::Memory;

use super::harness::{App, databases};
use super::scim::user;

fn configuration(north: &str, south: &str, adopt: bool) -> String {
    let connections = [("north", north), ("south", south)].map(|(name, precedence)| {
        format!("[[connection]]\nname = \"{name}\"\nkind = \"scim\"\n{precedence}\n")
    });
    let mappings = ["north", "south"].map(|name| {
        format!(
            "[[mapping]]\nconnection = \"{name}\"\ntarget = \"jira\"\nmode = \"live\"\n\
             [mapping.users]\nadopt = {adopt}\n"
        )
    });
    format!(
        "{}\n[[target]]\nname = \"jira\"\nkind = \"jira-dc\"\nbase_url = \"http://127.0.0.1:1\"\n\
         token = {{ env = \"NONE\" }}\n{}",
        connections.concat(),
        mappings.concat()
    )
}

struct World {
    app: App,
    memory: Memory,
    north: String,
    south: String,
}

impl World {
    async fn start(database: &super::harness::Database, text: &str) -> Self {
        let memory = Memory::new();
        let app = App::start(database, &memory).await;
        for name in ["north", "south"] {
            app.connection(name, ConnectionKind::Scim).await;
        }
        app.apply(text).await;
        Self {
            north: app.token("north").await,
            south: app.token("south").await,
            app,
            memory,
        }
    }

    /// A Bob with a display name that tells where he comes from.
    async fn push(&self, from: &str) -> String {
        let token = if from == "north" {
            &self.north
        } else {
            &self.south
        };
        let mut bob = user("bob");
        bob["displayName"] = json!(from);
        bob["emails"] = json!([{"value": "bob@example.com", "type": "work", "primary": true}]);
        let made = self.app.send(token, "POST", "/Users", Some(bob)).await;
        assert_eq!(made.status, 201, "{}", made.json);
        self.settle().await;
        made.id()
    }

    /// Works until everything has had its turn, also what comes back in a moment.
    async fn settle(&self) {
        self.app.drain().await;
        self.app.pass(std::time::Duration::from_secs(2), 4).await;
    }

    /// What keeps the person from having the account.
    async fn conflict(&self, id: &str) -> Option<String> {
        let id = usher::domain::UserId(id.to_owned());
        let items = self
            .app
            .store()
            .read(move |conn| work::of_user(conn, &id))
            .await
            .unwrap();
        items
            .into_iter()
            .find(|item| item.state == "held")
            .and_then(|item| item.last_error)
    }

    fn has_it(&self) -> String {
        let all = self.memory.users();
        assert_eq!(all.len(), 1, "one account: {all:?}");
        all.into_iter().next().unwrap().display_name
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_goes_to_the_connection_that_takes_precedence_whoever_comes_first() {
    for first in ["north", "south"] {
        for database in databases() {
            let text = configuration("precedence = 1", "precedence = 2", false);
            let world = World::start(&database, &text).await;
            let second = if first == "north" { "south" } else { "north" };
            let (one, two) = (world.push(first).await, world.push(second).await);
            let (north, south) = if first == "north" {
                (one, two)
            } else {
                (two, one)
            };
            assert_eq!(world.has_it(), "north", "{first} came first");
            assert_eq!(world.conflict(&north).await, None);
            let why = world.conflict(&south).await.unwrap();
            assert!(
                why.starts_with("conflict") && why.contains("north takes precedence"),
                "{why}"
            );
            // The loser changes nothing, the winner everything.
            world.memory.clear_writes();
            let patch = |name: &str| {
                Some(
                    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": [{"op": "replace", "path": "displayName", "value": name}]}),
                )
            };
            let path = format!("/Users/{south}");
            world
                .app
                .send(&world.south, "PATCH", &path, patch("Usurper"))
                .await;
            world.settle().await;
            assert!(world.memory.writes().is_empty());
            let path = format!("/Users/{north}");
            world
                .app
                .send(&world.north, "PATCH", &path, patch("King"))
                .await;
            world.settle().await;
            assert_eq!(world.has_it(), "King");
            // Deactivated at the loser: nothing. At the winner: out.
            let path = format!("/Users/{south}");
            world.app.send(&world.south, "DELETE", &path, None).await;
            world.settle().await;
            assert!(world.memory.user("bob").unwrap().active);
            let path = format!("/Users/{north}");
            world.app.send(&world.north, "DELETE", &path, None).await;
            world.settle().await;
            assert!(!world.memory.user("bob").unwrap().active);
            if first == "south" {
                let rows = world
                    .app
                    .store()
                    .read(|conn| audit::page(conn, &audit::Query::default(), 100))
                    .await
                    .unwrap();
                let over = rows.iter().find(|it| it.operation == "hand_over").unwrap();
                assert!(
                    over.message
                        .as_deref()
                        .unwrap()
                        .contains("north takes precedence over south")
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_precedence_whoever_has_the_account_keeps_it() {
    for (north, south) in [("", ""), ("precedence = 5", "precedence = 5")] {
        for database in databases() {
            let world = World::start(&database, &configuration(north, south, true)).await;
            world.push("south").await;
            let north = world.push("north").await;
            assert_eq!(world.has_it(), "south");
            let why = world.conflict(&north).await.unwrap();
            assert!(why.contains("neither connection takes precedence"), "{why}");
        }
    }
}

/// The winner is gone: the account is there for the other one as any account is that Usher did not make.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_one_gets_the_account_of_a_leaver_only_where_accounts_are_adopted() {
    for adopt in [false, true] {
        for database in databases() {
            let text = configuration("precedence = 1", "precedence = 2", adopt);
            let world = World::start(&database, &text).await;
            let (north, south) = (world.push("north").await, world.push("south").await);
            let path = format!("/Users/{north}");
            world.app.send(&world.north, "DELETE", &path, None).await;
            world.settle().await;
            let id = usher::domain::UserId(south.clone());
            let now = world.app.clock.now();
            let (connection, _) = world
                .app
                .store()
                .read(move |conn| users::find(conn, &id))
                .await
                .unwrap()
                .unwrap();
            let target = world
                .app
                .store()
                .read(usher::store::settings::load)
                .await
                .unwrap()
                .targets[0]
                .id
                .clone();
            // As after every full run.
            let again = world
                .app
                .store()
                .write(move |tx| work::try_held_again(tx, &target, &connection, now))
                .await
                .unwrap();
            assert_eq!(again, 1);
            world.settle().await;
            let bob = world.memory.user("bob").unwrap();
            assert_eq!((bob.active, world.memory.users().len()), (adopt, 1));
            assert_eq!(world.conflict(&south).await.is_none(), adopt);
        }
    }
}
