//! Accounts: create, read, update, rename, deactivate, delete, list; who may.

use reqwest::Method;
use serde_json::json;
use usher_emulators::jira::JiraOptions;

use crate::client::{read, start, start_with};

#[tokio::test]
async fn a_created_account_can_be_read_back() {
    let (jira, client) = start();
    let body =
        json!({ "name": "Ada", "emailAddress": "ada@example.com", "displayName": "Ada Byron" });
    let created = client.post("user", body.clone()).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.json["key"], "JIRAUSER10101");
    assert_eq!(created.header("location"), created.json["self"].as_str());
    let read = client
        .get("user?username=ADA&expand=groups,applicationRoles")
        .await;
    assert_eq!((read.status, &read.json["name"]), (200, &json!("Ada")));
    assert_eq!(read.json["emailAddress"], "ada@example.com");
    assert_eq!(read.json["groups"]["size"], 1);
    assert_eq!(
        read.json["groups"]["items"][0]["name"],
        "jira-software-users"
    );
    assert_eq!(
        read.json["applicationRoles"]["items"][0]["key"],
        "jira-software"
    );
    let unexpanded = client.get("user?key=JIRAUSER10101").await;
    assert_eq!(unexpanded.json["groups"], json!({ "size": 1, "items": [] }));

    let user = jira.user("ada").unwrap();
    assert!(!user.has_password && !user.notified && user.active);
    assert_eq!(user.groups, ["jira-software-users"]);
    let twice = client
        .post(
            "user",
            json!({ "name": "aDA", "emailAddress": "x@example.com", "displayName": "x" }),
        )
        .await;
    assert_eq!(twice.status, 400);
    assert_eq!(
        twice.json,
        json!({ "errorMessages": [], "errors": { "username": "A user with that username already exists." } })
    );
    assert_eq!(
        (jira.creations("ADA"), jira.creation_attempts("ada")),
        (1, 2)
    );
}

#[tokio::test]
async fn validation_names_the_fields() {
    let (jira, client) = start();
    let reply = client
        .post(
            "user",
            json!({ "name": "a<b", "emailAddress": "nobody", "displayName": " " }),
        )
        .await;
    assert_eq!(reply.status, 400);
    let errors = reply.json["errors"].as_object().unwrap();
    assert_eq!(
        errors.keys().collect::<Vec<_>>(),
        ["username", "email", "fullname"]
    );
    let long = client
        .post(
            "user",
            json!({ "name": "x".repeat(256), "emailAddress": "a@b.c", "displayName": "x" }),
        )
        .await;
    assert!(
        long.json["errors"]["username"]
            .as_str()
            .unwrap()
            .contains("255")
    );
    let unknown = client
        .post("user", json!({ "name": "a", "userName": "a" }))
        .await;
    assert_eq!(
        (unknown.status, unknown.message()),
        (400, "Unrecognized field \"userName\"")
    );
    let broken = read(
        client
            .request(Method::POST, "/rest/api/2/user", None)
            .header("content-type", "application/json")
            .body("{"),
    )
    .await
    .unwrap();
    assert_eq!(broken.status, 400);
    let form = read(
        client
            .request(Method::POST, "/rest/api/2/user", None)
            .header("content-type", "application/x-www-form-urlencoded")
            .body("name=a"),
    )
    .await
    .unwrap();
    assert_eq!(form.status, 415);
    assert_eq!(jira.users().len(), 1);
    assert!(jira.requests().iter().all(|it| !it.changed));
}

#[tokio::test]
async fn applications_decide_about_the_default_group() {
    let (jira, client) = start();
    let new = |name: &str| json!({ "name": name, "emailAddress": "a@b.c", "displayName": name });
    let mut none = new("none");
    none["applicationKeys"] = json!([]);
    assert_eq!(client.post("user", none).await.status, 201);
    assert!(jira.user("none").unwrap().groups.is_empty());
    let mut wrong = new("wrong");
    wrong["applicationKeys"] = json!(["jira-nothing"]);
    assert!(client.post("user", wrong).await.json["errors"]["applicationKeys"].is_string());

    let path = "user/application?username=none&applicationKey=jira-software";
    let granted = client.post(path, json!(null)).await;
    assert_eq!((granted.status, granted.text.as_str()), (200, ""));
    assert_eq!(jira.members("jira-software-users"), ["admin", "none"]);
    let role = client.get("applicationrole").await;
    assert_eq!(
        role.json[0]["defaultGroups"],
        json!(["jira-software-users"])
    );
    assert_eq!(role.json[0]["userCount"], 2);
    assert_eq!(client.delete(path).await.status, 204);
    assert_eq!(jira.members("jira-software-users"), ["admin"]);
    let (without, client) = start_with(JiraOptions {
        default_group: None,
        ..JiraOptions::default()
    });
    client.post("user", new("x")).await;
    assert!(without.user("x").unwrap().groups.is_empty());
}

