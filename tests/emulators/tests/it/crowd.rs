//! The emulated Crowd against what is known of the real one.

use reqwest::Method;
use serde_json::{Value, json};
use usher_emulators::crowd::{Crowd, CrowdOptions};
use usher_emulators::{Chaos, Fault, FaultKind, Only};

use crate::client::{Client, Reply, http, read};

const MARK: &str = "x-embedded-crowd-version";

fn start() -> (Crowd, Client) {
    start_with(CrowdOptions::default())
}

/// The client's paths begin below the interface.
fn start_with(options: CrowdOptions) -> (Crowd, Client) {
    let (name, password) = options.application.clone();
    let crowd = Crowd::start(options).unwrap();
    let client = Client {
        http: http(),
        url: format!("{}/rest/usermanagement/1/", crowd.url()),
        authorization: None,
    };
    (crowd, client.with_basic(&name, &password))
}

async fn call(client: &Client, method: &str, path: &str, body: Option<Value>) -> Reply {
    let request = client.request(method.parse().unwrap(), path, body);
    read(request.header("accept", "application/json"))
        .await
        .unwrap()
}

async fn get(client: &Client, path: &str) -> Reply {
    call(client, "GET", path, None).await
}

async fn post(client: &Client, path: &str, body: Value) -> Reply {
    call(client, "POST", path, Some(body)).await
}

async fn put(client: &Client, path: &str, body: Value) -> Reply {
    call(client, "PUT", path, Some(body)).await
}

async fn delete(client: &Client, path: &str) -> Reply {
    call(client, "DELETE", path, None).await
}

/// Sends XML and asks for XML.
async fn xml(client: &Client, method: Method, path: &str, body: &str) -> Reply {
    let request = client
        .request(method, path, None)
        .header("accept", "application/xml")
        .header("content-type", "application/xml")
        .body(body.to_owned());
    read(request).await.unwrap()
}

fn refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(
        (reply.status, reply.json["reason"].as_str()),
        (status, Some(reason)),
        "{}",
        reply.text
    );
    assert!(!reply.json["message"].as_str().unwrap().is_empty());
}

fn ada() -> Value {
    json!({
        "name": "ada", "first-name": "Ada", "last-name": "Byron", "display-name": "Ada Byron", "email": "a@b.c",
        "active": true, "password": {"value": "secret"}
    })
}

