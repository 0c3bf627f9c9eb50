//! What Oracle IDCS pushes, over HTTP: every fixture, and the flows that its documents describe.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use usher::domain::ConnectionKind;
use usher::targets::memory::Memory;

use super::super::harness::{App, databases};
use super::super::store::number;
use super::{configuration, group, patch, person, user};

/// A resource without what the server adds.
fn stated(resource: &Value) -> Value {
    let mut own = resource.clone();
    for name in ["id", "meta", "schemas", "groups", "members"] {
        own.as_object_mut().unwrap().remove(name);
    }
    own
}

/// The ids that a fixture's edits name, by kind of edit.
fn named(fixture: &Value, kind: &str) -> Vec<String> {
    fixture["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|edit| edit.get(kind))
        .flat_map(|ids| ids.as_array().unwrap())
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_works_over_http() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/idcs");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 15);
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        for (n, path) in paths.iter().enumerate() {
            let what = path.file_stem().unwrap().to_string_lossy().into_owned();
            // A connection each, so that names do not collide.
            let token = app
                .connection(&format!("c{n}"), ConnectionKind::OracleIdcs)
                .await;
            let text = std::fs::read_to_string(path).unwrap();
            let fixture: Value = serde_json::from_str(&text).unwrap();
            let is_user = fixture["resource"] != "Group";
            let endpoint = if is_user { "/Users" } else { "/Groups" };

            // Ids in fixtures are made up; give them to resources that exist.
            let mut text = text;
            let mut before_rows = BTreeSet::new();
            for kind in ["add", "remove", "replace"] {
                for made_up in named(&fixture, kind) {
                    let (place, body) = if is_user {
                        ("/Groups", group(&made_up))
                    } else {
                        ("/Users", user(&made_up))
                    };
                    let made = app.send(&token, "POST", place, Some(body)).await;
                    assert_eq!(made.status, 201, "{what}: {}", made.json);
                    text = text.replace(&format!("\"{made_up}\""), &format!("\"{}\"", made.id()));
                    text = text.replace(
                        &format!("\\\"{made_up}\\\""),
                        &format!("\\\"{}\\\"", made.id()),
                    );
                    if kind == "remove" {
                        before_rows.insert(made.id());
                    }
                }
            }
            let fixture: Value = serde_json::from_str(&text).unwrap();
            let mut method = fixture["method"].as_str().unwrap().to_owned();
            let mut target = endpoint.to_owned();
            if method != "POST" {
                let made = app
                    .send(&token, "POST", endpoint, Some(fixture["before"].clone()))
                    .await;
                assert_eq!(made.status, 201, "{what}: {}", made.json);
                target = format!("{endpoint}/{}", made.id());
                for id in &before_rows {
                    let (place, member) = if is_user {
                        (format!("/Groups/{id}"), made.id())
                    } else {
                        (target.clone(), id.clone())
                    };
                    let body = patch("add", "members", json!([{"value": member}]));
                    let added = app.send(&token, "PATCH", &place, Some(body)).await;
                    assert_eq!(added.status, 200, "{what}: {}", added.json);
                }
            }
            let answer = app
                .send(&token, &method, &target, Some(fixture["body"].clone()))
                .await;
            let wanted = if method == "POST" { 201 } else { 200 };
            assert_eq!(
                answer.status, wanted,
                "{} {what}: {}",
                database.name, answer.json
            );
            if method == "POST" {
                method = "GET".to_owned();
                target = format!("{endpoint}/{}", answer.id());
            }
            assert!(!method.is_empty());
            let rows = if is_user { "groups" } else { "members" };
            let shown = app.send(&token, "GET", &target, None).await.json;
            assert_eq!(stated(&shown), fixture["after"], "{} {what}", database.name);
            assert_eq!(stated(&answer.json), fixture["after"], "{what}");
            let shown = app
                .send(&token, "GET", &format!("{target}?attributes={rows}"), None)
                .await
                .json;
            let found: BTreeSet<String> = shown[rows]
                .as_array()
                .into_iter()
                .flatten()
                .map(|row| row["value"].as_str().unwrap().to_owned())
                .collect();
            let mut rows = before_rows;
            for id in named(&fixture, "remove") {
                rows.remove(&id);
            }
            rows.extend(named(&fixture, "add"));
            rows.extend(named(&fixture, "replace"));
            assert_eq!(found, rows, "{} {what}", database.name);
        }
        app.stop().await;
    }
}

