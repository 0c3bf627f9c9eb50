use std::sync::Mutex;

use super::*;
use crate::server::{Answer, Emulated, Request, Server, ServerOptions, lock};

/// Answers as IDCS answers, and keeps nothing: what was sent is in the server's record.
struct Stub {
    total: usize,
    accepts: Mutex<Vec<String>>,
}

impl Emulated for Stub {
    fn answer(&self, request: &Request) -> Answer {
        lock(&self.accepts).push(request.header("accept").unwrap_or_default().to_owned());
        match request.method.as_str() {
            "POST" => {
                Answer::json(201, &json!({ "id": "u-1" })).with_header("Location", "/Users/u-1")
            }
            "DELETE" => Answer::empty(204),
            "GET" => {
                let number = |name| request.param(name).and_then(|it| it.parse().ok());
                let (start, count) = (
                    number("startIndex").unwrap_or(1),
                    number("count").unwrap_or(10),
                );
                let page = (start..=self.total).take(count);
                let resources: Vec<Value> =
                    page.map(|it| json!({ "id": it.to_string() })).collect();
                Answer::json(
                    200,
                    &json!({ "totalResults": self.total, "Resources": resources }),
                )
            }
            _ => Answer::json(200, &json!({ "id": "u-1" })),
        }
    }
}

fn start(total: usize) -> (Server, Arc<Stub>, IdcsPush) {
    let stub = Arc::new(Stub {
        total,
        accepts: Mutex::default(),
    });
    let options = ServerOptions {
        host: "127.0.0.1".into(),
        port: 0,
        latency: Duration::ZERO,
        rate_limit: None,
        keep_requests: 1000,
    };
    let server = Server::start(options, Arc::clone(&stub) as Arc<dyn Emulated>).unwrap();
    let push = IdcsPush::new(&format!("http://{}/scim/v2/", server.address()), "t0ken");
    (server, stub, push)
}

fn bodies(server: &Server) -> Vec<Value> {
    server
        .requests()
        .into_iter()
        .filter_map(|it| it.body)
        .collect()
}

fn operations(server: &Server) -> Vec<Value> {
    let lists = bodies(server).into_iter().map(|body| {
        assert_eq!(body["schemas"], json!([PATCH]));
        body["Operations"].as_array().unwrap().clone()
    });
    let operations = lists.flatten().collect();
    server.clear_requests();
    operations
}

#[tokio::test]
async fn every_request_carries_media_type_and_token() {
    let (server, stub, push) = start(0);
    let push = push.with_header("X-Tenant", "corp");
    let ada = Person::new("ada@example.com", "Ada", "Byron");
    let created = push.create_as(&ada, CreateForm::WithPassword).await;
    assert_eq!((created.status, created.id()), (201, "u-1"));
    assert_eq!(created.location.as_deref(), Some("/Users/u-1"));
    push.test_connectivity().await;
    assert_eq!(push.revoke("a/b").await.status, 204);

    let requests = server.requests();
    let lines: Vec<_> = requests
        .iter()
        .map(|it| format!("{} {}", it.method, it.path))
        .collect();
    assert_eq!(
        lines,
        [
            "POST /scim/v2/Users",
            "GET /scim/v2/Users",
            "DELETE /scim/v2/Users/a%2Fb"
        ]
    );
    assert_eq!(requests[0].header("content-type"), Some(SCIM_JSON));
    assert_eq!(requests[1].header("content-type"), None);
    assert_eq!(requests[1].param("count"), Some("1"));
    assert!(
        requests
            .iter()
            .all(|it| it.header("authorization") == Some("Bearer"))
    );
    assert!(lock(&stub.accepts).iter().all(|accept| accept == SCIM_JSON));
    let body = requests[0].body.clone().unwrap();
    assert_eq!(body["password"], "***", "the record holds no password");
    assert_eq!(body["emails"][0]["primary"], true);
    assert_eq!(body["name"]["familyName"], "Byron");

    let plain = push
        .with_media_type("application/json")
        .without_credentials();
    plain.create(&ada).await;
    let last = server.requests().pop().unwrap();
    assert_eq!(last.header("content-type"), Some("application/json"));
    assert_eq!(last.header("authorization"), None);
}