fn names(reply: &Reply, list: &str) -> Vec<String> {
    let items = reply.json[list].as_array().unwrap();
    items
        .iter()
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_answer_carries_the_header() {
    let (crowd, client) = start();
    let wrong = client.with_basic("usher", "wrong");
    for reply in [
        get(&client, "user?username=nobody").await,
        get(&client, "no/such/path").await,
        get(&client, "config/cookie").await,
        call(&client, "PATCH", "user", None).await,
        get(&wrong, "config/cookie").await,
    ] {
        assert_eq!(reply.header(MARK), Some("Crowd/6.1.0"), "{}", reply.text);
    }
    crowd.set_marked(false);
    assert_eq!(get(&client, "config/cookie").await.header(MARK), None);
    crowd.set_marked(true);
    // Beside the interface something else answers.
    let beside = Client {
        url: crowd.url(),
        ..client.with(None)
    };
    let reply = get(&beside, "/rest/api/2/myself").await;
    assert_eq!((reply.status, reply.header(MARK)), (404, None));

    let (_jira, client) = start_with(CrowdOptions {
        product: "JIRA".into(),
        version: [9, 12, 4],
        ..CrowdOptions::default()
    });
    let reply = get(&client, "config/cookie").await;
    assert_eq!(reply.header(MARK), Some("JIRA/9.12.4"));
}

#[tokio::test]
async fn an_application_signs_in_from_an_address_that_is_listed() {
    let (crowd, client) = start();
    for wrong in [
        client.with(None),
        client.with_bearer("emulated-token"),
        client.with_basic("usher", "wrong"),
        client.with_basic("ada", "application-password"),
    ] {
        let reply = get(&wrong, "config/cookie").await;
        assert_eq!(
            (reply.status, reply.text.as_str()),
            (401, "Application failed to authenticate")
        );
        let challenge = reply.header("www-authenticate");
        assert_eq!(challenge, Some("Basic realm=\"Crowd REST Service\""));
    }
    assert_eq!(get(&client, "config/cookie").await.status, 200);
    crowd.set_application_password("other");
    assert_eq!(get(&client, "config/cookie").await.status, 401);
    // The address is looked at before the password.
    crowd.set_address_allowed(false);
    let reply = get(&client, "config/cookie").await;
    assert_eq!((reply.status, &reply.json), (403, &Value::Null));
    assert!(
        reply
            .text
            .contains("is forbidden from making requests to the application, usher.")
    );
}

#[tokio::test]
async fn xml_unless_json_is_asked_for() {
    let (crowd, client) = start();
    crowd.seed_user("ada", "Ada & Byron", "a@b.c");
    let path = "user?username=ada";
    let silent = read(client.request(Method::GET, path, None)).await.unwrap();
    assert_eq!(silent.header("content-type"), Some("application/xml"));
    assert!(
        silent
            .text
            .contains("<user name=\"ada\" expand=\"attributes\">"),
        "{}",
        silent.text
    );
    assert!(
        silent
            .text
            .contains("<display-name>Ada &amp; Byron</display-name>")
    );
    assert!(silent.text.contains("<active>true</active>"));
    let refused = xml(&client, Method::GET, "user?username=x", "").await;
    assert_eq!(refused.status, 404);
    assert!(
        refused
            .text
            .contains("<error><reason>USER_NOT_FOUND</reason>"),
        "{}",
        refused.text
    );
    for (accept, status, content_type) in [
        ("application/json", 200, Some("application/json")),
        (
            "text/html, application/json;q=0.9",
            200,
            Some("application/json"),
        ),
        (
            "application/xml,application/json",
            200,
            Some("application/xml"),
        ),
        ("text/html", 406, None),
    ] {
        let request = client
            .request(Method::GET, path, None)
            .header("accept", accept);
        let reply = read(request).await.unwrap();
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (status, content_type),
            "{accept}"
        );
    }
    // All memberships come as XML whatever is asked for.
    crowd.seed_member("devs", "ada");
    crowd.seed_subgroup("devs", "ops");
    let reply = get(&client, "group/membership").await;
    assert_eq!(reply.header("content-type"), Some("application/xml"));
    let expected = "<membership group=\"devs\"><users><user name=\"ada\"/></users>\
                    <groups><group name=\"ops\"/></groups></membership>";
    assert!(reply.text.contains(expected), "{}", reply.text);
}

#[tokio::test]
async fn a_user_is_made_once_and_shown_with_its_key() {
    let (crowd, client) = start();
    let reply = post(&client, "user", ada()).await;
    assert_eq!((reply.status, &reply.json["name"]), (201, &json!("ada")));
    assert_eq!(crowd.password("ada").as_deref(), Some("secret"));
    refused(&post(&client, "user", ada()).await, 400, "INVALID_USER");
    let shown = get(&client, "user?username=ADA").await.json;
    let key = shown["key"].as_str().unwrap();
    assert!(key.starts_with("32769:"));
    assert_eq!(shown["first-name"], "Ada");
    assert_eq!(shown["password"]["link"]["rel"], "edit");
    assert_eq!(shown["password"].get("value"), None);
    let by_key = get(&client, &format!("user?key={key}")).await;
    assert_eq!(by_key.json["name"], "ada");
    refused(&get(&client, "user?key=x").await, 404, "USER_NOT_FOUND");
    refused(&get(&client, "user").await, 400, "ILLEGAL_ARGUMENT");
    assert_eq!(crowd.creations("ada"), 1);
    for (member, value, reason) in [
        ("name", json!(""), "ILLEGAL_ARGUMENT"),
        ("name", json!(" bob "), "INVALID_USER"),
        ("password", Value::Null, "ILLEGAL_ARGUMENT"),
        ("password", json!({"value": ""}), "INVALID_CREDENTIAL"),
        (
            "password",
            json!({"value": "x".repeat(200)}),
            "INVALID_CREDENTIAL",
        ),
    ] {
        let mut body = ada();
        body["name"] = json!("bob");
        body[member] = value;
        refused(&post(&client, "user", body).await, 400, reason);
    }
    assert_eq!(crowd.users().len(), 1);
    let request = client
        .request(Method::POST, "user", None)
        .header("content-type", "text/plain")
        .body("x");
    assert_eq!(read(request).await.unwrap().status, 415);
    // The secret is not kept in the record.
    let recorded = crowd.requests();
    assert_eq!(
        recorded[0].body.as_ref().unwrap()["password"]["value"],
        "***"
    );
}

