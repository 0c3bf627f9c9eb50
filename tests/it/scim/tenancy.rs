//! Promise 7: a connection's credentials see and change that connection's resources alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::{Value, json};
use usher::auth::{basic_digest, bearer_digest};
use usher::domain::ConnectionKind;
use usher::store::tokens::{self, CredentialScheme};
use usher::store::{self};
use usher::targets::memory::Memory;

use super::super::harness::{App, Reply, databases};
use super::super::store::{lines, number};
use super::{encoded, group, operations, patch, raw, user};

/// What an answer says, but for the ids of what was asked for and of the request.
fn words(reply: &Reply, id: &str) -> String {
    let request = reply.headers["x-request-id"].to_str().unwrap();
    let text = reply.json.to_string();
    assert!(text.contains(request), "{text}");
    text.replace(id, "ID").replace(request, "REQUEST")
}

const TWO: &str = r#"
[[connection]]
name = "a"
kind = "KIND"

[[connection]]
name = "b"
kind = "KIND"

[[target]]
name = "of-a"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = { env = "NONE" }

[[target]]
name = "of-b"
kind = "jira-dc"
base_url = "http://127.0.0.1:2"
token = { env = "NONE" }

[[mapping]]
connection = "a"
target = "of-a"
mode = "live"
[mapping.groups]
on_the_fly = true
create_missing = true

[[mapping]]
connection = "b"
target = "of-b"
mode = "live"
[mapping.groups]
on_the_fly = true
create_missing = true
"#;

