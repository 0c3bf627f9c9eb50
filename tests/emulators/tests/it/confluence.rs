//! The emulated Confluence is held to what is known of the real one.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use usher_emulators::confluence::{Confluence, ConfluenceOptions};
use usher_emulators::{Fault, FaultKind, Only};

use crate::client::{Client, Reply, http};

struct Caller(Client);

impl Caller {
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let path = format!("/rest/api/{path}");
        self.0.try_send(method, &path, body).await.unwrap()
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    async fn put(&self, path: &str) -> Reply {
        self.send(Method::PUT, path, None).await
    }

    async fn change(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await
    }
}

fn start_with(options: ConfluenceOptions) -> (Confluence, Caller) {
    let authorization = Some(format!("Bearer {}", options.token));
    let confluence = Confluence::start(options).unwrap();
    let client = Client {
        http: http(),
        url: confluence.url(),
        authorization,
    };
    (confluence, Caller(client))
}

fn start() -> (Confluence, Caller) {
    start_with(ConfluenceOptions::default())
}

fn ada() -> Value {
    json!({
        "userName": "ada", "fullName": "Ada Byron", "email": "ada@example.com",
        "password": "secret-word", "notifyViaEmail": false
    })
}

fn ada_with(name: &str, value: Value) -> Value {
    let mut body = ada();
    body[name] = value;
    body
}

#[tokio::test]
async fn a_created_account_can_be_read_back_without_its_address() {
    let (confluence, client) = start();
    let created = client.post("admin/user", ada()).await;
    assert_eq!(created.status, 201);
    let key = created.json["userKey"].as_str().unwrap();
    assert_eq!(created.json, json!({ "userKey": key }));
    let by_name = client.get("user?username=ADA&expand=status").await.json;
    let by_key = client.get(&format!("user?key={key}")).await.json;
    assert_eq!(
        (&by_name["username"], &by_name["userKey"]),
        (&json!("ada"), &json!(key))
    );
    assert_eq!(
        (&by_name["type"], &by_name["displayName"]),
        (&json!("known"), &json!("Ada Byron"))
    );
    assert_eq!(by_name["status"], "current");
    assert_eq!(
        (&by_key["status"], &by_key["_expandable"]["status"]),
        (&Value::Null, &json!(""))
    );
    assert!(!by_name.to_string().contains("example.com") && by_name.get("email").is_none());
    let groups = client.get("user/memberof?username=ada").await.json;
    assert_eq!(groups["results"][0]["name"], "confluence-users");
    let user = confluence.user("Ada").unwrap();
    assert_eq!(
        (user.email.as_str(), user.notified, user.password_length),
        ("ada@example.com", false, 11)
    );

    let twice = client
        .post("admin/user", ada_with("fullName", json!("x")))
        .await;
    assert_eq!(twice.status, 409);
    assert_eq!(
        twice.json,
        json!({
            "statusCode": 409,
            "data": { "authorized": true, "valid": true, "errors": [], "successful": false },
            "message": "A user with this userName already exists.",
            "reason": "Conflict"
        })
    );
    assert_eq!(
        (
            confluence.creations("ada"),
            confluence.creation_attempts("ADA")
        ),
        (1, 2)
    );
    let none = client.get("user?key=none").await;
    assert_eq!(
        (none.status, &none.json["message"]),
        (404, &json!("No user found with key : none"))
    );
    assert_eq!(client.get("user").await.status, 400);
    assert_eq!(client.get("user?key=a&username=b").await.status, 400);
}

