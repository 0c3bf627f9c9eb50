//! Members of groups: what they cost, whom a change touches, nested groups and circles.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher::domain::ConnectionKind;
use usher::store::groups::{self, MemberType};
use usher::store::{self};
use usher::targets::memory::Memory;

use super::super::harness::{App, databases};
use super::super::store::{lines, number};
use super::{configuration, encoded, group, patch, person, user};

/// The names of the users who are marked, and nobody is marked afterwards.
async fn marked(app: &App) -> Vec<String> {
    let mut names = lines(
        app.store(),
        "SELECT u.user_name AS line FROM work_item w JOIN scim_user u ON u.id = w.user_id",
    )
    .await;
    names.sort();
    app.drain().await;
    assert_eq!(
        number(app.store(), "SELECT count(*) AS n FROM work_item").await,
        0
    );
    names
}

async fn make(app: &App, token: &str, path: &str, body: Value) -> String {
    let made = app.send(token, "POST", path, Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.json);
    made.id()
}

async fn change(app: &App, token: &str, path: &str, body: Value) -> Value {
    let answer = app.send(token, "PATCH", path, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    answer.json
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_marks_those_it_touches_and_nobody_else() {
    for database in databases() {
        let memory = Memory::new();
        let app = App::start(&database, &memory).await;
        app.apply(&configuration("scim")).await;
        let token = app.token("corp").await;
        let mut ids = Vec::new();
        for name in ["ada", "bob", "cyd", "dan"] {
            ids.push(make(&app, &token, "/Users", person(name)).await);
        }
        assert_eq!(marked(&app).await, ["ada", "bob", "cyd", "dan"]);
        let one = |n: usize| json!([{"value": ids[n]}]);

        let inner = make(&app, &token, "/Groups", group("inner")).await;
        let outer = make(&app, &token, "/Groups", group("outer")).await;
        let outermost = make(&app, &token, "/Groups", group("outermost")).await;
        assert!(marked(&app).await.is_empty());
        let (inner_path, outer_path) = (format!("/Groups/{inner}"), format!("/Groups/{outer}"));
        let outermost_path = format!("/Groups/{outermost}");

        change(&app, &token, &inner_path, patch("add", "members", one(0))).await;
        assert_eq!(marked(&app).await, ["ada"]);
        change(&app, &token, &inner_path, patch("add", "members", one(1))).await;
        assert_eq!(marked(&app).await, ["bob"]);
        // A nested group touches everyone in it, however deep.
        let nested = patch("add", "members", json!([{"value": inner}]));
        change(&app, &token, &outer_path, nested).await;
        assert_eq!(marked(&app).await, ["ada", "bob"]);
        let nested = patch(
            "add",
            "members",
            json!([{"value": outer}, {"value": ids[2]}]),
        );
        change(&app, &token, &outermost_path, nested).await;
        assert_eq!(marked(&app).await, ["ada", "bob", "cyd"]);
        let groups_of = |name: &str| -> BTreeSet<String> {
            memory.user(name).unwrap().groups.into_iter().collect()
        };
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|n| (*n).to_owned())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(
            groups_of("ada"),
            set(&["inner", "outer", "outermost"]),
            "{}",
            database.name
        );
        assert_eq!(groups_of("cyd"), set(&["outermost"]));

        // A circle ends.
        let circle = patch("add", "members", json!([{"value": outermost}]));
        change(&app, &token, &inner_path, circle).await;
        assert_eq!(marked(&app).await, ["ada", "bob", "cyd"]);
        assert_eq!(
            groups_of("cyd"),
            set(&["inner", "outer", "outermost"]),
            "{}",
            database.name
        );
        let circle = patch(
            "remove",
            &format!("members[value eq \"{outermost}\"]"),
            Value::Null,
        );
        change(&app, &token, &inner_path, circle).await;
        assert_eq!(marked(&app).await, ["ada", "bob", "cyd"]);
        assert_eq!(groups_of("cyd"), set(&["outermost"]), "{}", database.name);
        let own = patch("add", "members", json!([{"value": inner}]));
        let refused = app.send(&token, "PATCH", &inner_path, Some(own)).await;
        assert_eq!(refused.status, 400, "{}", refused.json);

        // A new name, and the end of a group, touch everyone below it.
        change(
            &app,
            &token,
            &outer_path,
            patch("replace", "displayName", json!("renamed")),
        )
        .await;
        assert_eq!(marked(&app).await, ["ada", "bob"]);
        let gone = app.send(&token, "DELETE", &outer_path, None).await;
        assert_eq!(gone.status, 204);
        assert_eq!(marked(&app).await, ["ada", "bob"], "{}", database.name);
        assert_eq!(groups_of("ada"), set(&["inner"]), "{}", database.name);
        let shown = app.send(&token, "GET", &outermost_path, None).await.json;
        assert_eq!(shown["members"].as_array().unwrap().len(), 1, "{shown}");

        // A PUT touches the difference.
        let mut body = group("inner");
        body["members"] = json!([{"value": ids[1]}, {"value": ids[3]}]);
        let put = app.send(&token, "PUT", &inner_path, Some(body)).await;
        assert_eq!(put.status, 200);
        assert_eq!(marked(&app).await, ["ada", "dan"], "{}", database.name);
        // Leavers go first.
        change(
            &app,
            &token,
            &inner_path,
            patch("remove", "members", one(3)),
        )
        .await;
        let urgent = number(
            app.store(),
            "SELECT CAST(min(priority) AS BIGINT) AS n FROM work_item",
        )
        .await;
        assert_eq!(urgent, 1);
        assert_eq!(marked(&app).await, ["dan"]);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_and_removed_in_every_form() {
    for database in databases() {
        for kind in [ConnectionKind::Scim, ConnectionKind::OracleIdcs] {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            let mut ids = Vec::new();
            for n in 0..4 {
                ids.push(make(&app, &token, "/Users", user(&format!("u{n}"))).await);
            }
            let gid = make(&app, &token, "/Groups", group("staff")).await;
            let path = format!("/Groups/{gid}");
            let all = |n: &[usize]| {
                json!(
                    n.iter()
                        .map(|n| json!({"value": ids[*n]}))
                        .collect::<Vec<_>>()
                )
            };
            for (body, wanted) in [
                (patch("add", "members", all(&[0, 1])), &[0, 1][..]),
                (patch("add", "members", all(&[1, 2])), &[0, 1, 2]),
                (
                    patch(
                        "Add",
                        "members",
                        json!({"value": ids[3], "type": "User", "display": "x"}),
                    ),
                    &[0, 1, 2, 3],
                ),
                (
                    patch(
                        "remove",
                        &format!("members[value eq \"{}\"]", ids[0]),
                        Value::Null,
                    ),
                    &[1, 2, 3],
                ),
                (patch("remove", "members", all(&[1])), &[2, 3]),
                (patch("remove", "members", all(&[1])), &[2, 3]),
                (patch("replace", "members", all(&[0, 3])), &[0, 3]),
                (
                    super::operations(json!([{"op": "add", "value": {"members": all(&[1])}}])),
                    &[0, 1, 3],
                ),
                (
                    patch(
                        "remove",
                        "members[value sw \"0\" or type eq \"User\"]",
                        Value::Null,
                    ),
                    &[],
                ),
                (patch("add", "members", all(&[0])), &[0]),
                (
                    super::operations(json!([{"op": "remove", "path": "members"}])),
                    &[],
                ),
                (patch("replace", "members", all(&[0, 0, 0])), &[0]),
                (patch("replace", "members", json!([])), &[]),
            ] {
                change(&app, &token, &path, body.clone()).await;
                let shown = app
                    .send(&token, "GET", &format!("{path}?attributes=members"), None)
                    .await
                    .json;
                let found: BTreeSet<&str> = shown["members"]
                    .as_array()
                    .map(|m| m.iter().map(|m| m["value"].as_str().unwrap()).collect())
                    .unwrap_or_default();
                let wanted: BTreeSet<&str> = wanted.iter().map(|n| ids[*n].as_str()).collect();
                assert_eq!(found, wanted, "{} {body}", database.name);
            }
            // The other end shows it too.
            change(&app, &token, &path, patch("add", "members", all(&[2]))).await;
            let shown = app
                .send(&token, "GET", &format!("/Users/{}", ids[2]), None)
                .await
                .json;
            assert_eq!(shown["groups"][0]["value"], gid.as_str());
            assert_eq!(shown["groups"][0]["display"], "staff");
            assert_eq!(
                shown["groups"][0]["$ref"],
                format!("{}/Groups/{gid}", app.scim).as_str()
            );
            // A deleted member is gone from it.
            app.send(&token, "DELETE", &format!("/Users/{}", ids[2]), None)
                .await;
            let shown = app
                .send(&token, "GET", &format!("{path}?attributes=members"), None)
                .await
                .json;
            assert_eq!(shown.get("members"), None, "{shown}");
            app.stop().await;
        }
    }
}

/// Promise 10, by structure and not by the clock: one row changes, one person is marked, no member is sent
/// back, and the statement goes by an index.
#[tokio::test(flavor = "multi_thread")]
async fn one_member_of_twenty_thousand_costs_as_much_as_one_of_ten() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.apply(&configuration("scim")).await;
        let token = app.token("corp").await;
        let gid = make(&app, &token, "/Groups", group("everyone")).await;
        let ada = make(&app, &token, "/Users", person("ada")).await;
        app.drain().await;
        let big = gid.clone();
        app.store()
            .write(move |tx| -> Result<(), store::Error> {
                for n in 0..20_000 {
                    groups::add_member(tx, &big, &format!("m{n:05}"), MemberType::Unknown)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let path = format!("/Groups/{gid}");
        let add = patch("add", "members", json!([{"value": ada}]));
        let remove = patch(
            "remove",
            &format!("members[value eq \"{ada}\"]"),
            Value::Null,
        );
        let by_value = patch("remove", "members", json!([{"value": ada}]));
        for body in [add.clone(), remove, add.clone(), by_value, add] {
            let answer = change(&app, &token, &path, body).await;
            // 20,000 members are not sent back either, and none is worse than some.
            assert_eq!(answer.get("members"), None);
            assert!(answer.to_string().len() < 1000);
            let touched = number(app.store(), "SELECT count(*) AS n FROM work_item").await;
            assert_eq!(touched, 1, "{}", database.name);
            app.drain().await;
        }
        // What is asked for is whole.
        let whole = app.send(&token, "GET", &path, None).await.json;
        assert_eq!(whole["members"].as_array().unwrap().len(), 20_001);
        // A page of lists says that it would be too much instead of leaving some out.
        let list = app.send(&token, "GET", "/Groups", None).await;
        assert_eq!(
            (list.status, &list.json["scimType"]),
            (400, &json!("tooMany"))
        );
        let list = app
            .send(&token, "GET", "/Groups?excludedAttributes=members", None)
            .await;
        assert_eq!(list.json["totalResults"], 1);
        let filter = encoded(&format!("members.value eq \"{ada}\""));
        let found = app
            .send(
                &token,
                "GET",
                &format!("/Groups?filter={filter}&attributes=displayName"),
                None,
            )
            .await;
        assert_eq!(found.json["totalResults"], 1);
        // The statement for one member goes by an index, not through all of them.
        let plan = if database.name == "sqlite" {
            lines_of_sqlite_plan(&app, &gid, &ada).await
        } else {
            Vec::new()
        };
        assert!(plan.iter().all(|line| !line.contains("SCAN")), "{plan:?}");
        app.stop().await;
    }
}

async fn lines_of_sqlite_plan(app: &App, gid: &str, ada: &str) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Step {
        #[diesel(sql_type = diesel::sql_types::Text)]
        detail: String,
    }
    let sql = format!(
        "EXPLAIN QUERY PLAN DELETE FROM membership WHERE group_id = '{gid}' AND member_id = '{ada}'"
    );
    app.store()
        .read(move |conn| -> Result<Vec<String>, store::Error> {
            use diesel::RunQueryDsl;
            let steps: Vec<Step> = diesel::sql_query(sql).load(conn)?;
            Ok(steps.into_iter().map(|s| s.detail).collect())
        })
        .await
        .unwrap()
}