#[tokio::test]
async fn creation_has_its_variants() {
    let (server, _, push) = start(0);
    let mut ada = Person::new("ada@example.com", "Ada", "Byron");
    ada.recovery_email = Some("ada@home.example".into());
    ada.department = Some("R&D".into());
    for form in [
        CreateForm::Full,
        CreateForm::WithoutActive,
        CreateForm::WithoutEmails,
        CreateForm::Bare,
    ] {
        push.create_as(&ada, form).await;
    }
    push.add_emails("u-1", &ada).await;
    let bodies = bodies(&server);
    let has = |at: usize, name: &str| bodies[at].get(name).is_some();
    assert!(has(0, "active") && has(0, "emails") && !has(0, "password"));
    assert!(!has(1, "active") && has(1, "emails"));
    assert!(has(2, "active") && !has(2, "emails"));
    assert!(!has(3, "active") && !has(3, "emails"));
    assert_eq!(bodies[0][ENTERPRISE]["department"], "R&D");
    let late = &bodies[4]["Operations"][0];
    assert_eq!(
        (&late["op"], &late["path"]),
        (&json!("add"), &json!("emails"))
    );
    assert_eq!(
        late["value"][0]["type"], "recovery",
        "listed first, as IDCS does"
    );
    assert_eq!(late["value"][1]["primary"], true);
}

#[tokio::test]
async fn deactivation_has_five_wire_forms() {
    let (server, _, push) = start(0);
    for form in DeactivateForm::ALL {
        assert_eq!(push.deactivate("u-1", form).await.status, 200);
    }
    let requests = server.requests();
    let methods: Vec<&str> = requests.iter().map(|it| it.method.as_str()).collect();
    assert_eq!(methods, ["PATCH", "PATCH", "PATCH", "PATCH", "PUT"]);
    let bodies = bodies(&server);
    let operations: Vec<&Value> = bodies[..4]
        .iter()
        .map(|body| &body["Operations"][0])
        .collect();
    assert_eq!(
        *operations[0],
        json!({ "op": "replace", "path": "active", "value": false })
    );
    assert_eq!(
        *operations[1],
        json!({ "op": "replace", "path": "active", "value": "false" })
    );
    assert_eq!(
        *operations[2],
        json!({ "op": "replace", "path": "active", "value": ["false"] })
    );
    assert_eq!(
        *operations[3],
        json!({ "op": "REPLACE", "value": { "active": ["false"] } })
    );
    assert_eq!(bodies[4], json!({ "schemas": [USER], "active": false }));
    server.clear_requests();
    push.activate("u-1", DeactivateForm::StringBool).await;
    assert_eq!(self::operations(&server)[0]["value"], "true");
}

#[tokio::test]
async fn updates_have_their_wire_forms() {
    let (server, _, push) = start(0);
    let department = format!("{ENTERPRISE}:department");
    let changes = [
        Change::new("name.familyName", "Lovelace"),
        Change::new(department.as_str(), "R&D"),
    ];
    let mut sent = Vec::new();
    for form in [
        UpdateForm::Plain,
        UpdateForm::ArrayValues,
        UpdateForm::CapitalOps,
        UpdateForm::Pathless,
        UpdateForm::QualifiedPaths,
        UpdateForm::OneByOne,
    ] {
        push.update("u-1", &changes, form).await;
        sent.push((server.requests().len(), operations(&server)));
    }
    let plain = json!({ "op": "replace", "path": "name.familyName", "value": "Lovelace" });
    let apart = json!({ "op": "replace", "path": department, "value": "R&D" });
    assert_eq!(sent[0], (1, vec![plain.clone(), apart.clone()]));
    assert_eq!(sent[1].1[0]["value"], json!(["Lovelace"]));
    assert_eq!(sent[2].1[0]["op"], "REPLACE");
    let whole =
        json!({ "name": { "familyName": "Lovelace" }, (ENTERPRISE): { "department": "R&D" } });
    assert_eq!(sent[3].1, [json!({ "op": "replace", "value": whole })]);
    assert_eq!(sent[4].1[0]["path"], format!("{USER}:name.familyName"));
    assert_eq!(sent[4].1[1]["path"], department);
    assert_eq!(sent[5], (2, vec![plain, apart]));

    push.update("u-1", &changes, UpdateForm::PutPartial).await;
    let put = bodies(&server).pop().unwrap();
    assert_eq!(put["name"], json!({ "familyName": "Lovelace" }));
    assert!(put.get("userName").is_none());
}