#[tokio::test]
async fn accounts_obey_the_rules() {
    let (confluence, client) = start();
    for (field, value) in [
        ("userName", json!("")),
        ("userName", json!("Ada")),
        ("userName", json!("a b")),
        ("userName", json!("a+b")),
        ("userName", json!("a\"b")),
        ("userName", json!("anonymous")),
        ("fullName", json!(" ")),
        ("fullName", json!("a<b")),
        ("fullName", json!("Anonymous")),
        ("email", json!("nobody")),
        ("email", Value::Null),
        ("password", Value::Null),
        ("notifyViaEmail", json!(true)),
        ("nickName", json!("x")),
    ] {
        let reply = client
            .post("admin/user", ada_with(field, value.clone()))
            .await;
        assert_eq!(reply.status, 400, "{field}: {value}");
        assert!(reply.json["message"].is_string());
    }
    assert_eq!(confluence.users().len(), 1);
    let mut by_mail = ada_with("notifyViaEmail", json!(true));
    by_mail["password"] = Value::Null;
    assert_eq!(client.post("admin/user", by_mail).await.status, 201);
    assert!(confluence.user("ada").unwrap().notified);
    let changed = client
        .change("admin/user/ADA", json!({ "email": "a@b.org" }))
        .await;
    assert_eq!((changed.status, changed.text.as_str()), (204, ""));
    let user = confluence.user("ada").unwrap();
    assert_eq!(
        (user.email.as_str(), user.display_name.as_str()),
        ("a@b.org", "Ada Byron")
    );
    assert_eq!(
        client
            .change("admin/user/ada", json!({ "fullName": "" }))
            .await
            .status,
        400
    );
    assert_eq!(
        client.change("admin/user/none", json!({})).await.status,
        404
    );
}

#[tokio::test]
async fn a_licence_that_does_not_suffice_is_402() {
    for makes_before_it_counts in [false, true] {
        let (confluence, client) = start_with(ConfluenceOptions {
            licences: Some(1),
            makes_before_it_counts,
            ..ConfluenceOptions::default()
        });
        let reply = client.post("admin/user", ada()).await;
        assert_eq!(
            (reply.status, &reply.json["statusCode"]),
            (402, &json!(402))
        );
        assert_eq!(confluence.user("ada").is_some(), makes_before_it_counts);
        if !makes_before_it_counts {
            confluence.set_licences(Some(2));
            assert_eq!(client.post("admin/user", ada()).await.status, 201);
        }
    }
}

#[tokio::test]
async fn disabling_and_memberships_may_be_repeated() {
    let (confluence, client) = start();
    confluence.seed_user("ada", "Ada", "a@b.org");
    confluence.seed_group("Dev Ops");
    for _ in 0..2 {
        assert_eq!(client.put("admin/user/Ada/disable").await.status, 204);
        assert_eq!(client.put("user/ada/group/dev%20ops").await.status, 204);
    }
    let user = client.get("user?username=ada&expand=status").await.json;
    assert_eq!(user["status"], "deactivated");
    let members = client
        .get("group/Dev%20Ops/member?expand=status")
        .await
        .json;
    assert_eq!(
        (&members["size"], &members["results"][0]["status"]),
        (&json!(1), &json!("deactivated"))
    );
    for _ in 0..2 {
        assert_eq!(client.put("admin/user/ada/enable").await.status, 204);
        assert_eq!(client.delete("user/ada/group/Dev%20Ops").await.status, 204);
    }
    assert_eq!(confluence.members("dev ops"), Vec::<String>::new());
    let changed: Vec<bool> = confluence
        .requests()
        .iter()
        .filter(|it| it.is_write())
        .map(|it| it.changed)
        .collect();
    assert_eq!(
        changed,
        [true, true, false, false, true, true, false, false]
    );
    for (path, message) in [
        ("user/none/group/dev%20ops", "User none not found"),
        ("user/ada/group/none", "Group none not found"),
        ("user/none/group/nil", "User none and group nil not found"),
    ] {
        let reply = client.put(path).await;
        assert_eq!(
            (reply.status, &reply.json["message"]),
            (404, &json!(message))
        );
        assert_eq!(client.delete(path).await.status, 404);
    }
    assert_eq!(client.put("admin/user/none/disable").await.status, 404);
    assert_eq!(client.put("admin/user/admin/disable").await.status, 403);
}

