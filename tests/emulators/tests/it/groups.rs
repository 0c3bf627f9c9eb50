//! Groups and memberships.

use serde_json::json;
use usher_emulators::jira::JiraOptions;

use crate::client::{start, start_with};

#[tokio::test]
async fn groups_come_and_go() {
    let (jira, client) = start();
    let created = client.post("group", json!({ "name": "Dev" })).await;
    assert_eq!(
        (created.status, &created.json["name"]),
        (201, &json!("Dev"))
    );
    assert_eq!(created.json["users"]["size"], 0);
    assert_eq!(
        client.post("group", json!({ "name": "dev" })).await.status,
        400
    );
    assert_eq!(
        client.post("group", json!({ "name": " " })).await.status,
        400
    );
    assert_eq!(jira.group_creations("DEV"), 1);
    assert_eq!(
        client
            .delete("group?groupname=dev&swapGroup=nobody")
            .await
            .status,
        404
    );
    assert_eq!(
        client
            .delete("group?groupname=jira-administrators")
            .await
            .status,
        400
    );
    jira.seed_member("dev", "admin");
    assert_eq!(client.delete("group?groupname=DEV").await.status, 200);
    assert_eq!(client.delete("group?groupname=DEV").await.status, 404);
    assert_eq!(
        jira.user("admin").unwrap().groups,
        ["jira-administrators", "jira-software-users"]
    );
}

#[tokio::test]
async fn a_second_add_and_a_second_remove_are_400() {
    let (jira, client) = start();
    jira.seed_user("ada", "Ada", "a@b.c");
    jira.seed_group("Dev");
    let add = || client.post("group/user?groupname=dev", json!({ "name": "ADA" }));
    let first = add().await;
    assert_eq!((first.status, &first.json["name"]), (201, &json!("Dev")));
    assert_eq!(first.json["users"]["size"], 1);
    let second = add().await;
    assert_eq!(second.status, 400);
    assert!(second.message().contains("already a member"));
    assert_eq!(
        client
            .post("group/user?groupname=none", json!({ "name": "ada" }))
            .await
            .status,
        404
    );
    assert_eq!(
        client
            .post("group/user?groupname=dev", json!({ "name": "none" }))
            .await
            .status,
        404
    );
    assert_eq!(
        client
            .delete("group/user?groupname=dev&username=ada")
            .await
            .status,
        200
    );
    assert_eq!(
        client
            .delete("group/user?groupname=dev&username=ada")
            .await
            .status,
        400
    );
    assert_eq!(
        client
            .delete("group/user?groupname=dev&username=none")
            .await
            .status,
        404
    );
    let own = client
        .delete("group/user?groupname=jira-administrators&username=admin")
        .await;
    assert_eq!(own.status, 400);
    let changed: Vec<bool> = jira.requests().iter().map(|it| it.changed).collect();
    assert_eq!(
        changed,
        [true, false, false, false, true, false, false, false]
    );
    assert_eq!(jira.writes(), 8);
}

#[tokio::test]
async fn members_come_in_pages_of_50_with_those_of_subgroups() {
    let (jira, client) = start();
    for at in 0..120 {
        let name = format!("user{at:03}");
        jira.seed_user(&name, "x", "a@b.c");
        jira.seed_member(if at < 100 { "outer" } else { "inner" }, &name);
    }
    jira.seed_member("inner", "user000");
    jira.seed_subgroup("outer", "inner");
    jira.edit_user("user001", |user| user.active = false);

    let mut names = Vec::new();
    loop {
        let start = names.len();
        let path = format!(
            "group/member?groupname=OUTER&includeInactiveUsers=True&startAt={start}&maxResults=1000"
        );
        let page = client.get(&path).await.json;
        assert_eq!(
            (&page["maxResults"], &page["total"]),
            (&json!(50), &json!(120))
        );
        names.extend(
            page["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["name"].clone()),
        );
        if page["isLast"] == json!(true) {
            break;
        }
    }
    names.dedup();
    assert_eq!(names.len(), 120);
    let active = client.get("group/member?groupname=outer").await.json;
    assert_eq!(active["total"], 119);
    assert_eq!(client.get("group/member").await.status, 400);
    assert_eq!(client.get("group/member?groupname=none").await.status, 404);
    assert_eq!(
        jira.members("outer").len(),
        100,
        "the handle shows direct members"
    );

    // The old form, which has no page beyond the end.
    let old = client
        .get("group?groupname=outer&expand=users[100:149]&includeInactiveUsers=true")
        .await
        .json;
    assert_eq!(old["users"]["size"], 120);
    assert_eq!(
        (&old["users"]["start-index"], &old["users"]["end-index"]),
        (&json!(100), &json!(119))
    );
    assert_eq!(old["users"]["items"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn the_picker_has_a_cap_and_no_pages() {
    let (jira, client) = start_with(JiraOptions {
        picker_cap: 30,
        ..JiraOptions::default()
    });
    for at in 0..40 {
        jira.seed_group(&format!("Team-{at:02}"));
    }
    let default = client.get("groups/picker?query=team").await.json;
    assert_eq!(default["groups"].as_array().unwrap().len(), 20);
    assert_eq!(default["total"], 40);
    assert_eq!(default["header"], "Showing 20 of 40 matching groups");
    let capped = client
        .get("groups/picker?query=team&maxResults=9999")
        .await
        .json;
    assert_eq!(capped["groups"].as_array().unwrap().len(), 30);
    let one = client.get("groups/picker?query=TEAM-39").await.json;
    assert_eq!(one["groups"][0]["name"], "Team-39");
    assert_eq!(one["groups"][0]["html"], "<b>Team-39</b>");
    let none = client
        .get("groups/picker?query=team-39&exclude=Team-39")
        .await
        .json;
    assert_eq!(none["total"], 0);
    let own = client.get("groups/picker?userName=admin").await.json;
    assert_eq!(own["total"], 2);
}

#[tokio::test]
async fn a_person_in_the_ui_changes_things_too() {
    let (jira, _client) = start();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = std::sync::Arc::clone(&told);
    jira.on_event(Box::new(move |line| {
        kept.lock().unwrap().push(line.to_owned())
    }));
    jira.seed_user("ada", "Ada", "a@b.c");
    jira.seed_member("dev", "ada");
    jira.edit_user("ada", |user| {
        user.name = "Lovelace".into();
        user.email = "l@b.c".into();
        user.groups = vec!["ops".into()];
    });
    let user = jira.user("lovelace").unwrap();
    assert_eq!(
        (user.email.as_str(), user.groups),
        ("l@b.c", vec!["ops".to_owned()])
    );
    jira.remove_user("lovelace");
    jira.remove_group("ops");
    assert_eq!(
        jira.groups(),
        ["dev", "jira-administrators", "jira-software-users"]
    );
    assert_eq!(
        *told.lock().unwrap(),
        [
            "account ada renamed to Lovelace (by hand)",
            "account Lovelace: e-mail is now l@b.c (by hand)",
            "Lovelace removed from dev (by hand)",
            "group ops created (by hand)",
            "Lovelace added to ops (by hand)",
            "account Lovelace deleted (by hand)",
            "group ops deleted (by hand)",
        ]
    );
}