#[tokio::test]
async fn a_rename_keeps_the_key() {
    let (jira, client) = start();
    let key = jira.seed_user("ada", "Ada Byron", "ada@example.com");
    jira.seed_user("bob", "Bob", "bob@example.com");
    jira.seed_member("dev", "ada");
    let clash = client
        .put("user?username=ada", json!({ "name": "BOB" }))
        .await;
    assert_eq!(clash.status, 400);
    assert_eq!(
        clash.json["errors"]["username"],
        "A user with that username already exists."
    );
    let renamed = client
        .put("user?username=ada", json!({ "name": "lovelace" }))
        .await;
    assert_eq!((renamed.status, &renamed.json["key"]), (200, &json!(key)));
    assert_eq!(client.get("user?username=ada").await.status, 404);
    assert_eq!(
        client.get(&format!("user?key={key}")).await.json["name"],
        "lovelace"
    );
    assert_eq!(jira.members("dev"), ["lovelace"]);
    // Nothing but case: accepted and kept, or accepted and forgotten (unconfirmed which).
    client
        .put("user?username=lovelace", json!({ "name": "Lovelace" }))
        .await;
    assert_eq!(jira.user("lovelace").unwrap().name, "Lovelace");
    let (jira, client) = start_with(JiraOptions {
        keeps_old_case: true,
        ..JiraOptions::default()
    });
    jira.seed_old_user("ada", "Ada", "a@b.c");
    assert_eq!(
        client
            .put("user?key=ada", json!({ "name": "Ada" }))
            .await
            .status,
        200
    );
    assert_eq!(jira.user("ada").unwrap().name, "ada");
}

#[tokio::test]
async fn active_is_taken_as_boolean_and_as_text_since_8_3() {
    let (jira, client) = start();
    jira.seed_user("ada", "Ada", "a@b.c");
    for (value, active) in [
        (json!("false"), false),
        (json!(true), true),
        (json!(false), false),
        (json!("True"), true),
    ] {
        let reply = client
            .put("user?username=ada", json!({ "active": value }))
            .await;
        assert_eq!((reply.status, &reply.json["active"]), (200, &json!(active)));
    }
    assert_eq!(
        client
            .put("user?username=ada", json!({ "active": "no" }))
            .await
            .status,
        400
    );
    let nothing = client.put("user?username=ada", json!({})).await;
    assert_eq!(
        (nothing.status, nothing.message()),
        (400, "error.no.value.found.to.be.changed")
    );

    jira.set_version([8, 2, 6]);
    let alone = client
        .put("user?username=ada", json!({ "active": false }))
        .await;
    assert_eq!(
        (alone.status, alone.message()),
        (400, "error.no.value.found.to.be.changed")
    );
    let ignored = client
        .put(
            "user?username=ada",
            json!({ "name": "ada", "active": false }),
        )
        .await;
    assert_eq!(
        (ignored.status, &ignored.json["active"]),
        (200, &json!(true))
    );
    assert!(!jira.requests().last().unwrap().changed);
    assert_eq!(
        client.get("serverInfo").await.json["versionNumbers"],
        json!([8, 2, 6])
    );
    assert_eq!(client.get("user/list").await.status, 404);
}