#[tokio::test]
async fn a_deletion_goes_on_after_it_was_answered() {
    let (confluence, client) = start_with(ConfluenceOptions {
        deletion: Duration::from_millis(300),
        ..ConfluenceOptions::default()
    });
    let key = confluence.seed_user("ada", "Ada", "a@b.org");
    confluence.seed_member("devs", "ada");
    let accepted = client.delete("admin/user/ada").await;
    assert_eq!(accepted.status, 202);
    let id = accepted.json["id"].as_str().unwrap();
    assert_eq!(
        accepted.json["links"]["status"],
        format!("/rest/api/longtask/{id}")
    );
    let task = client.get(&format!("longtask/{id}")).await.json;
    assert_eq!(
        (&task["percentageComplete"], &task["successful"]),
        (&json!(15), &json!(true))
    );
    let there = client.get("user?username=ada&expand=status").await.json;
    assert_eq!(there["status"], "deactivated");
    tokio::time::sleep(Duration::from_millis(320)).await;
    let task = client.get(&format!("longtask/{id}")).await.json;
    assert_eq!(
        (&task["percentageComplete"], &task["successful"]),
        (&json!(100), &json!(true))
    );
    assert_eq!(client.get("user?username=ada").await.status, 404);
    assert_eq!(confluence.members("devs"), Vec::<String>::new());
    // What is left of it, so that its pages have an author.
    let left = client.get(&format!("user?key={key}")).await.json;
    assert_eq!(
        (&left["username"], &left["userKey"]),
        (&json!(key), &json!(key))
    );
    assert_eq!(left["displayName"], "user-000a1");
    assert_eq!(client.get("longtask/none").await.status, 404);
    assert_eq!(client.delete("admin/user/ada").await.status, 404);

    confluence.seed_user("bob", "Bob", "b@b.org");
    confluence.set_deletion(Duration::ZERO);
    confluence.set_failing_deletions(true);
    let accepted = client.delete("admin/user/bob").await.json;
    let task = client
        .get(&format!("longtask/{}", accepted["id"].as_str().unwrap()))
        .await
        .json;
    assert_eq!(
        (&task["percentageComplete"], &task["successful"]),
        (&json!(15), &json!(false))
    );
    assert!(!confluence.user("bob").unwrap().active);
}

#[tokio::test]
async fn groups_come_and_go() {
    let (confluence, client) = start();
    let created = client
        .post("admin/group", json!({ "type": "group", "name": "Dev" }))
        .await;
    assert_eq!(
        (created.status, &created.json["name"]),
        (200, &json!("Dev"))
    );
    assert_eq!(
        client
            .post("admin/group", json!({ "name": "dev" }))
            .await
            .status,
        409
    );
    assert_eq!(
        client
            .post("admin/group", json!({ "name": " " }))
            .await
            .status,
        400
    );
    assert_eq!(client.get("group/DEV").await.json["name"], "Dev");
    assert_eq!(client.get("group/none").await.status, 404);
    let last = client.delete("admin/group/confluence-administrators").await;
    assert_eq!(last.status, 400);
    confluence.seed_member("dev", "admin");
    assert_eq!(client.delete("admin/group/DEV").await.status, 204);
    assert_eq!(client.delete("admin/group/dev").await.status, 404);
    assert_eq!(
        confluence.user("admin").unwrap().groups,
        ["confluence-administrators", "confluence-users"]
    );
    assert_eq!(confluence.group_creations("DEV"), 1);
}