#[tokio::test]
async fn an_update_replaces_everything() {
    let (crowd, client) = start();
    post(&client, "user", ada()).await;
    let path = "user?username=ada";
    let reply = put(
        &client,
        path,
        json!({"name": "Ada", "display-name": "Ada King", "active": true}),
    )
    .await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    let user = crowd.user("ada").unwrap();
    assert_eq!(
        (
            user.display_name.as_str(),
            user.email.as_str(),
            user.first_name.as_str(),
            user.last_name.as_str()
        ),
        ("Ada King", "", "", ""),
        "what is left out is lost"
    );
    let mut whole = get(&client, path).await.json;
    whole["active"] = json!(false);
    whole["password"] = json!({"value": "other"});
    assert_eq!(put(&client, path, whole).await.status, 204);
    assert!(!crowd.user("ada").unwrap().active);
    assert_eq!(
        crowd.password("ada").as_deref(),
        Some("secret"),
        "no part of it"
    );
    refused(
        &put(&client, path, json!({"name": "bob"})).await,
        400,
        "ILLEGAL_ARGUMENT",
    );
    refused(
        &put(&client, "user?username=x", json!({"name": "x"})).await,
        404,
        "USER_NOT_FOUND",
    );
}

#[tokio::test]
async fn renames_under_both_spellings_and_not_before_2_8_4() {
    let (crowd, client) = start();
    let key = crowd.seed_user("ada", "Ada", "a@b.c");
    crowd.seed_user("bob", "Bob", "b@b.c");
    crowd.seed_member("devs", "ada");
    let path = "user/rename?username=ada";
    let reply = post(&client, path, json!({"new-name": "augusta"})).await;
    assert_eq!(
        (reply.status, &reply.json["name"]),
        (200, &json!("augusta"))
    );
    let path = "user/rename?username=augusta";
    refused(
        &post(&client, path, json!({"new-name": "BOB"})).await,
        400,
        "INVALID_USER",
    );
    refused(
        &post(&client, path, json!({})).await,
        400,
        "ILLEGAL_ARGUMENT",
    );
    assert_eq!(
        post(&client, path, json!({"newName": "lovelace"}))
            .await
            .status,
        200
    );
    let user = crowd.user("lovelace").unwrap();
    assert_eq!((&user.key, &user.groups), (&key, &vec!["devs".to_owned()]));
    refused(
        &post(&client, path, json!({"new-name": "x"})).await,
        404,
        "USER_NOT_FOUND",
    );
    assert_eq!(get(&client, "user/rename").await.status, 405);

    crowd.set_version([2, 8, 3]);
    let reply = post(&client, path, json!({"new-name": "x"})).await;
    assert_eq!((reply.status, reply.json.get("reason")), (404, None));
    assert_eq!(get(&client, "user/rename").await.status, 404);
}

#[tokio::test]
async fn a_crowd_without_keys_does_not_know_the_parameter() {
    let (crowd, client) = start_with(CrowdOptions {
        keys: false,
        version: [2, 7, 0],
        ..CrowdOptions::default()
    });
    let reply = post(&client, "user", ada()).await;
    assert_eq!(
        (reply.status, reply.text.as_str()),
        (201, ""),
        "and shows nothing of what was made"
    );
    assert_eq!(
        get(&client, "user?username=ada").await.json.get("key"),
        None
    );
    refused(&get(&client, "user?key=ada").await, 400, "ILLEGAL_ARGUMENT");
    assert_eq!(crowd.user("ada").unwrap().key, "");
}

