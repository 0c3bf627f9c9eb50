//! Confluence as the target sees it, scripted answer by answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::domain::LeadSuccessors;
use crate::outbound::script::{Reply, Script, Seen};
use crate::outbound::{Credential, Options};

async fn confluence(
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (ConfluenceDc, Script) {
    let script = Script::start(answer).await;
    let options = Options {
        timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let client = Client::new(&script.url(), Credential::Bearer("t".into()), options).unwrap();
    (
        ConfluenceDc::new(client, Duration::from_millis(200)),
        script,
    )
}

fn user(name: &str, status: &str) -> Reply {
    let key = format!("4028-{name}");
    Reply::json(
        200,
        json!({
            "type": "known", "username": name, "userKey": key, "displayName": "Ada L", "status": status,
            "email": "shown@by.some.versions", "_links": {"self": "x"}, "_expandable": {}
        }),
    )
}

fn refused(status: u16, message: &str) -> Reply {
    let data = json!({"authorized": false, "valid": true, "errors": [], "successful": false});
    Reply::json(
        status,
        json!({"statusCode": status, "data": data, "message": message, "reason": "x"}),
    )
}

fn groups(names: &[&str], next: Option<&str>) -> Reply {
    let results: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
    let mut links = json!({"base": "http://other.example.com", "context": ""});
    if let Some(next) = next {
        links["next"] = json!(next);
    }
    Reply::json(200, json!({"results": results, "_links": links}))
}

/// What every answer here has in common: Usher is `usher`, and sees itself.
fn usual(seen: &Seen) -> Reply {
    match seen.line().as_str() {
        "GET /rest/api/user/current" => user("usher", "current"),
        "GET /rest/api/user" if seen.query("key").as_deref() == Some("4028-usher") => {
            user("usher", "current")
        }
        "GET /rest/api/user" if seen.query("username").as_deref() == Some("nobody") => {
            refused(404, "No user found with key : null")
        }
        "GET /rest/api/user" => user("ada", "current"),
        "GET /rest/api/user/memberof" => groups(&["users"], None),
        _ => panic!("unexpected request: {seen:?}"),
    }
}

fn create() -> Action {
    Action::CreateUser {
        username: "ada".into(),
        display_name: "Ada L".into(),
        email: "ada@x.org".into(),
    }
}

fn update() -> Action {
    Action::UpdateUser {
        remote_id: "4028-ada".into(),
        username: "stale".into(),
        display_name: Some("Ada K".into()),
        email: None,
    }
}

fn disable() -> Action {
    Action::Deactivate {
        remote_id: "4028-ada".into(),
        username: "stale".into(),
        successors: LeadSuccessors::default(),
        takes: None,
    }
}

fn remove() -> Action {
    Action::DeleteUser {
        remote_id: "4028-ada".into(),
        username: "stale".into(),
    }
}

fn rejected(failure: Failure) -> String {
    match failure {
        Failure::Rejected { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_404_counts_only_if_confluence_wrote_it() {
    for body in [
        Reply::text(404, "text/html", "<html>Not found</html>"),
        Reply::json(
            404,
            json!({"message": "null for uri: /x", "status-code": 404}),
        ),
        Reply::json(
            404,
            json!({"statusCode": 404, "message": "Resource not found"}),
        ),
        Reply::text(404, "text/plain", ""),
    ] {
        let (confluence, _script) = confluence(move |_| body.clone()).await;
        for lookup in [Lookup::Username("ada"), Lookup::RemoteId("k")] {
            let failure = confluence.observe(lookup).await.unwrap_err();
            assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
            assert!(failure.to_string().contains("base_url"), "{failure}");
        }
        for action in [update(), disable(), remove()] {
            let failure = confluence.apply(&action).await.unwrap_err();
            assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        }
        assert!(confluence.group_exists("g").await.is_err());
        assert!(confluence.protected().await.is_err());
    }
}

#[tokio::test]
async fn nobody_is_there_only_for_one_who_can_see_somebody() {
    let (sees, script) = confluence(usual).await;
    assert_eq!(sees.observe(Lookup::Username("nobody")).await, Ok(None));
    assert_eq!(sees.observe(Lookup::Username("nobody")).await, Ok(None));
    // Who Usher is was asked once, whether it still sees itself each time.
    assert_eq!(script.seen().len(), 5);
    let (blind, _script) = confluence(|seen| match seen.path.as_str() {
        "/rest/api/user/current" => user("usher", "current"),
        _ => refused(404, "No user found with key : k"),
    })
    .await;
    for failure in [
        blind.observe(Lookup::RemoteId("k")).await.unwrap_err(),
        blind.apply(&remove()).await.unwrap_err(),
    ] {
        assert!(
            matches!(&failure, Failure::Unauthorized { text } if text.contains("usher may not use")),
            "{failure:?}"
        );
    }
    let anonymous = json!({"type": "anonymous", "displayName": "Anonymous"});
    let (nobody, _script) = confluence(move |seen| match seen.path.as_str() {
        "/rest/api/user/current" => Reply::json(200, anonymous.clone()),
        _ => refused(404, "No user found with key : k"),
    })
    .await;
    for failure in [
        nobody.observe(Lookup::RemoteId("k")).await.unwrap_err(),
        nobody.check().await.unwrap_err(),
    ] {
        assert!(
            matches!(&failure, Failure::Unauthorized { text } if text.contains("anonymous")),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn addresses_are_neither_read_nor_looked_for() {
    let (confluence, script) = confluence(usual).await;
    assert_eq!(
        confluence.observe(Lookup::Email("ada@x.org")).await,
        Ok(None)
    );
    assert!(script.seen().is_empty());
    let seen = confluence.observe(Lookup::RemoteId("4028-ada")).await;
    let seen = seen.unwrap().unwrap();
    assert_eq!((seen.email, seen.groups), (None, vec!["users".to_owned()]));
    assert_eq!(script.seen()[0].query("expand").as_deref(), Some("status"));
}

#[tokio::test]
async fn what_is_left_of_a_deleted_account_is_nobody() {
    let (confluence, script) = confluence(|seen| match seen.path.as_str() {
        "/rest/api/user" => Reply::json(
            200,
            json!({"type": "known", "username": "k1", "userKey": "k1", "displayName": "user-1",
                "status": "current"}),
        ),
        _ => panic!("unexpected request: {seen:?}"),
    })
    .await;
    assert_eq!(confluence.observe(Lookup::RemoteId("k1")).await, Ok(None));
    assert!(confluence.apply(&remove()).await.unwrap().already);
    assert!(script.writes().is_empty());
}

#[tokio::test]
async fn a_state_that_is_not_known_is_not_guessed() {
    let (confluence, script) = confluence(|seen| match seen.path.as_str() {
        "/rest/api/user" => user("ada", "unsynced"),
        _ => usual(seen),
    })
    .await;
    let text = rejected(confluence.apply(&disable()).await.unwrap_err());
    assert!(text.contains("\"unsynced\""), "{text}");
    rejected(
        confluence
            .observe(Lookup::Username("ada"))
            .await
            .unwrap_err(),
    );
    assert!(script.writes().is_empty());
}

#[tokio::test]
async fn a_list_that_does_not_end_is_a_failure() {
    let (confluence, script) = confluence(|seen| match seen.path.as_str() {
        "/rest/api/user/memberof" => groups(&["a"], Some("/rest/api/user/memberof?start=0")),
        _ => usual(seen),
    })
    .await;
    let failure = confluence
        .observe(Lookup::Username("ada"))
        .await
        .unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test]
async fn a_create_refused_as_taken_succeeds_only_for_what_was_sent() {
    for (name, status, expected) in [
        ("ada", "current", true),
        ("ada", "deactivated", false),
        ("adalbert", "current", false),
    ] {
        let (confluence, script) = confluence(move |seen| match seen.line().as_str() {
            "POST /rest/api/admin/user" => {
                refused(409, "A user with this userName already exists.")
            }
            "GET /rest/api/user" => user(name, status),
            _ => usual(seen),
        })
        .await;
        match confluence.apply(&create()).await {
            Ok(applied) => assert!(expected && applied.already),
            Err(failure) => {
                assert!(!expected);
                assert_eq!(
                    rejected(failure),
                    "A user with this userName already exists"
                );
            }
        }
        let sent = script.seen();
        let password = sent[0].body["password"].as_str().unwrap();
        assert!(password.len() > 40, "{password}");
    }
}

#[tokio::test]
async fn a_create_that_nobody_knows_is_told_from_a_proxy() {
    let create_with = async |version: Option<&'static str>| {
        let (confluence, _script) = confluence(move |seen| match seen.line().as_str() {
            "POST /rest/api/admin/user" => Reply::text(404, "text/html", "<html/>"),
            "GET /rest/api/server-information" => match version {
                Some(version) => Reply::json(200, json!({"version": version})),
                None => Reply::text(404, "text/html", "<html/>"),
            },
            _ => usual(seen),
        })
        .await;
        confluence.apply(&create()).await.unwrap_err()
    };
    assert!(rejected(create_with(None).await).contains("needs 8.4"));
    assert!(rejected(create_with(Some("8.3.1")).await).contains("Confluence 8.3.1"));
    let failure = create_with(Some("10.0.3")).await;
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

#[tokio::test]
async fn an_update_that_nobody_knows_is_told_from_a_proxy() {
    for (status, version, unsupported) in [
        (405, "9.2.0", true),
        (405, "10.0.3", true),
        (404, "9.2.0", true),
        (404, "10.0.3", false),
    ] {
        let (confluence, script) = confluence(move |seen| match seen.line().as_str() {
            "PUT /rest/api/admin/user/ada" => Reply::text(status, "text/html", "<html/>"),
            "GET /rest/api/server-information" => Reply::json(200, json!({"version": version})),
            _ => usual(seen),
        })
        .await;
        match confluence.apply(&update()).await {
            Ok(applied) => {
                assert!(unsupported && applied.already, "{status} {version}");
                assert_eq!(applied.account.unwrap().display_name, "Ada L");
                assert!(applied.notes[0].contains(version), "{:?}", applied.notes);
            }
            Err(failure) => {
                assert!(!unsupported, "{failure:?}");
                assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
            }
        }
        let put = script.seen();
        let put = put.iter().find(|s| s.method == "PUT").unwrap();
        assert_eq!(put.body, json!({"fullName": "Ada K"}));
    }
}

#[tokio::test]
async fn what_is_accepted_and_not_shown_is_not_believed() {
    let (confluence, script) = confluence(|seen| match seen.method.as_str() {
        "PUT" => Reply::text(204, "application/json", ""),
        _ => usual(seen),
    })
    .await;
    let text = rejected(confluence.apply(&disable()).await.unwrap_err());
    assert!(text.contains("still shows ada as active"), "{text}");
    let text = rejected(confluence.apply(&update()).await.unwrap_err());
    assert!(text.contains("but shows \"Ada L\""), "{text}");
    assert_eq!(
        script.writes(),
        [
            "PUT /rest/api/admin/user/ada/disable",
            "PUT /rest/api/admin/user/ada"
        ]
    );
}

#[tokio::test]
async fn names_are_encoded_in_paths_and_no_body_is_sent_where_none_is_due() {
    let (confluence, script) = confluence(|seen| match seen.line().as_str() {
        "GET /rest/api/user" => user("a d+a", "current"),
        "GET /rest/api/user/memberof" => groups(&[], None),
        _ => Reply::text(204, "application/json", ""),
    })
    .await;
    let action = Action::AddMember {
        remote_id: "4028-ada".into(),
        username: "stale".into(),
        group: "Devs & Ops?".into(),
    };
    confluence.apply(&action).await.unwrap();
    let seen = script.seen();
    let put = seen.last().unwrap();
    assert_eq!(
        put.path,
        "/rest/api/user/a%20d%2Ba/group/Devs%20%26%20Ops%3F"
    );
    assert_eq!(put.header("content-type"), None);
    assert_eq!(put.header("x-atlassian-token"), Some("no-check"));
}

#[tokio::test]
async fn whom_a_403_is_about_is_asked() {
    for (permissions, stops_all) in [
        (Reply::json(200, json!([])), false),
        (refused(403, ""), true),
        (Reply::text(404, "text/html", "<html/>"), true),
        (Reply::text(403, "text/html", "<html/>"), true),
    ] {
        let (confluence, _script) = confluence(move |seen| match seen.line().as_str() {
            "PUT /rest/api/admin/user/ada/disable" => refused(403, "No."),
            "GET /rest/api/permissions" => permissions.clone(),
            _ => usual(seen),
        })
        .await;
        match confluence.apply(&disable()).await.unwrap_err() {
            Failure::Rejected { text, .. } => {
                assert!(!stops_all && text.starts_with("No: "), "{text}");
            }
            Failure::Unauthorized { text } => assert!(stops_all, "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_deletion_is_over_when_the_account_is_gone_whatever_its_task_says() {
    let looks = AtomicUsize::new(0);
    let (confluence, script) = confluence(move |seen| match seen.line().as_str() {
        "DELETE /rest/api/admin/user/ada" => Reply::json(202, json!({"id": "t/1", "links": {}})),
        "GET /rest/api/longtask/t%2F1" => refused(404, "No task"),
        "GET /rest/api/user" if seen.query("key").as_deref() == Some("4028-ada") => {
            match looks.fetch_add(1, Ordering::SeqCst) {
                0..3 => user("ada", "deactivated"),
                _ => refused(404, "No user found with key : 4028-ada"),
            }
        }
        _ => usual(seen),
    })
    .await;
    let applied = confluence.apply(&remove()).await.unwrap();
    assert!(!applied.already && applied.account.is_none());
    assert_eq!(script.writes().len(), 1);
}

#[tokio::test]
async fn a_rename_is_refused_with_what_can_be_done() {
    let (confluence, script) = confluence(usual).await;
    let rename = Action::RenameUser {
        remote_id: "4028-ada".into(),
        from: "ada".into(),
        to: "augusta".into(),
    };
    let text = rejected(confluence.apply(&rename).await.unwrap_err());
    assert!(
        text.contains("rename ada to augusta in its user management"),
        "{text}"
    );
    assert!(script.seen().is_empty());
    assert!(!confluence.capabilities().rename);
}

#[tokio::test]
async fn another_product_is_found_out() {
    let cloud = json!({"type": "known", "accountId": "1", "displayName": "Ada"});
    for (reply, expected) in [
        (Reply::json(200, cloud), "Confluence Cloud"),
        (
            Reply::json(404, json!({"message": "null for uri", "status-code": 404})),
            "is not the address of a Confluence",
        ),
        (
            Reply::json(200, json!({"name": "admin"})),
            "is not the address of a Confluence",
        ),
    ] {
        let (confluence, _script) = confluence(move |_| reply.clone()).await;
        let text = rejected(confluence.check().await.unwrap_err());
        assert!(text.contains(expected), "{text}");
    }
}