#[tokio::test]
async fn lists_come_in_pages_with_links() {
    let (confluence, client) = start_with(ConfluenceOptions {
        context_path: "/wiki".into(),
        page_cap: 3,
        ..ConfluenceOptions::default()
    });
    for at in 0..7 {
        confluence.seed_group(&format!("team {at}"));
    }
    confluence.seed_subgroup("outer", "team 0");
    confluence.seed_member("team 0", "admin");
    let mut names = Vec::new();
    let mut next = Some("/rest/api/group?limit=1000&start=0".to_owned());
    while let Some(path) = next {
        let page = client
            .0
            .try_send(Method::GET, &path, None)
            .await
            .unwrap()
            .json;
        assert_eq!(
            (&page["limit"], &page["start"]),
            (&json!(3), &json!(names.len()))
        );
        assert_eq!(page["_links"]["context"], "/wiki");
        for group in page["results"].as_array().unwrap() {
            names.push(group["name"].as_str().unwrap().to_owned());
        }
        next = page["_links"]["next"].as_str().map(str::to_owned);
    }
    assert_eq!(names, confluence.groups());
    let own = client
        .get("user/memberof?username=admin&start=0&limit=200")
        .await
        .json;
    assert_eq!(
        own["_links"]["next"],
        "/rest/api/user/memberof?username=admin&limit=3&start=3"
    );
    let rest = client
        .get("user/memberof?username=admin&start=3")
        .await
        .json;
    // Through the group that it is in.
    assert_eq!(rest["results"][0]["name"], "team 0");
    assert_eq!(own["results"][2]["name"], "outer");
    assert_eq!(client.get("user/memberof?username=none").await.status, 404);
    let users = client.get("user/list?expand=status").await.json;
    assert_eq!(users["results"][0]["username"], "admin");
}

#[tokio::test]
async fn who_may_not_look_is_told_that_nobody_is_there() {
    let (confluence, client) = start();
    for name in ["plain", "blind"] {
        confluence.seed_user(name, name, "a@b.org");
        confluence.set_password(name, "word");
    }
    confluence.seed_member("confluence-users", "plain");
    let plain = Caller(client.0.with_basic("plain", "word"));
    let blind = Caller(client.0.with_basic("blind", "word"));
    let anonymous = Caller(client.0.with(None));
    assert_eq!(plain.get("user?username=admin").await.status, 200);
    assert_eq!(blind.get("user?username=admin").await.status, 404);
    assert_eq!(blind.get("user/current").await.json["username"], "blind");
    assert_eq!(blind.get("group").await.status, 403);
    assert_eq!(anonymous.get("user?username=admin").await.status, 403);
    assert_eq!(
        anonymous.get("user/current").await.json["type"],
        "anonymous"
    );
    assert_eq!(anonymous.post("admin/user", ada()).await.status, 401);
    for reply in [
        plain.post("admin/user", ada()).await,
        plain.put("admin/user/blind/disable").await,
        plain.put("user/blind/group/confluence-users").await,
        plain.get("permissions").await,
        plain.get("group/confluence-users/member").await,
    ] {
        assert_eq!((reply.status, &reply.json["message"]), (403, &Value::Null));
    }
    let grants = client.get("permissions").await.json;
    assert_eq!(grants[1]["subject"]["name"], "confluence-administrators");
    assert_eq!(grants[1]["operation"]["operationKey"], "administer");
    let wrong = Caller(client.0.with_bearer("wrong"))
        .get("user/current")
        .await;
    assert_eq!(
        (wrong.status, wrong.header("x-seraph-loginreason")),
        (401, Some("AUTHENTICATED_FAILED"))
    );
    let wrong = Caller(client.0.with_basic("plain", "wrong"))
        .get("user/current")
        .await;
    assert_eq!(wrong.status, 401);
}