#[tokio::test]
async fn what_is_missing_for_a_membership_decides_the_status() {
    let (crowd, client) = start();
    crowd.seed_user("ada", "Ada", "a@b.c");
    crowd.seed_group("devs");
    let ada = || json!({"name": "ada"});
    let devs = || json!({"name": "devs"});
    let by_group = "group/user/direct?groupname=devs";
    let by_user = "user/group/direct?username=ada";
    assert_eq!(post(&client, by_group, ada()).await.status, 201);
    refused(
        &post(&client, by_group, ada()).await,
        409,
        "MEMBERSHIP_ALREADY_EXISTS",
    );
    refused(
        &post(&client, by_user, devs()).await,
        409,
        "MEMBERSHIP_ALREADY_EXISTS",
    );
    refused(
        &post(&client, by_group, json!({"name": "x"})).await,
        400,
        "USER_NOT_FOUND",
    );
    refused(
        &post(&client, by_user, json!({"name": "x"})).await,
        400,
        "GROUP_NOT_FOUND",
    );
    let none = "group/user/direct?groupname=x";
    refused(&post(&client, none, ada()).await, 404, "GROUP_NOT_FOUND");
    let none = "user/group/direct?username=x";
    refused(&post(&client, none, devs()).await, 404, "USER_NOT_FOUND");
    assert_eq!(crowd.members("devs"), ["ada"]);

    let member = "group/user/direct?groupname=devs&username=ada";
    assert_eq!(get(&client, member).await.status, 200);
    assert_eq!(delete(&client, member).await.status, 204);
    refused(&get(&client, member).await, 404, "MEMBERSHIP_NOT_FOUND");
    refused(&delete(&client, member).await, 404, "MEMBERSHIP_NOT_FOUND");
    refused(
        &delete(&client, "group/user/direct?groupname=x&username=ada").await,
        404,
        "GROUP_NOT_FOUND",
    );
    refused(
        &delete(&client, "user/group/direct?groupname=devs&username=x").await,
        404,
        "USER_NOT_FOUND",
    );
}

#[tokio::test]
async fn lists_come_in_parts_without_a_total() {
    let (crowd, client) = start();
    crowd.seed_user("ada", "Ada", "a@b.c");
    for i in 0..5 {
        crowd.seed_member(&format!("Group{i}"), "ada");
    }
    crowd.seed_subgroup("above", "Group0");
    let path = "user/group/direct?username=ada";
    let part = get(&client, &format!("{path}&start-index=3&max-results=10")).await;
    assert_eq!(names(&part, "groups"), ["Group3", "Group4"]);
    assert_eq!(part.json["groups"][0].get("type"), None, "names alone");
    let members: Vec<&String> = part.json.as_object().unwrap().keys().collect();
    assert_eq!(members, ["expand", "groups"]);
    let part = get(&client, &format!("{path}&max-results=2&expand=group")).await;
    assert_eq!(names(&part, "groups"), ["Group0", "Group1"]);
    assert_eq!(part.json["groups"][0]["type"], "GROUP");
    let all = get(&client, &format!("{path}&max-results=-1")).await;
    assert_eq!(names(&all, "groups").len(), 5);
    let nested = get(&client, "user/group/nested?username=ada").await;
    assert_eq!(names(&nested, "groups").len(), 6);
    assert_eq!(
        names(
            &get(&client, "group/user/nested?groupname=above").await,
            "users"
        ),
        ["ada"]
    );
    assert!(
        names(
            &get(&client, "group/user/direct?groupname=above").await,
            "users"
        )
        .is_empty()
    );
    // Of who is not there the list is empty, which is no error.
    let none = get(&client, "user/group/direct?username=nobody").await;
    assert_eq!((none.status, names(&none, "groups").len()), (200, 0));
    refused(
        &get(&client, "user/group/direct").await,
        400,
        "ILLEGAL_ARGUMENT",
    );
}