/// What a connection of kind `scim` must not be given.
#[tokio::test(flavor = "multi_thread")]
async fn others_get_the_rfc_to_the_letter() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let id = app
            .send(&token, "POST", "/Users", Some(user("ada")))
            .await
            .id();
        let path = format!("/Users/{id}");
        for (method, body) in [
            ("PATCH", patch("replace", "active", json!("false"))),
            ("PATCH", patch("replace", "active", json!(["false"]))),
            ("PATCH", patch("replace", "shoeSize", json!("7"))),
            (
                "PATCH",
                patch("replace", "emails[type eq \"work\"].value", json!("a@b.c")),
            ),
            (
                "PATCH",
                json!({"Operations": [{"op": "replace", "path": "active", "value": false}]}),
            ),
            (
                "PUT",
                json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "active": false}),
            ),
            ("PUT", json!({"userName": "ada"})),
        ] {
            let answer = app.send(&token, method, &path, Some(body.clone())).await;
            assert_eq!(answer.status, 400, "{body} {}", answer.json);
        }
        // A PUT replaces: what it does not state is gone.
        let mut body = user("ada");
        body["title"] = json!("Countess");
        body["x"] = json!(1);
        app.send(&token, "PUT", &path, Some(body)).await;
        let put = app.send(&token, "PUT", &path, Some(user("ada"))).await;
        assert_eq!(put.json.get("title"), None);
        assert_eq!(put.json.get("x"), None);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_ride_on_the_user() {
    for database in databases() {
        let memory = Memory::new();
        let app = App::start(&database, &memory).await;
        app.apply(&configuration("oracle-idcs")).await;
        let token = app.token("corp").await;
        let ada = app
            .send(&token, "POST", "/Users", Some(person("ada")))
            .await
            .id();
        let mut gids = Vec::new();
        for name in ["one", "two", "three"] {
            gids.push(
                app.send(&token, "POST", "/Groups", Some(group(name)))
                    .await
                    .id(),
            );
        }
        let value = |n: &[usize]| {
            json!(
                n.iter()
                    .map(|n| json!({"value": gids[*n]}))
                    .collect::<Vec<_>>()
            )
        };
        let path = format!("/Users/{ada}");
        for (body, wanted) in [
            (patch("add", "groups", value(&[0, 1])), &["one", "two"][..]),
            (patch("ADD", "groups", value(&[1])), &["one", "two"]),
            (patch("remove", "groups", value(&[0])), &["two"]),
            (
                patch("replace", "groups", value(&[0, 2])),
                &["one", "three"],
            ),
            (
                patch("remove", "groups[display eq \"ONE\"]", Value::Null),
                &["three"],
            ),
            (patch("replace", "groups", json!([])), &[]),
            (patch("add", "groups", value(&[2])), &["three"]),
        ] {
            let answer = app.send(&token, "PATCH", &path, Some(body.clone())).await;
            assert_eq!(answer.status, 200, "{body} {}", answer.json);
            let mut shown: Vec<&str> = answer.json["groups"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|g| g["display"].as_str().unwrap())
                .collect();
            shown.sort_unstable();
            assert_eq!(shown, wanted, "{} {body}", database.name);
            app.drain().await;
            let mut there = memory.user("ada").unwrap().groups;
            there.sort();
            assert_eq!(there, wanted, "{} {body}", database.name);
        }
        // The group is at a new version, as if it had been changed itself; the one left alone is not.
        let versions: Vec<Value> = {
            let mut all = Vec::new();
            for gid in &gids {
                let shown = app
                    .send(&token, "GET", &format!("/Groups/{gid}"), None)
                    .await;
                all.push(shown.json["meta"]["version"].clone());
            }
            all
        };
        assert_eq!(
            versions,
            [json!("W/\"5\""), json!("W/\"3\""), json!("W/\"4\"")],
            "{}",
            database.name
        );
        app.stop().await;
    }
}

/// The whole life of an account as the template's ticked operations make it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_lives_as_idcs_makes_it() {
    for database in databases() {
        let memory = Memory::new();
        let app = App::start(&database, &memory).await;
        app.apply(&configuration("oracle-idcs")).await;
        let token = app.token("corp").await;
        let body = json!({"userName": "ada@example.com", "displayName": "Ada Byron", "password": "S3cret"});
        let id = app.send(&token, "POST", "/Users", Some(body)).await.id();
        let path = format!("/Users/{id}");
        let late = patch(
            "add",
            "emails",
            json!({"value": "ada@example.com", "type": "work", "primary": true}),
        );
        assert_eq!(
            app.send(&token, "PATCH", &path, Some(late)).await.status,
            200
        );
        app.drain().await;
        assert!(
            memory.user("ada@example.com").unwrap().active,
            "{}",
            database.name
        );
        for (method, body, active) in [
            ("PATCH", patch("REPLACE", "active", json!(["false"])), false),
            ("PUT", json!({"active": "true"}), true),
            ("PUT", json!({"active": false}), false),
            (
                "PATCH",
                super::operations(json!([{"op": "Replace", "value": {"active": true}}])),
                true,
            ),
        ] {
            let answer = app.send(&token, method, &path, Some(body.clone())).await;
            assert_eq!(answer.status, 200, "{body} {}", answer.json);
            assert_eq!(
                answer.json["displayName"], "Ada Byron",
                "a partial PUT clears nothing"
            );
            app.drain().await;
            assert_eq!(
                memory.user("ada@example.com").unwrap().active,
                active,
                "{body}"
            );
        }
        assert_eq!(app.send(&token, "DELETE", &path, None).await.status, 204);
        assert_eq!(app.send(&token, "DELETE", &path, None).await.status, 404);
        app.drain().await;
        assert!(!memory.user("ada@example.com").unwrap().active);
        assert_eq!(
            number(app.store(), "SELECT count(*) AS n FROM work_item").await,
            0
        );
        app.stop().await;
    }
}
