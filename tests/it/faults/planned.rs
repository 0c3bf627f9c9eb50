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
    async fn stored(&self) -> Configuration {
        self.app.store().read(settings::load).await.unwrap()
    }

    async fn plan(&self, configuration: Configuration, scope: &Scope) -> (Vec<Outlook>, Summary) {
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
