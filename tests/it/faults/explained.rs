//! Why not: for everyone who is missing somewhere the explanation says why.

use serde_json::json;
use usher::converge::{self, TargetView};
use usher::domain::{Mode, TargetId, UserId};
use usher::store::{self, pause};

use super::{World, account, configuration, databases, person, rejected, transient};

impl World {
    async fn explained(&self, id: &str) -> TargetView {
        let (id, now) = (UserId(id.to_owned()), self.app.clock.now());
        let explain = move |conn: &mut store::AnyConn| converge::explain(conn, &id, now);
        let found = self.app.store().read(explain).await.unwrap();
        found.unwrap().targets.remove(0)
    }

    /// All that is said about why somebody is not there.
    async fn why_not(&self, id: &str) -> String {
        let view = self.explained(id).await;
        let mut words = view.notes;
        words.extend(view.desired.because);
        words.extend(view.desired.no_account);
        words.extend(view.work.and_then(|work| work.reason));
        words.join("; ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_missing_is_told_why() {
    const SCOPE: &str = "scope = 'userType ne \"Guest\"'\nprotect = [\"svc-*\"]";
    for database in databases() {
        let world = World::with(&database, SCOPE, "deny = [\"jira-secret\"]").await;
        world.memory.seed(account("foreign"));
        let mut guest = person("guest");
        guest["userType"] = json!("Guest");
        let guest = world.create(guest).await;
        let foreign = world.create(person("foreign")).await;
        let service = world.create(person("svc-backup")).await;
        let silent = world.create(json!({"userName": "silent"})).await;
        world.settle().await;
        world
            .memory
            .fail_next(rejected("the name is not to our taste"));
        let refused = world.create(person("refused")).await;
        world.group("jira-secret", &[&refused]).await;
        world.settle().await;
        for (id, words) in [
            (&guest, "out of scope"),
            (&foreign, "adopt = true"),
            (&service, "protected by \"svc-*\""),
            (&silent, "e-mail"),
        ] {
            let why = world.why_not(id).await;
            assert!(why.contains(words), "{words}: {why}");
        }
        let why = world.why_not(&refused).await;
        assert!(
            why.contains("jira-secret") && why.contains("denied"),
            "{why}"
        );

        world
            .memory
            .fail_next(rejected("the name is not to our taste"));
        let taste = world.create(person("taste")).await;
        world.app.drain().await;
        let why = world.why_not(&taste).await;
        assert!(why.contains("not to our taste"), "{why}");

        world.memory.outage(Some(transient()));
        let late = world.create(person("late")).await;
        // It takes a few attempts to tell that it is the target.
        let minutes = std::time::Duration::from_secs(600);
        world.app.pass(minutes, 8).await;
        let why = world.why_not(&late).await;
        assert!(why.contains("the target is down: HTTP 500"), "{why}");

        let target = super::super::store::lines(world.app.store(), "SELECT id AS line FROM target")
            .await
            .remove(0);
        let stop = pause::Pause {
            at: world.app.clock.now(),
            by: "Grace".to_owned(),
            reason: Some("a wrong import".to_owned()),
        };
        world
            .app
            .store()
            .write(move |tx| pause::pause(tx, &TargetId(target.clone()), &stop, "test"))
            .await
            .unwrap();
        let why = world.why_not(&late).await;
        assert!(why.contains("by Grace (a wrong import)"), "{why}");

        // In shadow mode, unless somebody is live already.
        let shadow = configuration("shadow", "", "").replace(
            "mode = \"shadow\"",
            "mode = \"shadow\"\nlive_for = [\"taste\"]",
        );
        world.app.apply(&shadow).await;
        assert!(world.why_not(&late).await.contains("shadow mode"));
        assert!(!world.why_not(&taste).await.contains("shadow mode"));
        assert_eq!(world.explained(&taste).await.mode, Mode::Live);
    }
}
