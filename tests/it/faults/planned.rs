//! Plans: what they say, what they cost the target, and that they change nothing.

use std::path::Path;

use serde_json::json;
use usher::app::{self, By};
use usher::converge::{Outlook, Scope, Summary, Verdict};
use usher::store::settings::{self, Configuration};

use super::{World, account, configuration, databases, person, transient};

const NOBODY: By<'static> = By {
    actor: "test",
    cause: "usher plan",
};

impl World {
    pub(super) async fn stored(&self) -> Configuration {
        self.app.store().read(settings::load).await.unwrap()
    }

    pub(super) async fn plan(
        &self,
        configuration: Configuration,
        scope: &Scope,
    ) -> (Vec<Outlook>, Summary) {
        let mut people = Vec::new();
        let summaries = self
            .app
            .parts
            .engine
            .preview(configuration, scope, &mut |outlook| people.push(outlook))
            .await
            .unwrap();
        (people, summaries.into_iter().next().unwrap())
    }
}

fn operations(outlook: &Outlook) -> Vec<(&str, &str)> {
    outlook
        .operations
        .iter()
        .map(|o| (o.operation.as_str(), o.because.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_planned_with_its_rule_and_nothing_is_done() {
    for database in databases() {
        let world = World::new(&database).await;
        let ada = world.create(person("ada")).await;
        let joe = world.create(person("joe")).await;
        world.group("jira-users", &[&ada, &joe]).await;
        world.settle().await;
        world.memory.clear_writes();
        let reads = world.memory.reads();

        let (people, summary) = world.plan(world.stored().await, &Scope::default()).await;
        assert_eq!((summary.people, summary.changing), (2, 0));
        assert!(people.iter().all(|p| p.verdict == Verdict::InStep));
        // The ledger is trusted where a run trusts it.
        assert_eq!(world.memory.reads(), reads);

        world.set(&ada, "active", json!(false)).await;
        world.set(&joe, "displayName", json!("Joseph")).await;
        let eve = world.create(person("eve")).await;
        world.create(json!({"userName": "nobody"})).await;
        world.group("jira-new", &[&eve]).await;
        let pending = world.status().await.pending;
        let (people, summary) = world.plan(world.stored().await, &Scope::default()).await;
        let of = |name: &str| people.iter().find(|p| p.user_name == name).unwrap();
        assert_eq!(
            operations(of("ada")),
            [("deactivate", "inactive: the source says active: false")]
        );
        assert_eq!(
            operations(of("joe")),
            [(
                "update_user",
                "display_name = \"displayName or name.formatted or userName\" gives \"Joseph\""
            )]
        );
        let in_group = "in group \"jira-new\": on-the-fly group of the same name";
        assert_eq!(
            operations(of("eve")),
            [
                ("create_user", "in scope: everyone is"),
                ("create_group", in_group),
                ("add_member", in_group),
            ]
        );
        assert_eq!(of("nobody").verdict, Verdict::Waiting);
        assert_eq!(
            (summary.people, summary.changing, summary.waiting),
            (4, 3, 1),
            "{}",
            database.name
        );
        assert_eq!(summary.operations["deactivate"], 1);
        assert_eq!(world.memory.writes(), []);
        assert_eq!(world.status().await.pending, pending);

        let only = Scope {
            users: vec![usher::domain::UserId(eve)],
            ..Scope::default()
        };
        let (people, _) = world.plan(world.stored().await, &only).await;
        assert_eq!(people.len(), 1);
        assert_eq!(people[0].user_name, "eve");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_planned_before_it_is_applied() {
    for database in databases() {
        let world = World::new(&database).await;
        for n in 0..5 {
            let mut body = person(&format!("p{n}"));
            body["userType"] = json!(if n < 3 { "Robot" } else { "Human" });
            world.create(body).await;
        }
        world.settle().await;
        world.memory.clear_writes();
        let text = configuration("live", "scope = 'userType ne \"Robot\"'", "");
        let place = Path::new("usher.toml");
        let apply = |dry| {
            let (store, clock) = (world.app.store(), &world.app.clock);
            app::apply_text(store, clock, (place, &text), NOBODY, dry)
        };
        let report = apply(true).await.unwrap();
        assert_eq!((report.marked, report.changed.len()), (5, 1));
        let scope = Scope {
            mappings: Some(report.changed),
            ..Scope::default()
        };
        let (people, summary) = world.plan(report.configuration, &scope).await;
        assert_eq!((summary.people, summary.changing), (5, 3));
        let first = people.iter().find(|p| !p.operations.is_empty()).unwrap();
        assert_eq!(
            operations(first),
            [(
                "deactivate",
                "out of scope: \"userType ne \"Robot\"\" does not match"
            )]
        );
        // Nothing came of it.
        assert_eq!(world.status().await.pending, 0);
        let (_, now) = world.plan(world.stored().await, &Scope::default()).await;
        assert_eq!(now.changing, 0);

        apply(false).await.unwrap();
        world.settle().await;
        assert_eq!(world.times("deactivate"), 3, "{}", database.name);
        assert_eq!(world.memory.writes().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_asks_no_more_than_it_must_and_leaves_a_silent_target_alone() {
    for database in databases() {
        let world = World::with(&database, "", "").await;
        world.memory.seed(account("p0"));
        let mut ids = Vec::new();
        for n in 0..8 {
            ids.push(world.create(person(&format!("p{n}"))).await);
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        world.group("jira-all", &ids).await;
        let reads = world.memory.reads();
        let (people, summary) = world.plan(world.stored().await, &Scope::default()).await;
        // Each name once, and the group once.
        assert_eq!(world.memory.reads() - reads, 9, "{}", database.name);
        assert_eq!(summary.held, 1);
        assert_eq!(summary.operations["create_group"], 1);
        assert_eq!(summary.operations["add_member"], 7);
        assert!(people[0].reason.as_ref().unwrap().contains("adopt"));

        world.memory.outage(Some(transient()));
        let reads = world.memory.reads();
        let (people, summary) = world.plan(world.stored().await, &Scope::default()).await;
        assert_eq!((people.len(), summary.unknown), (3, 3));
        assert!(summary.stopped.is_some());
        assert_eq!(world.memory.reads() - reads, 3, "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_the_brakes_would_hold_and_who_is_live_already() {
    const TIGHT: &str = "deactivations = { count = 3, share = 1.0, window = \"1h\" }";
    for database in databases() {
        let world = World::braked(&database, "", "", TIGHT).await;
        let ids = world.people(8).await;
        // One is held already, and three have passed.
        for id in &ids[..4] {
            world.set(id, "active", json!(false)).await;
        }
        world.settle().await;
        assert_eq!((world.inactive(), world.held().await.len()), (3, 1));
        for id in &ids[4..6] {
            world.set(id, "active", json!(false)).await;
        }
        let (people, summary) = world.plan(world.stored().await, &Scope::default()).await;
        assert_eq!(summary.held, 3, "{}", database.name);
        assert_eq!(summary.changing, 3);
        assert!(summary.operations.is_empty(), "{summary:?}");
        assert_eq!(summary.braked["deactivate"], 3);
        let held = people.iter().find(|p| p.user_name == "p5").unwrap();
        assert_eq!(held.verdict, Verdict::Held);
        let why = held.reason.as_deref().unwrap();
        assert!(why.contains("3 within 1h is the limit"), "{why}");
        // A window later three pass, one after the other; the one that was held stays so.
        world.app.clock.advance_ms(2 * 60 * 60 * 1000);
        world.set(&ids[6], "active", json!(false)).await;
        world.set(&ids[7], "active", json!(false)).await;
        let (_, summary) = world.plan(world.stored().await, &Scope::default()).await;
        assert_eq!(summary.operations["deactivate"], 3, "{}", database.name);
        assert_eq!(summary.braked["deactivate"], 2);
        assert_eq!(world.held().await.len(), 1, "a plan holds nothing itself");
        world.memory.clear_writes();
        world.settle().await;
        assert_eq!(world.times("deactivate"), 3);
        assert_eq!(world.held().await.len(), 2, "{}", database.name);

        // In shadow mode a few are live.
        let few = super::configuration("shadow", "display_name = \"'x'\"", "").replace(
            "mode = \"shadow\"",
            "mode = \"shadow\"\nlive_for = [\"p0\"]",
        );
        world.app.apply(&few).await;
        let (people, summary) = world.plan(world.stored().await, &Scope::default()).await;
        assert_eq!(summary.mode, usher::domain::Mode::Shadow);
        let live: Vec<&str> = people
            .iter()
            .filter(|p| p.mode == usher::domain::Mode::Live)
            .map(|p| p.user_name.as_str())
            .collect();
        assert_eq!(live, ["p0"], "{}", database.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_is_held_in_a_plan_as_in_a_run() {
    for database in databases() {
        let memory = usher::targets::memory::Memory::new();
        let world = World::on(&database, memory, "adopt = true", "").await;
        world.memory.protect(usher::targets::Protected {
            groups: vec!["jira-administrators".to_owned()],
            ..Default::default()
        });
        for name in ["ada", "eve"] {
            world.memory.seed(usher::domain::Observed {
                groups: vec!["jira-administrators".to_owned()],
                ..account(name)
            });
        }
        let ada = world.create(person("ada")).await;
        let eve = world.create(person("eve")).await;
        world.settle().await;
        world.set(&ada, "active", json!(false)).await;
        world.set(&eve, "active", json!(false)).await;
        let (people, summary) = world.plan(world.stored().await, &Scope::default()).await;
        assert_eq!((summary.operations["deactivate"], summary.held), (1, 1));
        let held = people.iter().find(|p| p.verdict == Verdict::Held).unwrap();
        assert!(
            held.reason
                .as_deref()
                .unwrap()
                .contains("last active administrator"),
            "{held:?}"
        );
        // In a run both may ask at once, and then both stay.
        world.settle().await;
        assert!(world.inactive() <= 1, "{}", database.name);
    }
}
