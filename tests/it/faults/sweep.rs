//! Groups whose members are compared with the source: who is taken out, and what keeps anybody from it.

use usher::domain::Observed;
use usher::store::{audit, group_work};
use usher::targets::Protected;

use super::{World, account, configuration, databases, person, transient};

const GROUPS: &str =
    "manual = [{ from = \"Engineering\", to = [\"developers\"], keep_members = false }]";

fn in_groups(name: &str, groups: &[&str]) -> Observed {
    Observed {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..account(name)
    }
}

impl World {
    async fn note(&self) -> String {
        let notes = self.app.store().read(group_work::notes).await.unwrap();
        notes
            .into_iter()
            .filter_map(|note| note.note)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn members(&self, group: &str) -> Vec<String> {
        let users = self.memory.users().into_iter();
        users
            .filter(|user| user.groups.contains(&group.to_owned()))
            .map(|user| user.username)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_source_does_not_have_in_the_group_is_taken_out() {
    for database in databases() {
        let users = "adopt = true\nprotect = [\"svc-*\"]";
        let rules = GROUPS;
        let world = World::with(&database, users, "").await;
        world.memory.protect(Protected {
            users: vec!["usher-bot".to_owned()],
            groups: Vec::new(),
            kept_by_product: Vec::new(),
        });
        for name in ["stranger", "svc-mail", "usher-bot", "joe"] {
            world
                .memory
                .seed(in_groups(name, &["developers", "others"]));
        }
        let ada = world.create(person("ada")).await;
        // Known, and in the group by hand.
        world.create(person("joe")).await;
        world.group("Engineering", &[&ada]).await;
        world.settle().await;
        world.memory.clear_writes();
        world.app.apply(&configuration("live", users, rules)).await;
        world.settle().await;
        assert_eq!(
            world.members("developers"),
            ["ada", "svc-mail", "usher-bot"],
            "{}: {}",
            database.name,
            world.note().await
        );
        // Other groups are nobody's business.
        assert_eq!(world.members("others").len(), 4);
        assert_eq!(world.times("remove_member"), 2);
        let rows = world
            .app
            .store()
            .read(|conn| audit::page(conn, &audit::Query::default(), 100))
            .await
            .unwrap();
        let removed: Vec<_> = rows
            .iter()
            .filter(|row| row.operation == "remove_member")
            .filter_map(|row| row.user_name.as_deref())
            .collect();
        assert!(
            removed.contains(&"stranger") && removed.contains(&"joe"),
            "{removed:?}"
        );

        // Put in by hand again: found at the next look, a day later at the latest.
        let stranger = world.memory.user("stranger").unwrap();
        world.memory.seed(Observed {
            groups: vec!["developers".to_owned()],
            ..stranger
        });
        world.after(60).await;
        world.after(25 * 60 * 60).await;
        world.settle().await;
        assert_eq!(
            world.members("developers"),
            ["ada", "svc-mail", "usher-bot"]
        );
        // Nothing differs: nothing is written, however often it is looked at.
        world.memory.clear_writes();
        for _ in 0..3 {
            world.after(25 * 60 * 60).await;
        }
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        assert_eq!(world.note().await, "in step; 2 protected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_whom_the_source_has_in_the_group_stay_also_without_an_account_of_ushers() {
    for database in databases() {
        // Held, as the account is not Usher's and may not be taken over.
        let rules = GROUPS;
        let world = World::with(&database, "", rules).await;
        world.memory.seed(in_groups("held", &["developers"]));
        world.memory.seed(in_groups("stranger", &["developers"]));
        let held = world.create(person("held")).await;
        let ada = world.create(person("ada")).await;
        let inner = world.group("inner", &[&held]).await;
        world.group("Engineering", &[&ada, &inner]).await;
        world.settle().await;
        world.after(25 * 60 * 60).await;
        assert_eq!(world.state(&held).await.0, "held");
        assert_eq!(
            world.members("developers"),
            ["ada", "held"],
            "{}",
            database.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_empties_no_group() {
    for database in databases() {
        let rules = GROUPS;
        let world = World::with(&database, "adopt = true", rules).await;
        world.memory.seed(in_groups("stranger", &["developers"]));
        // Nobody is in it by the source.
        let group = world.group("Engineering", &[]).await;
        world.after(25 * 60 * 60).await;
        assert_eq!(world.members("developers"), ["stranger"]);
        assert!(world.note().await.contains("by the source nobody is in it"));
        // A listing that does not show those whom Usher put there.
        let ada = world.create(person("ada")).await;
        world.join(&group, &ada).await;
        world.app.drain().await;
        let there = world.memory.user("ada").unwrap();
        world.memory.seed(Observed {
            groups: Vec::new(),
            ..there
        });
        world.memory.seed(in_groups("another", &["developers"]));
        world.memory.clear_writes();
        world.after(25 * 60 * 60).await;
        assert_eq!(world.memory.writes(), [], "{}", database.name);
        assert!(
            world
                .note()
                .await
                .contains("nothing is removed by such a list")
        );
        // A listing that fails.
        world.memory.outage(Some(transient()));
        world.after(25 * 60 * 60).await;
        world.memory.outage(None);
        assert_eq!(world.memory.writes(), [], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_says_who_would_be_taken_out_and_protected_groups_are_left_alone() {
    for database in databases() {
        let world = World::with(&database, "adopt = true", "").await;
        world.memory.seed(in_groups("stranger", &["developers"]));
        let ada = world.create(person("ada")).await;
        world.group("Engineering", &[&ada]).await;
        world.settle().await;
        world
            .app
            .apply(&configuration("shadow", "adopt = true", GROUPS))
            .await;
        world.settle().await;
        assert!(
            world.note().await.contains("would: remove \"stranger\""),
            "{}",
            world.note().await
        );
        world.memory.protect(Protected {
            users: Vec::new(),
            groups: vec!["Developers".to_owned()],
            kept_by_product: Vec::new(),
        });
        world
            .app
            .apply(&configuration("live", "adopt = true", GROUPS))
            .await;
        world.settle().await;
        assert!(
            world.note().await.contains("protected"),
            "{}",
            world.note().await
        );
        assert_eq!(
            world.members("developers"),
            ["stranger"],
            "{}",
            database.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brakes_hold_what_a_comparison_would_remove_until_a_person_agrees() {
    use usher::store::brakes::{self, Choice, Decision};
    for database in databases() {
        let world = World::with(&database, "adopt = true", "").await;
        let ada = world.create(person("ada")).await;
        world.group("Engineering", &[&ada]).await;
        for n in 0..4 {
            world
                .memory
                .seed(in_groups(&format!("stranger{n}"), &["developers"]));
        }
        world.settle().await;
        let text = configuration("live", "adopt = true", GROUPS);
        let (head, _) = text.split_once("[mapping.brakes]").unwrap();
        let brakes = "membership_removals = { count = 1, share = 1.0, window = \"1h\" }";
        world
            .app
            .apply(&format!("{head}[mapping.brakes]\n{brakes}\n"))
            .await;
        world.settle().await;
        assert_eq!(
            world.members("developers").len(),
            4,
            "{}",
            world.note().await
        );
        let held = world.held().await;
        assert_eq!(held.len(), 3, "{}", database.name);
        // One is taken out by hand: it is held no more.
        let gone = held[0].user_name.clone();
        let there = world.memory.user(&gone).unwrap();
        world.memory.seed(Observed {
            groups: Vec::new(),
            ..there
        });
        let now = world.app.clock.now();
        world.after(10 * 60).await;
        let held = world.held().await;
        assert_eq!(held.len(), 2, "{}", database.name);
        world
            .app
            .store()
            .write(move |tx| brakes::decide(tx, &Choice::default(), Decision::Release, "test", now))
            .await
            .unwrap();
        world.settle().await;
        assert_eq!(world.members("developers"), ["ada"], "{}", database.name);
        assert!(world.held().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_taken_over_is_compared_once_for_the_record() {
    for database in databases() {
        let world = World::with(&database, "", "").await;
        world.memory.seed(in_groups("stranger", &["jira-users"]));
        let ada = world.create(person("ada")).await;
        world.group("jira-users", &[&ada]).await;
        world.settle().await;
        world.after(60).await;
        let rows = world
            .app
            .store()
            .read(|conn| audit::page(conn, &audit::Query::default(), 100))
            .await
            .unwrap();
        let adopted: Vec<_> = rows
            .iter()
            .filter(|row| row.operation == "adopt_group")
            .collect();
        assert_eq!(adopted.len(), 1, "{}", database.name);
        let text = adopted[0].message.as_deref().unwrap();
        assert!(
            text.contains("1 of them not by the source (\"stranger\")"),
            "{text}"
        );
        assert_eq!(world.members("jira-users"), ["ada", "stranger"]);
    }
}
