//! `/Bulk` over HTTP: every operation by itself, references, circles, limits.

use serde_json::{Value, json};
use usher::domain::ConnectionKind;
use usher::targets::memory::Memory;

use super::super::harness::{App, databases};
use super::super::store::number;
use super::{configuration, group, operations, patch, user};

const REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

fn bulk(operations: Value) -> Value {
    json!({"schemas": [REQUEST], "Operations": operations})
}

fn post(endpoint: &str, bulk_id: &str, data: Value) -> Value {
    json!({"method": "POST", "path": endpoint, "bulkId": bulk_id, "data": data})
}

/// A group with members.
fn team(name: &str, members: &[&str]) -> Value {
    let mut body = group(name);
    body["members"] = members.iter().map(|m| json!({"value": m})).collect();
    body
}

fn statuses(answer: &Value) -> Vec<&str> {
    let all = answer["Operations"].as_array().unwrap();
    all.iter().map(|o| o["status"].as_str().unwrap()).collect()
}

fn id_of(operation: &Value) -> &str {
    operation["location"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_done_and_answered() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.apply(&configuration("scim")).await;
        let token = app.token("corp").await;
        let old = app
            .send(&token, "POST", "/Users", Some(user("old")))
            .await
            .id();
        let body = bulk(json!([
            post("/Groups", "g", team("staff", &["bulkId:ada", &old])),
            post("/Users", "ada", user("ada")),
            {"method": "PATCH", "path": "/Users/bulkId:ada", "data": patch("replace", "title", json!("x"))},
            {"method": "PUT", "path": format!("/Users/{old}"), "version": "W/\"1\"", "data": user("older")},
            {"method": "PUT", "path": format!("/Users/{old}"), "version": "W/\"1\"", "data": user("oldest")},
            post("/Users", "twin", user("ADA")),
            post("/Groups", "orphan", team("orphans", &["bulkId:twin"])),
            post("/Groups", "lost", team("lost", &["bulkId:nobody"])),
            {"method": "GET", "path": "/Users"},
            {"method": "DELETE", "path": "/Users/nobody"},
        ]));
        let answer = app.send(&token, "POST", "/Bulk", Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        assert_eq!(answer.json["schemas"], json!([RESPONSE]));
        assert_eq!(
            statuses(&answer.json),
            [
                "201", "201", "200", "200", "412", "409", "409", "400", "400", "404"
            ],
            "{}: {}",
            database.name,
            answer.json
        );
        let all = &answer.json["Operations"];
        let (team, ada) = (id_of(&all[0]), id_of(&all[1]));
        assert_eq!(all[0]["bulkId"], "g");
        assert_eq!(all[0]["version"], "W/\"1\"");
        assert_eq!(all[0]["location"], format!("{}/Groups/{team}", app.scim));
        assert_eq!(id_of(&all[2]), ada);
        assert_eq!(all[2]["version"], "W/\"2\"");
        assert_eq!(all[4]["response"]["status"], "412");
        assert_eq!(all[5]["response"]["scimType"], "uniqueness");
        assert_eq!(all[5].get("location"), None);
        let shown = app
            .send(&token, "GET", &format!("/Groups/{team}"), None)
            .await
            .json;
        let mut members: Vec<&str> = shown["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["value"].as_str().unwrap())
            .collect();
        members.sort_unstable();
        let mut wanted = [ada, old.as_str()];
        wanted.sort_unstable();
        assert_eq!(members, wanted);
        assert_eq!(shown["members"][0]["type"], "User");
        // Work is marked as if each had been sent alone.
        assert_eq!(
            number(app.store(), "SELECT count(*) AS n FROM work_item").await,
            2
        );
        let gone = bulk(json!([
            {"method": "DELETE", "path": format!("/Groups/{team}")},
            {"method": "DELETE", "path": format!("/Users/{ada}"), "version": "W/\"1\""},
            {"method": "DELETE", "path": format!("/Users/{ada}"), "version": "W/\"2\""},
        ]));
        let answer = app.send(&token, "POST", "/Bulk", Some(gone)).await;
        assert_eq!(
            statuses(&answer.json),
            ["204", "412", "204"],
            "{}",
            answer.json
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn circles_are_closed() {
    for database in databases() {
        for kind in [ConnectionKind::Scim, ConnectionKind::OracleIdcs] {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            let body = bulk(json!([
                post("/Groups", "a", team("a", &["bulkId:b"])),
                post("/Groups", "b", team("b", &["bulkId:c", "bulkId:u"])),
                post("/Groups", "c", team("c", &["bulkId:a"])),
                post("/Users", "u", user("u")),
                post("/Groups", "self", team("self", &["bulkId:self"])),
            ]));
            let answer = app.send(&token, "POST", "/Bulk", Some(body)).await;
            assert_eq!(
                statuses(&answer.json),
                ["201", "201", "201", "201", "400"],
                "{}",
                answer.json
            );
            let all = answer.json["Operations"].as_array().unwrap();
            for (from, to) in [(0, 1), (1, 2), (1, 3), (2, 0)] {
                let path = format!("/Groups/{}?attributes=members", id_of(&all[from]));
                let shown = app.send(&token, "GET", &path, None).await.json;
                let wanted = json!(id_of(&all[to]));
                let found = shown["members"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|m| m["value"] == wanted);
                let kind = if to == 3 { "User" } else { "Group" };
                assert_eq!(
                    found.unwrap()["type"],
                    kind,
                    "{} {from} {to}: {shown}",
                    database.name
                );
            }
            // What could not be completed says where it is.
            assert!(all[4]["location"].is_string(), "{}", all[4]);
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_at_the_stated_number_of_errors() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let all = json!([
            post("/Users", "a", user("a")),
            post("/Users", "b", user("a")),
            post("/Users", "c", user("c")),
            post("/Users", "d", user("a")),
            post("/Users", "e", user("e")),
        ]);
        let mut body = bulk(all);
        body["failOnErrors"] = json!(2);
        let answer = app.send(&token, "POST", "/Bulk", Some(body)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            statuses(&answer.json),
            ["201", "409", "201", "409"],
            "{}",
            answer.json
        );
        let there = app.send(&token, "GET", "/Users?count=0", None).await.json;
        assert_eq!(there["totalResults"], 2, "{}", database.name);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_are_those_of_the_configuration() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let config = app
            .send(&token, "GET", "/ServiceProviderConfig", None)
            .await
            .json;
        let operations_max = config["bulk"]["maxOperations"].as_u64().unwrap();
        let bytes_max =
            usize::try_from(config["bulk"]["maxPayloadSize"].as_u64().unwrap()).unwrap();
        let noop = json!({"method": "DELETE", "path": "/Users/x"});
        let of = |count: u64| bulk((0..count).map(|_| noop.clone()).collect());
        let most = app
            .send(&token, "POST", "/Bulk", Some(of(operations_max)))
            .await;
        assert_eq!(most.status, 200);
        assert_eq!(statuses(&most.json).len() as u64, operations_max);
        let over = app
            .send(&token, "POST", "/Bulk", Some(of(operations_max + 1)))
            .await;
        assert_eq!(
            (over.status, &over.json["status"]),
            (413, &json!("413")),
            "{}",
            database.name
        );
        let padded = |length: usize| {
            let mut body = bulk(json!([]));
            body["x"] = json!("");
            body["x"] = json!("x".repeat(length - body.to_string().len()));
            body
        };
        let largest = app
            .send(&token, "POST", "/Bulk", Some(padded(bytes_max)))
            .await;
        assert_eq!(largest.status, 200, "{}", largest.json);
        let larger = app
            .send(&token, "POST", "/Bulk", Some(padded(bytes_max + 1)))
            .await;
        assert_eq!(larger.status, 413);
        assert!(
            larger.json["detail"].as_str().unwrap().contains("1048576"),
            "{}",
            larger.json
        );
        for body in [json!({}), json!([]), operations(json!([]))] {
            let refused = app.send(&token, "POST", "/Bulk", Some(body)).await;
            assert_eq!(refused.status, 400, "{}", refused.json);
        }
        app.stop().await;
    }
}

/// What a credential may not reach alone it may not reach in bulk.
#[tokio::test(flavor = "multi_thread")]
async fn other_connections_stay_out_of_reach() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let a = app.connection("a", ConnectionKind::Scim).await;
        let b = app.connection("b", ConnectionKind::Scim).await;
        let theirs = app.send(&b, "POST", "/Users", Some(user("ada"))).await.id();
        let body = bulk(json!([
            {"method": "DELETE", "path": format!("/Users/{theirs}")},
            {"method": "PATCH", "path": format!("/Users/{theirs}"), "data": patch("replace", "title", json!("x"))},
            post("/Groups", "g", team("g", &[&theirs])),
        ]));
        let answer = app.send(&a, "POST", "/Bulk", Some(body)).await.json;
        assert_eq!(statuses(&answer), ["404", "404", "201"]);
        let path = format!("/Groups/{}", id_of(&answer["Operations"][2]));
        let shown = app.send(&a, "GET", &path, None).await.json;
        assert_eq!(shown["members"][0].get("type"), None, "{shown}");
        let untouched = app.send(&b, "GET", &format!("/Users/{theirs}"), None).await;
        assert_eq!(untouched.headers["etag"], "W/\"1\"");
        app.stop().await;
    }
}