#[tokio::test]
async fn searches_read_both_forms_and_are_no_writes() {
    let (crowd, client) = start();
    crowd.seed_user("ada", "Ada Byron", "Ada@Example.com");
    crowd.seed_user("bob", "Bob", "bob@example.com");
    crowd.edit_user("bob", |user| user.active = false);
    let property = |name: &str, mode: &str, value: &str| {
        json!({
            "restriction-type": "property-search-restriction", "property": {"name": name, "type": "STRING"},
            "match-mode": mode, "value": value
        })
    };
    let both = |logic: &str, parts: Value| json!({"restriction-type": "boolean-search-restriction", "boolean-logic": logic, "restrictions": parts});
    let everything = json!({"restriction-type": "null-search-restriction"});
    let exact = property("email", "EXACTLY_MATCHES", "ada@example.com");
    let active = property("active", "EXACTLY_MATCHES", "true");
    for (restriction, expected) in [
        (everything.clone(), vec!["ada", "bob"]),
        (exact.clone(), vec!["ada"]),
        (property("email", "EXACTLY_MATCHES", "example.com"), vec![]),
        (property("email", "CONTAINS", "EXAMPLE"), vec!["ada", "bob"]),
        (property("displayName", "STARTS_WITH", "bo"), vec!["bob"]),
        (property("lastName", "NULL", ""), vec![]),
        (both("and", json!([active, exact])), vec!["ada"]),
        (both("or", json!([active, everything])), vec!["ada", "bob"]),
    ] {
        let reply = post(&client, "search?entity-type=user", restriction.clone()).await;
        assert_eq!(names(&reply, "users"), expected, "{restriction}");
    }
    let reply = post(
        &client,
        "search?entity-type=user&expand=user&max-results=1",
        everything.clone(),
    )
    .await;
    assert_eq!(reply.json["users"][0]["email"], "Ada@Example.com");
    let reply = post(&client, "search?entity-type=group", everything.clone()).await;
    assert_eq!(names(&reply, "groups"), ["crowd-administrators"]);
    refused(
        &post(&client, "search?entity-type=x", everything).await,
        400,
        "ILLEGAL_ARGUMENT",
    );
    let odd = property("createdDate", "EXACTLY_MATCHES", "x");
    refused(
        &post(&client, "search?entity-type=user", odd).await,
        400,
        "ILLEGAL_ARGUMENT",
    );

    // What the products' own client sends to try a connection.
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><property-search-restriction><property><name>name</name>\
                <type>STRING</type></property><match-mode>NULL</match-mode></property-search-restriction>";
    let path = "search?entity-type=user&start-index=0&max-results=1&expand=user";
    let reply = xml(&client, Method::POST, path, body).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply.text.ends_with("<users expand=\"user\"/>"),
        "{}",
        reply.text
    );
    let reply = xml(&client, Method::POST, path, "<null-search-restriction>").await;
    assert_eq!(reply.status, 400);
    assert_eq!(crowd.writes(), 0);
}

#[tokio::test]
async fn xml_bodies_say_the_same() {
    let (crowd, client) = start();
    let user = "<user name=\"o&apos;neill\" expand=\"attributes\"><first-name>O</first-name><last-name>N</last-name>\
                <display-name>A &amp; B</display-name><email>o@n</email><password><value>pw</value></password>\
                <active>true</active></user>";
    assert_eq!(xml(&client, Method::POST, "user", user).await.status, 201);
    let made = crowd.user("o'neill").unwrap();
    assert_eq!((made.display_name.as_str(), made.active), ("A & B", true));
    let group = "<group name=\"devs\"><type>GROUP</type><description>d</description><active>true</active></group>";
    assert_eq!(xml(&client, Method::POST, "group", group).await.status, 201);
    let path = "group/user/direct?groupname=devs";
    assert_eq!(
        xml(&client, Method::POST, path, "<user name=\"o'neill\"/>")
            .await
            .status,
        201
    );
    let path = "user/attribute?username=o'neill";
    let attributes = "<attributes><attribute name=\"lang\"><values><value>en</value><value>fr</value></values>\
                      </attribute></attributes>";
    assert_eq!(
        xml(&client, Method::POST, path, attributes).await.status,
        204
    );
    let path = "user?username=o'neill&expand=attributes";
    let json = get(&client, path).await.json;
    assert_eq!(
        json["attributes"]["attributes"][0],
        json!({"name": "lang", "values": ["en", "fr"]})
    );
    let shown = xml(&client, Method::GET, path, "").await.text;
    assert!(
        shown.contains(
            "<attribute name=\"lang\"><values><value>en</value><value>fr</value></values>"
        )
    );
    // What is shown can be sent back.
    assert_eq!(
        xml(&client, Method::PUT, "user?username=o'neill", &shown)
            .await
            .status,
        204
    );
    assert_eq!(
        crowd.user("o'neill").unwrap().attributes["lang"],
        ["en", "fr"]
    );
    assert!(
        crowd
            .requests()
            .iter()
            .all(|r| !format!("{:?}", r.body).contains(">pw<"))
    );
}

