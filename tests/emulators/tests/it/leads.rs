//! Leads of projects and components stand in the way of a deactivation.

use serde_json::json;

use crate::client::start;

#[tokio::test]
async fn a_lead_is_not_deactivated_until_somebody_else_leads() {
    let (jira, client) = start();
    for name in ["ada", "pm"] {
        jira.seed_user(name, name, "a@b.c");
    }
    jira.seed_project("WEB", "ada", &[("api", "ada"), ("ui", "pm"), ("docs", "")]);
    jira.seed_project("APP", "pm", &[("core", "ada")]);
    jira.archive_project("WEB");
    let deactivate = || {
        client.put(
            "user?username=ada",
            json!({ "name": "ada", "active": false }),
        )
    };

    // Both checks fail; the later one is seen, with the archived project too.
    let refused = deactivate().await;
    assert_eq!(
        (refused.status, &refused.json["errorMessages"]),
        (400, &json!([]))
    );
    let text = refused.json["errors"]["active"].as_str().unwrap();
    assert!(
        text.contains("project lead") && text.ends_with(": WEB"),
        "{text}"
    );
    assert_eq!(client.delete("user?username=ada").await.status, 400);

    let visible = client.get("project?expand=lead").await.json;
    assert_eq!(visible.as_array().unwrap().len(), 1);
    let all = client
        .get("project?expand=lead&includeArchived=true")
        .await
        .json;
    let web = all
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["key"] == "WEB")
        .unwrap();
    assert_eq!(web["lead"]["name"], "ada");
    assert!(client.get("project").await.json[0].get("lead").is_none());
    assert_eq!(
        client
            .put("project/WEB", json!({ "lead": "nobody" }))
            .await
            .status,
        400
    );
    let updated = client.put("project/web", json!({ "lead": "PM" })).await;
    assert_eq!(
        (updated.status, &updated.json["lead"]["name"]),
        (200, &json!("pm"))
    );

    let refused = deactivate().await;
    let text = refused.json["errors"]["active"].as_str().unwrap();
    assert!(
        text.contains("component lead") && text.ends_with(": WEB, APP"),
        "{text}"
    );

    let page = client.get("component/page?maxResults=2").await.json;
    assert_eq!(
        (&page["total"], &page["isLast"]),
        (&json!(4), &json!(false))
    );
    for key in ["WEB", "APP"] {
        for component in client
            .get(&format!("project/{key}/components"))
            .await
            .json
            .as_array()
            .unwrap()
        {
            if component["lead"]["name"] == "ada" {
                let path = format!("component/{}", component["id"].as_str().unwrap());
                let reply = client.put(&path, json!({ "leadUserName": "pm" })).await;
                assert_eq!(
                    (reply.status, &reply.json["lead"]["name"]),
                    (200, &json!("pm"))
                );
            }
        }
    }
    assert_eq!(jira.component_lead("WEB", "api").as_deref(), Some("pm"));
    assert_eq!(jira.component_lead("WEB", "docs"), None);
    assert_eq!(jira.project_lead("WEB").as_deref(), Some("pm"));
    assert_eq!(deactivate().await.json["active"], false);
    // It is inactive already, so nothing is checked and nothing changes.
    assert_eq!(deactivate().await.status, 200);
    assert!(!jira.requests().last().unwrap().changed);
}

#[tokio::test]
async fn links_lead_back_to_the_thing() {
    let (jira, client) = start();
    jira.seed_project("WEB", "admin", &[("api", "admin")]);
    let project = client.get("project/WEB").await.json;
    let component = &project["components"][0];
    for link in [
        &project["self"],
        &component["self"],
        &project["lead"]["self"],
    ] {
        let path = link.as_str().unwrap().strip_prefix(&client.url).unwrap();
        let reply = client
            .try_send(reqwest::Method::GET, path, None)
            .await
            .unwrap();
        assert_eq!((reply.status, &reply.json["self"]), (200, link));
    }
    assert_eq!(client.get("component/99").await.status, 404);
    assert_eq!(client.get("component/x").await.status, 404);
    assert_eq!(client.get("project/NONE").await.status, 404);
    let path = format!("component/{}", component["id"].as_str().unwrap());
    assert_eq!(
        client
            .put(&path, json!({ "leadUserName": "none" }))
            .await
            .status,
        400
    );
    assert!(
        client
            .put(&path, json!({ "leadUserName": "" }))
            .await
            .json
            .get("lead")
            .is_none()
    );
}