#[tokio::test]
async fn some_accounts_cannot_be_written() {
    let (jira, client) = start();
    jira.seed_user("ldap", "From LDAP", "l@b.c");
    jira.set_read_only("ldap");
    let refused = client
        .put("user?username=ldap", json!({ "displayName": "x" }))
        .await;
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("read-only"));
    assert_eq!(client.delete("user?username=ldap").await.status, 400);
    let own = client
        .put("user?username=admin", json!({ "active": false }))
        .await;
    assert_eq!(own.status, 400);
    assert!(own.message().contains("currently logged in"));
    assert_eq!(client.delete("user?username=admin").await.status, 400);
    jira.seed_user("helper", "Helper", "h@b.c");
    jira.seed_member("jira-administrators", "helper");
    jira.add_token("other", "helper");
    let refused = client
        .with_bearer("other")
        .put("user?username=admin", json!({ "displayName": "x" }))
        .await;
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("System Administrators"));
    let password = client
        .with_bearer("other")
        .put("user/password?username=admin", json!({ "password": "x" }))
        .await;
    assert_eq!(password.status, 403);
    jira.set_read_only_directory(true);
    let new = json!({ "name": "x", "emailAddress": "a@b.c", "displayName": "x" });
    assert!(
        client
            .post("user", new)
            .await
            .message()
            .contains("read-only")
    );
}

#[tokio::test]
async fn a_deleted_account_is_gone_and_its_name_free() {
    let (jira, client) = start();
    let key = jira.seed_user("ada", "Ada", "a@b.c");
    jira.seed_member("dev", "ada");
    jira.seed_user("busy", "Busy", "b@b.c");
    jira.set_has_content("busy");
    assert_eq!(client.delete("user?username=busy").await.status, 400);
    // python-jira puts a slash before the question mark.
    let gone = client.delete("user/?username=ada").await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    assert_eq!(client.delete("user?username=ada").await.status, 404);
    assert!(jira.members("dev").is_empty());
    let kept = client
        .get(&format!("user?key={key}&includeDeleted=true"))
        .await;
    assert_eq!(kept.json["deleted"], true);
    let new = json!({ "name": "ada", "emailAddress": "a@b.c", "displayName": "x" });
    let again = client.post("user", new).await;
    assert_eq!(again.status, 201);
    assert_ne!(again.json["key"], json!(key));
}

#[tokio::test]
async fn search_leaves_out_inactive_ones_and_caps_at_1000() {
    let (jira, client) = start();
    for at in 0..1100 {
        jira.seed_user(
            &format!("user{at:04}"),
            &format!("Person {at}"),
            &format!("u{at}@example.com"),
        );
    }
    jira.edit_user("user0000", |user| user.active = false);
    let count = |json: serde_json::Value| json.as_array().unwrap().len();
    assert_eq!(count(client.get("user/search?username=.").await.json), 50);
    let capped = client
        .get("user/search?username=.&maxResults=5000&includeInactive=true")
        .await;
    assert_eq!(count(capped.json), 1000);
    let rest = client
        .get("user/search?username=.&startAt=1000&maxResults=1000&includeInactive=True")
        .await;
    assert_eq!(count(rest.json), 101);
    let active = client
        .get("user/search?username=.&startAt=1000&maxResults=1000")
        .await;
    assert_eq!(count(active.json), 100);
    let inactive = client
        .get("user/search?username=.&includeActive=False&includeInactive=True")
        .await;
    assert_eq!(inactive.json[0]["name"], "user0000");
    assert_eq!(count(client.get("user/search?username=U17@").await.json), 1);
    assert_eq!(client.get("user/search").await.status, 400);
    assert_eq!(
        client.get("user/search?username=.&startAt=x").await.status,
        404
    );
}