#[tokio::test]
async fn groups_nest_and_are_made_once() {
    let (crowd, client) = start();
    let group =
        |name: &str| json!({"name": name, "type": "GROUP", "description": "d", "active": true});
    assert_eq!(post(&client, "group", group("Devs")).await.status, 201);
    refused(
        &post(&client, "group", group("devs")).await,
        400,
        "INVALID_GROUP",
    );
    refused(
        &post(&client, "group", group("")).await,
        400,
        "ILLEGAL_ARGUMENT",
    );
    assert_eq!(crowd.group_creations("devs"), 1);
    let shown = get(&client, "group?groupname=DEVS").await.json;
    assert_eq!(
        (&shown["name"], &shown["description"]),
        (&json!("Devs"), &json!("d"))
    );
    refused(
        &get(&client, "group?groupname=x").await,
        404,
        "GROUP_NOT_FOUND",
    );
    post(&client, "group", group("ops")).await;
    let children = "group/child-group/direct?groupname=devs";
    assert_eq!(
        post(&client, children, json!({"name": "ops"})).await.status,
        201
    );
    refused(
        &post(&client, children, json!({"name": "ops"})).await,
        409,
        "MEMBERSHIP_ALREADY_EXISTS",
    );
    refused(
        &post(&client, children, json!({"name": "x"})).await,
        400,
        "GROUP_NOT_FOUND",
    );
    refused(
        &post(&client, children, json!({"name": "devs"})).await,
        400,
        "INVALID_MEMBERSHIP",
    );
    assert_eq!(names(&get(&client, children).await, "groups"), ["ops"]);
    let parents = get(&client, "group/parent-group/nested?groupname=ops").await;
    assert_eq!(names(&parents, "groups"), ["Devs"]);
    let child = format!("{children}&child-groupname=ops");
    assert_eq!(delete(&client, &child).await.status, 204);
    refused(&delete(&client, &child).await, 404, "MEMBERSHIP_NOT_FOUND");
    assert_eq!(delete(&client, "group?groupname=devs").await.status, 204);
    refused(
        &delete(&client, "group?groupname=devs").await,
        404,
        "GROUP_NOT_FOUND",
    );
}