#[tokio::test]
async fn memberships_have_their_wire_forms() {
    let (server, _, push) = start(0);
    push.create_group("Engineering", &["u-1"]).await;
    assert_eq!(
        bodies(&server)[0]["members"],
        json!([{ "value": "u-1", "type": "User" }])
    );
    server.clear_requests();
    let two = json!([{ "value": "u-1", "type": "User" }, { "value": "u-2", "type": "User" }]);
    let expected = [
        vec![json!({ "op": "add", "path": "members", "value": two })],
        vec![json!({ "op": "ADD", "path": "members", "value": two })],
        vec![json!({ "op": "add", "value": { "members": two } })],
        vec![json!({ "op": "add", "path": "groups", "value": [{ "value": "g-1" }] }); 2],
    ];
    for (form, expected) in AddForm::ALL.into_iter().zip(expected) {
        push.add_members("g-1", &["u-1", "u-2"], form).await;
        let path = &server.requests()[0].path;
        assert_eq!(
            path.contains("/Users/u-1"),
            form == AddForm::OnUser,
            "{path}"
        );
        assert_eq!(operations(&server), expected, "{form:?}");
    }
    let expected = [
        vec![
            json!({ "op": "remove", "path": "members[value eq \"u-1\"]" }),
            json!({ "op": "remove", "path": "members[value eq \"u-2\"]" }),
        ],
        vec![json!({ "op": "remove", "path": "members", "value": two })],
        vec![json!({ "op": "REMOVE", "path": "members", "value": two })],
        vec![json!({ "op": "remove", "path": "groups", "value": [{ "value": "g-1" }] }); 2],
        vec![json!({ "op": "remove", "path": "groups[value eq \"g-1\"]" }); 2],
    ];
    for (form, expected) in RemoveForm::ALL.into_iter().zip(expected) {
        push.remove_members("g-1", &["u-1", "u-2"], form).await;
        assert_eq!(operations(&server), expected, "{form:?}");
    }
    push.put_group("g-1", "Engineering", &[]).await;
    assert_eq!(bodies(&server)[0]["members"], json!([]));
}

#[tokio::test]
async fn import_reads_all_pages() {
    let (server, _, push) = start(450);
    assert_eq!(push.import_all().await.unwrap().len(), 450);
    let requests = server.requests();
    let starts: Vec<_> = requests
        .iter()
        .map(|it| it.param("startIndex").unwrap())
        .collect();
    assert_eq!(starts, ["1", "201", "401"]);
    push.lookup("o\"neil").await;
    let last = server.requests().pop().unwrap();
    assert_eq!(last.param("filter"), Some(r#"userName eq "o\"neil""#));
}

#[tokio::test]
async fn tokens_are_asked_for_in_both_ways() {
    let (server, _, push) = start(0);
    let url = format!("http://{}/oauth2/v1/token", server.address());
    for place in [CredentialsIn::Body, CredentialsIn::Header] {
        push.client_credentials(&url, ("id", "s&t"), "urn:a urn:b", place)
            .await;
    }
    let requests = server.requests();
    let body = |at: usize| requests[at].body.clone().unwrap();
    assert_eq!(
        body(0),
        "grant_type=client_credentials&scope=urn%3Aa+urn%3Ab&client_id=id&client_secret=s%26t"
    );
    assert_eq!(
        body(1),
        "grant_type=client_credentials&scope=urn%3Aa+urn%3Ab"
    );
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[1].header("authorization"), Some("Basic"));
}

#[tokio::test]
async fn a_server_that_is_gone_is_status_0_with_a_reason() {
    let (server, _, push) = start(0);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let push = push.with_log(move |line| lock(&kept).push(line.to_owned()));
    push.create_as(&Person::new("ada", "Ada", "B"), CreateForm::WithPassword)
        .await;
    drop(server);
    let pushed = push.test_connectivity().await;
    assert_eq!(pushed.status, 0);
    assert!(!pushed.ok() && pushed.error.is_some());
    let lines = lock(&lines);
    assert!(
        lines[0].starts_with("IDCS POST /Users ada -> 201 ("),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with("IDCS GET /Users?count=1 -> no answer: "),
        "{}",
        lines[1]
    );
    assert!(!lines[0].contains("S3cret"));
}