#[tokio::test]
async fn the_list_of_all_goes_by_cursor() {
    let (jira, client) = start();
    for at in 0..25 {
        jira.seed_user(&format!("u{at}"), "x", "a@b.c");
    }
    let mut names = Vec::new();
    let mut path = "user/list?maxResults=10".to_owned();
    loop {
        let page = client.get(&path).await.json;
        names.extend(
            page["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["name"].clone()),
        );
        assert!(page.get("total").is_none());
        if page["isLast"] == json!(true) {
            assert!(page.get("nextCursor").is_none());
            break;
        }
        // Somebody comes and goes meanwhile; nobody is listed twice.
        jira.seed_user(&format!("late{}", names.len()), "x", "a@b.c");
        let cursor = page["nextCursor"]
            .as_str()
            .unwrap()
            .replace('=', "%3D")
            .replace('+', "%2B");
        path = format!("user/list?maxResults=10&cursor={cursor}");
    }
    let all = names.len();
    names.sort_by_key(ToString::to_string);
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(all >= 26, "{all}");
    assert_eq!(client.get("user/list?cursor=nonsense").await.status, 200);
}

#[tokio::test]
async fn callers_are_told_apart() {
    let (jira, client) = start();
    jira.seed_user("ada", "Ada", "a@b.c");
    jira.set_password("ada", "secret");
    let new = json!({ "name": "x", "emailAddress": "a@b.c", "displayName": "x" });

    let basic = client.with_basic("ADMIN", "admin-password");
    assert_eq!(basic.get("myself").await.json["name"], "admin");
    let wrong = client.with_basic("admin", "wrong").get("myself").await;
    assert_eq!(wrong.status, 401);
    assert!(
        wrong
            .header("x-seraph-loginreason")
            .unwrap()
            .contains("AUTHENTICATED_FAILED")
    );
    // A token is no password for Basic.
    assert_eq!(
        client
            .with_basic("admin", "emulated-jira-token")
            .get("myself")
            .await
            .status,
        401
    );
    assert_eq!(client.with_bearer("wrong").get("myself").await.status, 401);
    assert_eq!(
        client.with_bearer("wrong").get("serverInfo").await.status,
        401
    );
    let anonymous = client.with(None);
    assert_eq!(anonymous.get("serverInfo").await.status, 200);
    assert_eq!(anonymous.get("user?username=ada").await.status, 401);
    assert_eq!(
        anonymous.get("groups/picker").await.json["groups"],
        json!([])
    );
    assert_eq!(anonymous.post("user", new.clone()).await.status, 401);

    let ada = client.with_basic("ada", "secret");
    assert_eq!(ada.get("user?username=admin").await.status, 200);
    assert_eq!(ada.post("user", new).await.status, 403);
    assert_eq!(
        ada.put("user?username=ada", json!({ "name": "y" }))
            .await
            .status,
        403
    );
    assert_eq!(
        ada.get("group/member?groupname=jira-software-users")
            .await
            .status,
        403
    );
    jira.edit_user("ada", |user| user.active = false);
    assert_eq!(ada.get("myself").await.status, 401);

    jira.set_token("fresh");
    assert_eq!(client.get("myself").await.status, 401);
    assert_eq!(client.with_bearer("fresh").get("myself").await.status, 200);
    assert!(
        jira.requests()
            .iter()
            .all(|it| it.header("authorization").is_none_or(|it| it.len() <= 6))
    );
}

#[tokio::test]
async fn what_looks_like_a_browser_must_say_that_it_is_none() {
    let (jira, client) = start();
    jira.seed_user("ada", "Ada", "a@b.c");
    let put = |header: &str, value: &str, token: Option<&str>| {
        let body = Some(json!({ "displayName": value }));
        let mut request = client
            .request(Method::PUT, "/rest/api/latest/user?username=ada", body)
            .header(header, value);
        if let Some(token) = token {
            request = request.header("x-atlassian-token", token);
        }
        read(request)
    };
    let browser = "Mozilla/5.0 (X11; Linux x86_64)";
    let refused = put("user-agent", browser, None).await.unwrap();
    assert_eq!(
        (refused.status, refused.text.as_str()),
        (403, "XSRF check failed")
    );
    assert_eq!(
        put("cookie", "JSESSIONID=1", None).await.unwrap().status,
        403
    );
    assert_eq!(
        put("cookie", "JSESSIONID=1", Some("no-check"))
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        put("user-agent", browser, Some("no-check"))
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        put("user-agent", "usher/1", None).await.unwrap().status,
        200
    );
    let read_only = client
        .request(Method::GET, "/rest/api/2/myself", None)
        .header("cookie", "a=b");
    assert_eq!(read(read_only).await.unwrap().status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_as_by_jax_rs() {
    let (_jira, client) = start_with(JiraOptions {
        context_path: "/jira".into(),
        ..JiraOptions::default()
    });
    assert!(client.url.ends_with("/jira"));
    let unknown = client.get("nothing").await;
    assert_eq!(
        (unknown.status, &unknown.json["status-code"]),
        (404, &json!(404))
    );
    assert_eq!(client.delete("serverInfo").await.status, 405);
    assert_eq!(client.get("user").await.status, 404);
    let myself = client.get("myself").await.json;
    assert!(
        myself["self"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}/rest/api/2/", client.url))
    );
    let root = client.url.trim_end_matches("/jira").to_owned();
    assert_eq!(
        client
            .http
            .get(root + "/rest/api/2/serverInfo")
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}