#[tokio::test]
async fn people_sign_in_and_out() {
    let (crowd, client) = start();
    post(&client, "user", ada()).await;
    let session = || json!({"username": "ada", "password": "secret"});
    let reply = post(&client, "session?expand=user", session()).await;
    assert_eq!(
        (reply.status, &reply.json["user"]["email"]),
        (201, &json!("a@b.c"))
    );
    let path = format!("session/{}", reply.json["token"].as_str().unwrap());
    assert_eq!(get(&client, &path).await.json["user"]["name"], "ada");
    assert_eq!(crowd.sessions("ada"), 1);
    assert_eq!(delete(&client, "session?username=ada").await.status, 204);
    refused(&get(&client, &path).await, 404, "INVALID_SSO_TOKEN");
    let path = "authentication?username=ada";
    assert_eq!(
        post(&client, path, json!({"value": "secret"})).await.json["name"],
        "ada"
    );
    refused(
        &post(&client, path, json!({"value": "x"})).await,
        400,
        "INVALID_USER_AUTHENTICATION",
    );
    let nobody = "authentication?username=x";
    refused(
        &post(&client, nobody, json!({"value": "x"})).await,
        400,
        "USER_NOT_FOUND",
    );
    crowd.edit_user("ada", |user| user.active = false);
    refused(
        &post(&client, path, json!({"value": "secret"})).await,
        400,
        "INACTIVE_ACCOUNT",
    );
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_refuses_with_its_reason() {
    let (crowd, client) = start();
    crowd.seed_user("ada", "Ada", "a@b.c");
    crowd.seed_group("devs");
    crowd.set_read_only("ada");
    let whole = get(&client, "user?username=ada").await.json;
    for reply in [
        put(&client, "user?username=ada", whole).await,
        delete(&client, "user?username=ada").await,
        post(
            &client,
            "user/rename?username=ada",
            json!({"new-name": "x"}),
        )
        .await,
        post(
            &client,
            "group/user/direct?groupname=devs",
            json!({"name": "ada"}),
        )
        .await,
    ] {
        refused(&reply, 403, "APPLICATION_PERMISSION_DENIED");
    }
    crowd.set_writable(false);
    let mut bob = ada();
    bob["name"] = json!("bob");
    refused(
        &post(&client, "user", bob.clone()).await,
        403,
        "APPLICATION_PERMISSION_DENIED",
    );
    refused(
        &post(&client, "group", json!({"name": "x"})).await,
        403,
        "APPLICATION_PERMISSION_DENIED",
    );
    crowd.set_writable(true);
    assert_eq!(post(&client, "user", bob).await.status, 201);
}

#[tokio::test]
async fn faults_strike_and_what_was_done_stays_done() {
    let (crowd, client) = start();
    crowd.fault(Fault::once(FaultKind::DropAfter).only(Only::Writes));
    let lost = client
        .try_send(Method::POST, "user", Some(ada()))
        .await
        .map(|reply| reply.status);
    assert!(lost.is_err());
    assert_eq!(crowd.creations("ada"), 1);
    crowd.fault(Fault::once(FaultKind::throttled(3)));
    let reply = get(&client, "config/cookie").await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (429, Some("3"))
    );
    crowd.set_down(true);
    assert!(
        client
            .try_send(Method::GET, "config/cookie", None)
            .await
            .is_err()
    );
    crowd.set_down(false);
    crowd.chaos(Some(Chaos::new(1)));
    for _ in 0..40 {
        let _ = client.try_send(Method::GET, "config/cookie", None).await;
    }
    crowd.chaos(None);
    assert!(
        crowd
            .requests()
            .iter()
            .filter(|r| r.fault.is_some())
            .count()
            > 4
    );
    assert_eq!(get(&client, "config/cookie").await.status, 200);
}

#[tokio::test]
async fn a_snapshot_and_a_state_file_bring_everything_back() {
    let folder = std::env::temp_dir().join(format!("usher-emulated-crowd-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (snapshot, state) = (folder.join("snapshot.json"), folder.join("state.json"));
    let options = || CrowdOptions {
        state_file: Some(state.clone()),
        ..CrowdOptions::default()
    };
    let (crowd, client) = start_with(options());
    post(&client, "user", ada()).await;
    crowd.snapshot(&snapshot).unwrap();
    crowd.remove_user("ada");
    crowd.restore(&snapshot).unwrap();
    assert_eq!(crowd.user("ADA").unwrap().display_name, "Ada Byron");
    crowd.seed_member("devs", "ada");
    drop(crowd);
    let (crowd, client) = start_with(options());
    assert_eq!(crowd.user("ada").unwrap().groups, ["devs"]);
    refused(&post(&client, "user", ada()).await, 400, "INVALID_USER");
    assert_eq!(crowd.creations("ada"), 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn changes_are_told_line_by_line() {
    let (crowd, client) = start();
    let (sender, receiver) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    crowd.on_event(Box::new(move |line| {
        sender.lock().unwrap().send(line.to_owned()).unwrap();
    }));
    post(&client, "user", ada()).await;
    crowd.edit_user("ada", |user| user.active = false);
    let told: Vec<String> = receiver.try_iter().collect();
    assert_eq!(
        told,
        [
            "account ada created (Ada Byron <a@b.c>)",
            "account ada deactivated (by hand)"
        ]
    );
    assert!(crowd.requests()[0].changed);
}
