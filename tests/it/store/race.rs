//! Many callers at once, through the SCIM server, on both databases: nothing is lost and nothing is doubled.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use usher::domain::ConnectionKind;
use usher::targets::memory::Memory;

use super::super::harness::{App, databases};
use super::super::scim::{group, patch, user};
use super::number;

async fn stop(app: Arc<App>) {
    if let Ok(app) = Arc::try_unwrap(app) {
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_adds_to_one_group_lose_nothing() {
    for database in databases() {
        let app = Arc::new(App::start(&database, &Memory::new()).await);
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let gid = app
            .send(&token, "POST", "/Groups", Some(group("staff")))
            .await
            .id();
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let (app, token, gid) = (app.clone(), token.clone(), gid.clone());
            tasks.spawn(async move {
                for n in 0..5 {
                    let made = app
                        .send(
                            &token,
                            "POST",
                            "/Users",
                            Some(user(&format!("u{task}-{n}"))),
                        )
                        .await;
                    assert_eq!(made.status, 201, "{}", made.json);
                    let added = app
                        .send(
                            &token,
                            "PATCH",
                            &format!("/Groups/{gid}"),
                            Some(patch("add", "members", json!([{"value": made.id()}]))),
                        )
                        .await;
                    assert_eq!(added.status, 200, "{}", added.json);
                }
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
        let shown = app
            .send(&token, "GET", &format!("/Groups/{gid}"), None)
            .await;
        assert_eq!(
            shown.json["members"].as_array().unwrap().len(),
            80,
            "{}",
            database.name
        );
        // Each add is a version of its own.
        assert_eq!(
            shown.json["meta"]["version"], "W/\"81\"",
            "{}",
            database.name
        );
        stop(app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_patches_of_one_user_lose_nothing() {
    const NAMES: [&str; 8] = [
        "nickName",
        "title",
        "displayName",
        "locale",
        "timezone",
        "preferredLanguage",
        "name.givenName",
        "name.familyName",
    ];
    for database in databases() {
        let app = Arc::new(App::start(&database, &Memory::new()).await);
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let id = app
            .send(&token, "POST", "/Users", Some(user("ada")))
            .await
            .id();
        let mut tasks = JoinSet::new();
        for name in NAMES {
            let (app, token, id) = (app.clone(), token.clone(), id.clone());
            tasks.spawn(async move {
                for n in 0..6 {
                    let answer = app
                        .send(
                            &token,
                            "PATCH",
                            &format!("/Users/{id}"),
                            Some(patch("replace", name, json!(format!("{name} {n}")))),
                        )
                        .await;
                    assert_eq!(answer.status, 200, "{}", answer.json);
                }
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
        let shown = app
            .send(&token, "GET", &format!("/Users/{id}"), None)
            .await
            .json;
        for name in NAMES {
            let value = name.split('.').fold(&shown, |at, part| &at[part]);
            assert_eq!(*value, json!(format!("{name} 5")), "{}", database.name);
        }
        assert_eq!(shown["meta"]["version"], "W/\"49\"", "{}", database.name);
        stop(app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_given_once() {
    for database in databases() {
        let app = Arc::new(App::start(&database, &Memory::new()).await);
        let token = app.connection("corp", ConnectionKind::Scim).await;
        for (path, bodies) in [
            ("/Users", [user("Ada"), user("aDA")]),
            ("/Groups", [group("Staff"), group("sTAFF")]),
        ] {
            let mut tasks = JoinSet::new();
            for n in 0..16 {
                let (app, token, body) = (app.clone(), token.clone(), bodies[n % 2].clone());
                tasks.spawn(async move { app.send(&token, "POST", path, Some(body)).await });
            }
            let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
            while let Some(result) = tasks.join_next().await {
                let answer = result.unwrap();
                *statuses.entry(answer.status).or_default() += 1;
                if answer.status == 409 {
                    assert_eq!(answer.json["scimType"], "uniqueness", "{}", answer.json);
                }
            }
            assert_eq!(
                statuses,
                BTreeMap::from([(201, 1), (409, 15)]),
                "{} {path}",
                database.name
            );
        }
        stop(app).await;
    }
}

/// Of two who change the same version, one is told that it is no longer the same.
#[tokio::test(flavor = "multi_thread")]
async fn one_version_is_changed_once() {
    for database in databases() {
        let app = Arc::new(App::start(&database, &Memory::new()).await);
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let id = app
            .send(&token, "POST", "/Users", Some(user("ada")))
            .await
            .id();
        let mut tasks = JoinSet::new();
        for n in 0..12 {
            let (app, token, id) = (app.clone(), token.clone(), id.clone());
            tasks.spawn(async move {
                app.send_with(
                    &token,
                    "PATCH",
                    &format!("/Users/{id}"),
                    Some(patch("replace", "title", json!(n.to_string()))),
                    &[("If-Match", "W/\"1\"")],
                )
                .await
                .status
            });
        }
        let mut statuses = Vec::new();
        while let Some(result) = tasks.join_next().await {
            statuses.push(result.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses[0], 200, "{}", database.name);
        assert!(
            statuses[1..].iter().all(|s| *s == 412),
            "{}: {statuses:?}",
            database.name
        );
        stop(app).await;
    }
}

/// A user who is deleted while it is added to groups is in none of them afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_nobodys_member() {
    for database in databases() {
        let app = Arc::new(App::start(&database, &Memory::new()).await);
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let mut gids = Vec::new();
        for n in 0..4 {
            let made = app
                .send(&token, "POST", "/Groups", Some(group(&format!("g{n}"))))
                .await;
            gids.push(made.id());
        }
        for round in 0..25 {
            let id = app
                .send(&token, "POST", "/Users", Some(user(&format!("u{round}"))))
                .await
                .id();
            let mut tasks = JoinSet::new();
            for gid in &gids {
                let (app, token, id, gid) = (app.clone(), token.clone(), id.clone(), gid.clone());
                tasks.spawn(async move {
                    let add = patch("add", "members", json!([{"value": id}]));
                    app.send(&token, "PATCH", &format!("/Groups/{gid}"), Some(add))
                        .await
                        .status
                });
            }
            let (gone, caller) = (app.clone(), token.clone());
            tasks.spawn(async move {
                let answer = gone
                    .send(&caller, "DELETE", &format!("/Users/{id}"), None)
                    .await;
                assert_eq!(answer.status, 204, "{}", answer.json);
                answer.status
            });
            while let Some(result) = tasks.join_next().await {
                let status = result.unwrap();
                assert!(matches!(status, 200 | 204), "{} {status}", database.name);
            }
        }
        let ghosts = number(
            app.store(),
            "SELECT count(*) AS n FROM membership m JOIN scim_user u ON u.id = m.member_id \
             WHERE m.member_type = 'User' AND u.deleted_at IS NOT NULL",
        )
        .await;
        assert_eq!(ghosts, 0, "{}: members that are deleted", database.name);
        stop(app).await;
    }
}

/// Groups that are put into each other at the same time lock each other's rows in opposite order.
#[tokio::test(flavor = "multi_thread")]
async fn groups_nested_into_each_other_at_once_do_not_block() {
    for database in databases() {
        let app = Arc::new(App::start(&database, &Memory::new()).await);
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let mut ids: Vec<String> = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(
                app.send(&token, "POST", "/Groups", Some(group(name)))
                    .await
                    .id(),
            );
        }
        let mut tasks = JoinSet::new();
        for n in 0..18 {
            let (app, token) = (app.clone(), token.clone());
            let (outer, inner) = (ids[n % 3].clone(), ids[(n + 1) % 3].clone());
            let op = if n < 9 { "add" } else { "remove" };
            tasks.spawn(async move {
                let body = patch(op, "members", json!([{"value": inner}]));
                let answer = app
                    .send(&token, "PATCH", &format!("/Groups/{outer}"), Some(body))
                    .await;
                assert_eq!(answer.status, 200, "{}", answer.json);
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
        let shown: Vec<Value> = vec![
            app.send(&token, "GET", &format!("/Groups/{}", ids[0]), None)
                .await
                .json,
        ];
        assert!(shown[0]["id"].is_string());
        stop(app).await;
    }
}
