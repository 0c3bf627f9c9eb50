//! The main job, whole: pushed over SCIM, there at the target.

use serde_json::json;
use usher::targets::memory::Memory;

use super::harness::{App, databases};

const CONFIGURATION: &str = r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = { env = "NONE" }

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
allow = ["jira-*"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_person_appears_changes_leaves_and_comes_back() {
    for database in databases() {
        let memory = Memory::new();
        let app = App::start(&database, &memory).await;
        app.apply(CONFIGURATION).await;
        let token = app.token("corp").await;

        let ada = app
            .send(
                &token,
                "POST",
                "/Users",
                Some(json!({"userName": "Ada", "displayName": "Ada Byron",
                            "emails": [{"value": "ada@example.com", "primary": true}]})),
            )
            .await;
        assert_eq!(ada.status, 201, "{}", ada.json);
        let group = app
            .send(
                &token,
                "POST",
                "/Groups",
                Some(json!({"displayName": "jira-users", "members": [{"value": ada.id()}]})),
            )
            .await;
        assert_eq!(group.status, 201, "{}", group.json);
        app.drain().await;
        let account = memory.user("ada").expect(database.name);
        assert_eq!(account.display_name, "Ada Byron");
        assert_eq!(account.groups, ["jira-users"]);

        app.send(&token, "DELETE", &format!("/Users/{}", ada.id()), None)
            .await;
        app.drain().await;
        assert!(!memory.user("ada").unwrap().active, "{}", database.name);

        let again = app
            .send(
                &token,
                "POST",
                "/Users",
                Some(json!({"userName": "ada", "displayName": "Ada Lovelace",
                            "emails": [{"value": "ada@example.com", "primary": true}]})),
            )
            .await;
        assert_eq!(again.status, 201, "{}", again.json);
        app.pass(std::time::Duration::from_secs(2), 2).await;
        let account = memory.user("ada").unwrap();
        assert!(
            account.active && account.display_name == "Ada Lovelace",
            "{}",
            database.name
        );

        memory.clear_writes();
        assert_eq!(app.drain().await, 0);
        assert!(memory.writes().is_empty());
        app.stop().await;
    }
}