/// Everything of a tenant, as its own list shows it.
async fn all(app: &App, token: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/Users?count=1000",
        "/Groups?count=1000&attributes=displayName,members,meta",
    ] {
        all.push(app.send(token, "GET", path, None).await.json["Resources"].clone());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_tenant_can_be_reached() {
    for database in databases() {
        for kind in ["scim", "oracle-idcs"] {
            let database = match database.name {
                "sqlite" => super::super::harness::sqlite(),
                _ => super::super::harness::postgres().unwrap(),
            };
            let memory = Memory::new();
            let app = App::start(&database, &memory).await;
            app.apply(&TWO.replace("KIND", kind)).await;
            let (a, b) = (app.token("a").await, app.token("b").await);
            let mut bob = user("bob");
            bob["externalId"] = json!("secret-external");
            bob["emails"] = json!([{"value": "bob@secret.example"}]);
            let bob = app.send(&b, "POST", "/Users", Some(bob)).await.id();
            let mut secret = group("secret-group");
            secret["members"] = json!([{"value": bob}]);
            let secret = app.send(&b, "POST", "/Groups", Some(secret)).await.id();
            let own = app.send(&a, "POST", "/Users", Some(user("own"))).await.id();
            let team = app
                .send(&a, "POST", "/Groups", Some(group("team")))
                .await
                .id();
            app.drain().await;
            memory.clear_writes();
            let before = all(&app, &b).await;

            // By id: as if it did not exist, in the same words.
            for (endpoint, id) in [("/Users", &bob), ("/Groups", &secret)] {
                let body = if endpoint == "/Users" {
                    user("x")
                } else {
                    group("x")
                };
                for (method, body) in [
                    ("GET", None),
                    ("PUT", Some(body)),
                    ("PATCH", Some(patch("replace", "displayName", json!("x")))),
                    ("DELETE", None),
                ] {
                    let there = app
                        .send(&a, method, &format!("{endpoint}/{id}"), body.clone())
                        .await;
                    let nobody = "0".repeat(32);
                    let not_there = app
                        .send(&a, method, &format!("{endpoint}/{nobody}"), body)
                        .await;
                    assert_eq!(there.status, 404, "{method} {endpoint}");
                    assert_eq!(words(&there, id), words(&not_there, &nobody));
                }
                for tag in ["*", "W/\"1\""] {
                    let path = format!("{endpoint}/{id}");
                    let answer = app
                        .send_with(&a, "DELETE", &path, None, &[("If-Match", tag)])
                        .await;
                    assert_eq!(answer.status, 404);
                }
            }
            // By lists and filters: not counted either.
            for filter in [
                format!("id eq \"{bob}\""),
                format!("id eq \"{secret}\""),
                "userName eq \"bob\"".to_owned(),
                "externalId eq \"secret-external\"".to_owned(),
                "emails.value eq \"bob@secret.example\"".to_owned(),
                "emails[value co \"secret\"]".to_owned(),
                "displayName eq \"secret-group\"".to_owned(),
                "displayName co \"secret\" or userName co \"bob\"".to_owned(),
                format!("groups.value eq \"{secret}\""),
                "groups.display eq \"secret-group\"".to_owned(),
                format!("groups[value eq \"{secret}\"]"),
                format!("members.value eq \"{bob}\""),
                format!("members[value eq \"{bob}\"]"),
            ] {
                for path in ["/Users", "/Groups"] {
                    let path = format!("{path}?filter={}", encoded(&filter));
                    let found = app.send(&a, "GET", &path, None).await;
                    assert_eq!(found.status, 200, "{filter}");
                    assert_eq!(found.json["totalResults"], 0, "{} {filter}", database.name);
                }
                let search = json!({"filter": filter});
                let found = app.send(&a, "POST", "/.search", Some(search)).await;
                assert_eq!(found.json["totalResults"], 0, "{filter}");
            }
            for (path, total) in [("/Users", 1), ("/Groups", 1)] {
                let list = app.send(&a, "GET", path, None).await;
                assert_eq!(list.json["totalResults"], total, "{path}");
            }
            // Names are free: uniqueness is per tenant.
            assert_eq!(
                app.send(&a, "POST", "/Users", Some(user("bob")))
                    .await
                    .status,
                201
            );
            assert_eq!(
                app.send(&a, "POST", "/Groups", Some(group("secret-group")))
                    .await
                    .status,
                201
            );
            app.drain().await;
            memory.clear_writes();

            // As members: kept as stated, and nothing comes of it, neither when they join nor when they leave.
            let ghosts = json!([{"value": bob}, {"value": secret}, {"value": "nobody"}]);
            let path = format!("/Groups/{team}");
            for body in [
                patch("add", "members", ghosts.clone()),
                patch(
                    "remove",
                    &format!("members[value eq \"{bob}\"]"),
                    Value::Null,
                ),
                patch("add", "members", ghosts.clone()),
                patch(
                    "remove",
                    "members",
                    json!([{"value": bob}, {"value": "nobody"}]),
                ),
                patch("replace", "members", ghosts.clone()),
                patch("replace", "members", json!([])),
                patch("add", "members", ghosts.clone()),
            ] {
                let answer = app.send(&a, "PATCH", &path, Some(body.clone())).await;
                assert_eq!(
                    answer.status, 200,
                    "{} {kind} {body}: {}",
                    database.name, answer.json
                );
            }
            let shown = app
                .send(&a, "GET", &format!("{path}?attributes=members"), None)
                .await
                .json;
            let members = shown["members"].as_array().unwrap();
            assert_eq!(members.len(), 3, "{shown}");
            for member in members {
                // Exactly alike: neither name nor type nor address tells who exists elsewhere.
                assert_eq!(member.as_object().unwrap().len(), 1, "{member}");
            }
            // Nor by a filter on what they are.
            let typed = encoded("members.type pr");
            let found = app
                .send(&a, "GET", &format!("/Groups?filter={typed}"), None)
                .await;
            assert_eq!(found.json["totalResults"], 0, "{}", database.name);
            let wrong = number(
                app.store(),
                "SELECT count(*) AS n FROM work_item w JOIN scim_user u ON u.id = w.user_id \
                 WHERE u.connection_id <> w.connection_id",
            )
            .await;
            assert_eq!(
                wrong, 0,
                "{} {kind}: work for another tenant's user",
                database.name
            );
            app.drain().await;
            assert!(memory.writes().is_empty(), "{:?}", memory.writes());

            // Groups of the other tenant on a user: refused in the words for a group that does not exist.
            let path = format!("/Users/{own}");
            for (op, value) in [
                ("add", json!([{"value": secret}])),
                ("replace", json!([{"value": secret}])),
            ] {
                let there = app
                    .send(&a, "PATCH", &path, Some(patch(op, "groups", value)))
                    .await;
                let not_there = app
                    .send(
                        &a,
                        "PATCH",
                        &path,
                        Some(patch(op, "groups", json!([{"value": "nobody"}]))),
                    )
                    .await;
                assert_eq!(there.status, 400, "{}", there.json);
                assert_eq!(words(&there, &secret), words(&not_there, "nobody"));
            }
            // B has not noticed any of this: not a version, not a date.
            assert_eq!(all(&app, &b).await, before, "{}", database.name);

            // Nor does A notice when B's people go.
            let before = app
                .send(
                    &a,
                    "GET",
                    &format!("/Groups/{team}?attributes=members,meta"),
                    None,
                )
                .await;
            assert_eq!(
                app.send(&b, "DELETE", &format!("/Users/{bob}"), None)
                    .await
                    .status,
                204
            );
            assert_eq!(
                app.send(&b, "DELETE", &format!("/Groups/{secret}"), None)
                    .await
                    .status,
                204
            );
            let after = app
                .send(
                    &a,
                    "GET",
                    &format!("/Groups/{team}?attributes=members,meta"),
                    None,
                )
                .await;
            assert_eq!(before.json, after.json, "{}", database.name);
            // A member that leaves B's group by A's hand would be a write; deleting A's group is none either.
            assert_eq!(
                app.send(&a, "DELETE", &format!("/Groups/{team}"), None)
                    .await
                    .status,
                204
            );
            app.stop().await;
        }
    }
}

/// A page remembered for one tenant is not where another one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_not_mixed_up() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let mut tokens = Vec::new();
        for name in ["a", "b"] {
            let token = app.connection(name, ConnectionKind::Scim).await;
            for n in 0..6 {
                app.send(&token, "POST", "/Users", Some(user(&format!("{name}{n}"))))
                    .await;
            }
            tokens.push(token);
        }
        let mut met: Vec<Vec<String>> = vec![Vec::new(), Vec::new()];
        for start in [1, 3, 5] {
            for (token, met) in tokens.iter().zip(&mut met) {
                let path = format!("/Users?startIndex={start}&count=2");
                let page = app.send(token, "GET", &path, None).await.json;
                assert_eq!(page["totalResults"], 6);
                for user in page["Resources"].as_array().unwrap() {
                    met.push(user["userName"].as_str().unwrap().to_owned());
                }
            }
        }
        for (name, met) in ["a", "b"].iter().zip(&met) {
            let wanted: Vec<String> = (0..6).map(|n| format!("{name}{n}")).collect();
            assert_eq!(*met, wanted, "{}", database.name);
        }
        app.stop().await;
    }
}

