//! A person for whom somebody has stopped everything: what the source says is taken, nothing is written, and resuming
//! brings it all in step.

use serde_json::{Value, json};
use usher::domain::Role;

use super::{World, databases, person};

impl World {
    async fn set_paused(&self, id: &str, act: &str, body: Value) {
        let path = format!("/api/v1/people/{id}/{act}");
        let reply = self
            .app
            .api(Role::Operator, "POST", &path, Some(body))
            .await;
        assert_eq!(reply.status, 204, "{}", reply.json);
    }

    async fn seen(&self, id: &str) -> Value {
        let path = format!("/api/v1/people/{id}");
        self.app.api(Role::Auditor, "GET", &path, None).await.json
    }

    async fn paused_people(&self) -> Vec<String> {
        let path = "/api/v1/people?paused=true";
        let found = self.app.api(Role::Auditor, "GET", path, None).await.json;
        let items = found["items"].as_array().unwrap().iter();
        items
            .map(|it| it["user_name"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_for_a_paused_person_until_somebody_resumes() {
    for database in databases() {
        let world = World::new(&database).await;
        let ids = world.people(2).await;
        let [ada, other] = [ids[0].as_str(), ids[1].as_str()];
        let before = world.memory.users();
        world
            .set_paused(ada, "pause", json!({"reason": "an inquiry"}))
            .await;
        world.memory.clear_writes();

        // Renamed, put into a group and deactivated at the source; somebody else goes on.
        let mut changed = person("renamed");
        changed["active"] = json!(false);
        world
            .request("PUT", &format!("/Users/{ada}"), changed)
            .await;
        world.group("jira-devs", &[ada, other]).await;
        world.settle().await;
        let writes = world.memory.writes();
        assert!(!writes.is_empty(), "the other one joins");
        let shown = format!("{writes:?}");
        assert!(
            !shown.contains("p0") && !shown.contains("renamed"),
            "{shown}"
        );
        assert!(world.memory.users().contains(&before[0]), "{before:?}");

        // Everywhere it is said, and by whom.
        let explained = world.seen(ada).await;
        assert_eq!(explained["paused"]["reason"], "an inquiry");
        let target = &explained["targets"][0];
        assert_eq!(
            (&target["mode"], &target["work"]["state"]),
            (&json!("paused"), &json!("held"))
        );
        assert!(
            target["notes"][0]
                .as_str()
                .unwrap()
                .contains("(an inquiry)"),
            "{target}"
        );
        assert_eq!(world.paused_people().await, ["renamed"]);
        assert_eq!(
            world
                .app
                .api(Role::Auditor, "GET", "/api/v1/status", None)
                .await
                .json["paused_people"],
            1
        );
        for page in ["/", "/people?paused=true", &format!("/people/{ada}")] {
            let text = world.app.page(Role::Operator, page).await;
            assert!(text.contains("paused"), "{page}: {text}");
        }
        // The first word stands.
        world
            .set_paused(ada, "pause", json!({"reason": "another"}))
            .await;
        assert_eq!(world.seen(ada).await["paused"]["reason"], "an inquiry");

        world.set_paused(ada, "resume", json!({})).await;
        world.settle().await;
        let users = world.memory.users();
        let now = users
            .iter()
            .find(|it| it.remote_id == before[0].remote_id)
            .unwrap();
        assert!(!now.active, "{now:?}");
        let explained = world.seen(ada).await;
        assert_eq!(
            (&explained["paused"], &explained["targets"][0]["work"]),
            (&Value::Null, &Value::Null)
        );
        assert!(world.paused_people().await.is_empty());
        let done: Vec<&str> = explained["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["operation"].as_str().unwrap())
            .collect();
        let place = |name: &str| done.iter().position(|it| *it == name).unwrap();
        assert!(place("deactivate") < place("resume_user"), "{done:?}");
        assert!(place("resume_user") < place("pause_user"), "{done:?}");
        // Again is nothing.
        world.set_paused(ada, "resume", json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_paused_who_is_deleted_keeps_the_account_from_everybody() {
    for database in databases() {
        let world = World::new(&database).await;
        let ids = world.people(1).await;
        let there = world.memory.users();
        world.set_paused(&ids[0], "pause", json!({})).await;
        world.memory.clear_writes();
        world.delete(&ids[0]).await;
        world.settle().await;
        // A successor of the same user name finds it taken.
        let heir = world.create(person("p0")).await;
        world.settle().await;
        assert_eq!(world.memory.users(), there);
        assert!(
            world.memory.writes().is_empty(),
            "{:?}",
            world.memory.writes()
        );
        let explained = world.seen(&heir).await;
        assert_eq!(
            explained["targets"][0]["work"]["state"], "held",
            "{explained}"
        );

        world.set_paused(&ids[0], "resume", json!({})).await;
        world.settle().await;
        let path = format!("/api/v1/people/{}/retry", &heir);
        world
            .app
            .api(Role::Operator, "POST", &path, Some(json!({})))
            .await;
        world.settle().await;
        let users = world.memory.users();
        assert_eq!(users.len(), 1, "{users:?}");
        assert!(users[0].active, "{users:?}");
        let explained = world.seen(&heir).await;
        assert_eq!(
            explained["targets"][0]["account"]["active"], true,
            "{explained}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_so_too() {
    for database in databases() {
        let world = World::new(&database).await;
        let id = world.create(person("ada")).await;
        world.set_paused(&id, "pause", json!({})).await;
        let plan = world
            .app
            .api(
                Role::Operator,
                "POST",
                "/api/v1/plan",
                Some(json!({"user": id})),
            )
            .await;
        assert_eq!(plan.status, 200, "{}", plan.json);
        assert!(
            plan.json.to_string().contains("\"mode\":\"paused\""),
            "{}",
            plan.json
        );
        world.settle().await;
        assert!(world.memory.users().is_empty());
        world.set_paused(&id, "resume", json!({})).await;
        world.settle().await;
        assert_eq!(world.memory.users().len(), 1);
    }
}