#[tokio::test]
async fn versions_differ() {
    let (confluence, client) = start();
    let statuses = async || {
        let created = client.post("admin/user", ada()).await.status;
        let changed = client
            .change("admin/user/admin", json!({ "fullName": "x" }))
            .await
            .status;
        let told = client.get("server-information").await.status;
        [
            created,
            changed,
            told,
            client.get("permissions").await.status,
        ]
    };
    confluence.set_version([7, 19, 0]);
    assert_eq!(statuses().await, [404, 405, 404, 404]);
    confluence.set_version([8, 9, 0]);
    assert_eq!(statuses().await, [201, 405, 200, 404]);
    confluence.set_version([10, 0, 3]);
    assert_eq!(statuses().await, [409, 204, 200, 200]);
    let unknown = client.get("nothing").await;
    assert_eq!(
        (unknown.status, unknown.json.get("statusCode")),
        (404, None)
    );
    assert!(
        unknown.json["message"]
            .as_str()
            .unwrap()
            .starts_with("null for uri")
    );
}

#[tokio::test]
async fn slashes_stop_at_the_web_server() {
    let (confluence, client) = start();
    confluence.seed_group("a/b");
    for path in ["group/a%2Fb", "group/a%5cb", "user/x%2Fy/group/g"] {
        let reply = client.get(path).await;
        assert_eq!((reply.status, &reply.json), (400, &Value::Null), "{path}");
    }
    assert_eq!(
        client
            .post("admin/group", json!({ "name": "c/d" }))
            .await
            .status,
        200
    );
    assert_eq!(confluence.groups()[..2], ["a/b", "c/d"]);
    let (confluence, client) = start_with(ConfluenceOptions {
        slashes_in_paths: true,
        ..ConfluenceOptions::default()
    });
    confluence.seed_group("a/b");
    assert_eq!(client.get("group/a%2Fb").await.json["name"], "a/b");
}

#[tokio::test]
async fn it_is_kept_told_and_struck_like_the_others() {
    let (confluence, client) = start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    confluence.on_event(Box::new(move |line| {
        kept.lock().unwrap().push(line.to_owned())
    }));
    confluence.seed_user("ada", "Ada", "a@b.org");
    confluence.edit_user("ada", |user| {
        user.name = "augusta".into();
        user.groups = vec!["ops".into()];
    });
    client.put("admin/user/augusta/disable").await;
    assert_eq!(
        *told.lock().unwrap(),
        [
            "account ada renamed to augusta (by hand)",
            "group ops created (by hand)",
            "augusta added to ops (by hand)",
            "account augusta disabled",
        ]
    );
    let file = std::env::temp_dir().join(format!("usher-confluence-{}.json", std::process::id()));
    confluence.snapshot(&file).unwrap();
    confluence.remove_user("augusta");
    confluence.restore(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(confluence.user("AUGUSTA").unwrap().groups, ["ops"]);

    confluence.fault(Fault::once(FaultKind::DropAfter).only(Only::Writes));
    let lost = client
        .0
        .try_send(Method::POST, "/rest/api/admin/user", Some(ada()))
        .await;
    assert!(lost.is_err());
    assert_eq!(confluence.creations("ada"), 1);
    let sent = confluence.requests();
    let body = sent.last().unwrap().body.as_ref().unwrap();
    assert_eq!(body["password"], "***");
    let state = client
        .0
        .try_send(Method::GET, "/__emulator/state", None)
        .await
        .unwrap()
        .json;
    assert_eq!(state["creations"], json!({ "ada": 1 }));
    assert_eq!(state["groups"]["ops"], json!(["augusta"]));
}

/// Runs where `USHER_PYTHON` names a Python that has `atlassian-python-api`.
#[test]
fn python_clients_get_along_with_it() {
    let Some(python) = std::env::var_os("USHER_PYTHON") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/confluence_clients.py");
    for (context_path, version) in [("", [10, 0, 3]), ("/confluence", [8, 9, 0])] {
        let options = ConfluenceOptions {
            context_path: context_path.into(),
            version,
            ..ConfluenceOptions::default()
        };
        let (token, (name, password)) = (options.token.clone(), options.admin.clone());
        let confluence = Confluence::start(options).unwrap();
        let output = Command::new(&python)
            .arg(&script)
            .args([confluence.url(), token, name, password])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        assert!(text.contains("checks passed"), "{text}");
    }
}