async fn credential(
    app: &App,
    scheme: CredentialScheme,
    label: &'static str,
    digest: String,
    expires_at: Option<i64>,
) -> String {
    let now = app.clock.now();
    app.store()
        .write(move |tx| -> Result<String, store::Error> {
            let id = tokens::connection_named(tx.conn(), "corp")?.unwrap();
            tokens::insert(tx, &id, scheme, label, &digest, expires_at, now)
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_shows_a_good_credential_comes_in() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let get = async |header: &str| {
            let head = if header.is_empty() {
                "GET /scim/v2/Users?count=1".to_owned()
            } else {
                format!("GET /scim/v2/Users?count=1\nAuthorization: {header}")
            };
            raw(&app.scim, &head, b"").await
        };
        assert_eq!(get(&format!("Bearer {token}")).await.status, 200);
        assert_eq!(get(&format!("bearer  {token}")).await.status, 200);

        let password = SecretString::from("pass:wörd");
        let digest = basic_digest("idcs", &password);
        credential(&app, CredentialScheme::Basic, "idcs", digest.clone(), None).await;
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(get(&basic("idcs:pass:wörd")).await.status, 200);

        let ends = SecretString::from("usher_ends");
        let at = app.clock.now() + 10_000_000;
        credential(
            &app,
            CredentialScheme::Bearer,
            "",
            bearer_digest(&ends),
            Some(at),
        )
        .await;
        assert_eq!(get("Bearer usher_ends").await.status, 200);

        let revoked = SecretString::from("usher_revoked");
        let id = credential(
            &app,
            CredentialScheme::Bearer,
            "",
            bearer_digest(&revoked),
            None,
        )
        .await;
        assert_eq!(get("Bearer usher_revoked").await.status, 200);
        app.store()
            .write(move |tx| tokens::revoke(tx, &id))
            .await
            .unwrap();
        // Remembered for five seconds at the most; one that ends is refused to the second.
        app.clock.advance_ms(5_001);
        assert_eq!(get("Bearer usher_revoked").await.status, 401);
        assert_eq!(get("Bearer usher_ends").await.status, 200);
        app.clock.advance_ms(4_999);
        assert_eq!(get("Bearer usher_ends").await.status, 401);

        let mut refusals = Vec::new();
        for header in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "Bearer nothing".to_owned(),
            format!("Bearer {}x", token),
            format!("Bearer {}", &token[..token.len() - 1]),
            format!("Bearer {}", token.to_uppercase()),
            format!("Token {token}"),
            token.clone(),
            "Basic !!!".to_owned(),
            basic("idcs"),
            basic("idcs:wrong"),
            basic("IDCS:pass:wörd"),
            basic(":pass:wörd"),
            basic(&format!("x:{token}")),
            // What is stored is not what is shown.
            format!("Bearer {digest}"),
            format!(
                "Bearer {}",
                bearer_digest(&SecretString::from(token.clone()))
            ),
            "Digest username=\"x\"".to_owned(),
            format!("Bearer {}", "x".repeat(6000)),
        ] {
            let answer = get(&header).await;
            assert_eq!(answer.status, 401, "{header}");
            assert!(
                answer.head.contains("www-authenticate: bearer"),
                "{}",
                answer.head
            );
            assert!(
                answer.head.contains("www-authenticate: basic"),
                "{}",
                answer.head
            );
            let json: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(json["status"], "401");
            refusals.push(json["detail"].as_str().unwrap().to_owned());
        }
        for detail in refusals {
            for word in ["corp", "idcs", "usher_", "nothing", "wrong", "connection"] {
                assert!(!detail.contains(word), "{detail}");
            }
        }
        // Every endpoint asks, also those that do not exist.
        for (method, path) in [
            ("GET", "/Users"),
            ("POST", "/Users"),
            ("GET", "/Users/x"),
            ("DELETE", "/Users/x"),
            ("PATCH", "/Groups/x"),
            ("POST", "/.search"),
            ("GET", "/Schemas"),
            ("GET", "/ServiceProviderConfig"),
            ("GET", "/ResourceTypes"),
            ("POST", "/Bulk"),
            ("GET", "/Nothing"),
            ("PUT", "/Users"),
        ] {
            let answer = raw(&app.scim, &format!("{method} /scim/v2{path}"), b"").await;
            assert_eq!(answer.status, 401, "{method} {path}");
        }
        // Only digests are stored.
        let stored = lines(app.store(), "SELECT digest AS line FROM credential").await;
        assert!(stored.len() >= 3);
        assert!(
            stored.iter().all(|d| d.len() == 64 && *d != token),
            "{stored:?}"
        );
        app.stop().await;
    }
}

/// Operations that name another tenant's user inside a value change nothing there.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_patch_leaves_the_other_tenant_alone() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let a = app.connection("a", ConnectionKind::OracleIdcs).await;
        let b = app.connection("b", ConnectionKind::OracleIdcs).await;
        let bob = app.send(&b, "POST", "/Users", Some(user("bob"))).await.id();
        let own = app
            .send(&a, "POST", "/Groups", Some(group("own")))
            .await
            .id();
        let body = operations(json!([
            {"op": "add", "path": "members", "value": [{"value": bob}]},
            {"op": "replace", "path": "displayName", "value": ""},
        ]));
        let answer = app
            .send(&a, "PATCH", &format!("/Groups/{own}"), Some(body))
            .await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            number(app.store(), "SELECT count(*) AS n FROM membership").await,
            0
        );
        app.stop().await;
    }
}
