//! Lists as an importing identity provider asks for them.

use serde_json::{Value, json};
use usher::domain::{ConnectionId, ConnectionKind};
use usher::intake::Source;
use usher::scim::{Dialect, ResourceType};
use usher::store::tokens;
use usher::targets::memory::Memory;

use super::super::harness::{App, databases};
use super::{encoded, group, user};

async fn connection_id(app: &App, name: &str) -> ConnectionId {
    let name = name.to_owned();
    app.store()
        .read(move |conn| tokens::connection_named(conn, &name))
        .await
        .unwrap()
        .unwrap()
}

/// Through the door, without HTTP in between.
async fn push(app: &App, connection: &ConnectionId, rt: ResourceType, body: Value) -> String {
    let source = Source {
        connection: connection.clone(),
        dialect: Dialect::Rfc,
        cause: "test".to_owned(),
    };
    app.parts
        .intake
        .create(source, rt, body)
        .await
        .unwrap()
        .stored
        .id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_meets_everyone_once() {
    for database in databases() {
        for kind in [ConnectionKind::OracleIdcs, ConnectionKind::Scim] {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            let connection = connection_id(&app, kind.as_str()).await;
            let mut ids = Vec::new();
            for n in 0..450 {
                let body = user(&format!("u{n}"));
                ids.push(push(&app, &connection, ResourceType::User, body).await);
            }
            ids.sort();
            let mut met = Vec::new();
            let mut sizes = Vec::new();
            loop {
                let path = format!("/Users?startIndex={}&count=200", met.len() + 1);
                let page = app.send(&token, "GET", &path, None).await.json;
                assert_eq!(page["totalResults"], 450, "{}", database.name);
                assert_eq!(page["startIndex"], met.len() + 1);
                let resources = page["Resources"].as_array().unwrap();
                assert_eq!(page["itemsPerPage"], resources.len());
                sizes.push(resources.len());
                if resources.is_empty() {
                    break;
                }
                met.extend(
                    resources
                        .iter()
                        .map(|r| r["id"].as_str().unwrap().to_owned()),
                );
            }
            assert_eq!(met, ids, "{}", database.name);
            assert_eq!(sizes, [200, 200, 50, 0]);
            // Whoever leaves while the import runs takes nobody else along.
            let first = app
                .send(&token, "GET", "/Users?startIndex=1&count=200", None)
                .await;
            assert_eq!(first.json["Resources"].as_array().unwrap().len(), 200);
            for id in &ids[..20] {
                let gone = app
                    .send(&token, "DELETE", &format!("/Users/{id}"), None)
                    .await;
                assert_eq!(gone.status, 204);
            }
            let second = app
                .send(&token, "GET", "/Users?startIndex=201&count=200", None)
                .await;
            assert_eq!(second.json["totalResults"], 430);
            assert_eq!(
                second.json["Resources"][0]["id"],
                ids[200].as_str(),
                "{}",
                database.name
            );
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edges_of_a_list() {
    for database in databases() {
        for kind in [ConnectionKind::OracleIdcs, ConnectionKind::Scim] {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            // The first thing IDCS does: is there anybody, and do you let me in?
            let empty = app.send(&token, "GET", "/Users?count=1", None).await;
            assert_eq!(empty.status, 200);
            assert_eq!(
                empty.json,
                json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                    "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": [],
                })
            );
            let connection = connection_id(&app, kind.as_str()).await;
            for n in 0..5 {
                push(
                    &app,
                    &connection,
                    ResourceType::User,
                    user(&format!("u{n}")),
                )
                .await;
                push(
                    &app,
                    &connection,
                    ResourceType::Group,
                    group(&format!("g{n}")),
                )
                .await;
            }
            for (query, start, items) in [
                ("", 1, 5),
                ("count=0", 1, 0),
                ("count=-3", 1, 0),
                ("count=2", 1, 2),
                ("count=5", 1, 5),
                ("count=100000", 1, 5),
                ("startIndex=0&count=2", 1, 2),
                ("startIndex=-7&count=2", 1, 2),
                ("startIndex=5&count=2", 5, 1),
                ("startIndex=6&count=2", 6, 0),
                (
                    "startIndex=9223372036854775807&count=2",
                    9_223_372_036_854_775_807u64,
                    0,
                ),
                ("startIndex=4", 4, 2),
                ("sortBy=displayName&sortOrder=descending", 1, 5),
            ] {
                for endpoint in ["/Users", "/Groups"] {
                    let list = app
                        .send(&token, "GET", &format!("{endpoint}?{query}"), None)
                        .await;
                    assert_eq!(list.status, 200, "{query}: {}", list.json);
                    assert_eq!(list.json["totalResults"], 5, "{} {query}", database.name);
                    assert_eq!(list.json["startIndex"], start, "{query}");
                    assert_eq!(list.json["itemsPerPage"], items, "{query}");
                    assert_eq!(
                        list.json["Resources"].as_array().unwrap().len(),
                        items,
                        "{query}"
                    );
                }
            }
            for (filter, items) in [
                ("userName eq \"U3\"", 1),
                ("userName sw \"u\"", 5),
                ("not (userName eq \"u3\")", 4),
                ("userName eq \"nobody\"", 0),
            ] {
                for count in [0, 2, 100] {
                    let path = format!("/Users?filter={}&count={count}", encoded(filter));
                    let list = app.send(&token, "GET", &path, None).await.json;
                    assert_eq!(list["totalResults"], items, "{filter} {count}");
                    assert_eq!(list["itemsPerPage"], items.min(count), "{filter} {count}");
                }
            }
            // All resources as one list: users, then groups.
            let mut met = Vec::new();
            for start in [1, 4, 7, 10] {
                let body = json!({"startIndex": start, "count": 3});
                let list = app.send(&token, "POST", "/.search", Some(body)).await.json;
                assert_eq!(list["totalResults"], 10);
                for resource in list["Resources"].as_array().unwrap() {
                    met.push(resource["id"].as_str().unwrap().to_owned());
                }
            }
            assert_eq!(met.len(), 10);
            met.sort();
            met.dedup();
            assert_eq!(met.len(), 10, "{}", database.name);
            let body = json!({"filter": "meta.resourceType eq \"Group\"", "count": 100});
            let list = app.send(&token, "POST", "/.search", Some(body)).await.json;
            assert_eq!(list["totalResults"], 5, "{}", database.name);
            app.stop().await;
        }
    }
}
