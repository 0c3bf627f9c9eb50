//! Sorting and cursors over HTTP.

use serde_json::{Value, json};
use usher::domain::ConnectionKind;
use usher::targets::memory::Memory;

use super::super::harness::{App, databases};
use super::{encoded, group, patch, user};

fn names(list: &Value) -> Vec<String> {
    list["Resources"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"))
        .iter()
        .map(|r| {
            let name = r.get("userName").or(r.get("displayName")).unwrap();
            name.as_str().unwrap().to_owned()
        })
        .collect()
}

/// People with titles in the order of `titles`; an empty one is left out.
async fn people(app: &App, token: &str, titles: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for (n, title) in titles.iter().enumerate() {
        let mut body = user(&format!("u{n}"));
        if !title.is_empty() {
            body["title"] = json!(title);
        }
        ids.push(app.send(token, "POST", "/Users", Some(body)).await.id());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        people(&app, &token, &["b", "", "A", "c", "B"]).await;
        for (query, wanted) in [
            ("sortBy=title", ["u2", "u0", "u4", "u3", "u1"]),
            (
                "sortBy=TITLE&sortOrder=Descending",
                ["u1", "u3", "u0", "u4", "u2"],
            ),
            (
                "sortBy=userName&sortOrder=descending",
                ["u4", "u3", "u2", "u1", "u0"],
            ),
        ] {
            let list = app
                .send(&token, "GET", &format!("/Users?{query}"), None)
                .await;
            assert_eq!(names(&list.json), wanted, "{} {query}", database.name);
        }
        let search = json!({"sortBy": "title", "sortOrder": "descending", "count": 2, "startIndex": 2,
                            "filter": "title pr"});
        let list = app
            .send(&token, "POST", "/Users/.search", Some(search))
            .await
            .json;
        assert_eq!(names(&list), ["u0", "u4"]);
        assert_eq!(list["totalResults"], 4);
        for (path, query) in [
            ("/Users", "sortBy=name"),
            ("/Users", "sortBy=password"),
            ("/Users", "sortBy=groups.value"),
            ("/Users", "sortBy=meta.version"),
            ("/Users", "sortBy=nothing"),
            ("/Users", "sortBy=%22"),
            ("/Users", "sortBy=title&sortOrder=up"),
            ("/Groups", "sortBy=userName"),
            ("/Groups", "sortBy=members"),
            ("/", "sortBy=id"),
        ] {
            let refused = app
                .send(&token, "GET", &format!("{path}?{query}"), None)
                .await;
            assert_eq!(
                (refused.status, &refused.json["scimType"]),
                (400, &json!("invalidValue")),
                "{path} {query} {}",
                refused.json
            );
        }
        app.stop().await;
    }
}

/// Walks a list by cursor; `each` is called between the pages.
async fn walk(app: &App, token: &str, path: &str, mut each: impl AsyncFnMut(usize)) -> Vec<String> {
    let mut met = Vec::new();
    let mut cursor = String::new();
    for page in 0..100 {
        let join = if path.contains('?') { '&' } else { '?' };
        let list = app
            .send(token, "GET", &format!("{path}{join}cursor={cursor}"), None)
            .await;
        assert_eq!(list.status, 200, "{}", list.json);
        assert_eq!(list.json.get("startIndex"), None);
        met.extend(names(&list.json));
        let Some(next) = list.json.get("nextCursor") else {
            return met;
        };
        assert!(
            !list.json["Resources"].as_array().unwrap().is_empty(),
            "{}",
            list.json
        );
        cursor = next.as_str().unwrap().to_owned();
        each(page).await;
    }
    panic!("no end: {met:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_by_cursor_meets_everyone_once() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        people(&app, &token, &["b", "", "A", "c", "B", "", "a"]).await;
        for n in 0..4 {
            app.send(&token, "POST", "/Groups", Some(group(&format!("g{n}"))))
                .await;
        }
        let all: Vec<String> = (0..7).map(|n| format!("u{n}")).collect();
        let both: Vec<String> = all
            .iter()
            .cloned()
            .chain((0..4).map(|n| format!("g{n}")))
            .collect();
        for count in [1, 2, 3, 4, 7, 10, 11, 12] {
            for (path, wanted) in [
                (format!("/Users?count={count}"), all.clone()),
                (format!("/?count={count}"), both.clone()),
                (
                    format!("/Users?count={count}&sortBy=title"),
                    ["u2", "u6", "u0", "u4", "u3", "u1", "u5"]
                        .map(ToOwned::to_owned)
                        .to_vec(),
                ),
                (
                    format!("/Users?count={count}&sortBy=title&sortOrder=descending"),
                    ["u1", "u5", "u3", "u0", "u4", "u2", "u6"]
                        .map(ToOwned::to_owned)
                        .to_vec(),
                ),
                (
                    format!(
                        "/Users?count={count}&filter={}&sortBy=meta.created",
                        encoded("title pr")
                    ),
                    ["u0", "u2", "u3", "u4", "u6"]
                        .map(ToOwned::to_owned)
                        .to_vec(),
                ),
            ] {
                assert_eq!(
                    walk(&app, &token, &path, async |_| {}).await,
                    wanted,
                    "{} {path}",
                    database.name
                );
            }
        }
        // The same in the body of a search.
        let first = json!({"cursor": "", "count": 5});
        let list = app
            .send(&token, "POST", "/Users/.search", Some(first))
            .await
            .json;
        assert_eq!(list["totalResults"], 7);
        let second = json!({"cursor": list["nextCursor"], "count": 5});
        let list = app
            .send(&token, "POST", "/Users/.search", Some(second))
            .await
            .json;
        assert_eq!(names(&list), ["u5", "u6"]);
        assert_eq!(list.get("nextCursor"), None);
        app.stop().await;
    }
}

/// Who comes, goes or changes during a walk neither hides nor repeats anybody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_by_cursor_stands_writes() {
    for database in databases() {
        for sorting in ["", "&sortBy=userName", "&sortBy=title&sortOrder=descending"] {
            let app = App::start(&database, &Memory::new()).await;
            let name = format!("corp{sorting}");
            let token = app.connection(&name, ConnectionKind::Scim).await;
            let ids = people(&app, &token, &["a"; 12]).await;
            let met = walk(
                &app,
                &token,
                &format!("/Users?count=3{sorting}"),
                async |page| {
                    // One that was met goes, one that is still to come changes, one comes.
                    app.send(&token, "DELETE", &format!("/Users/{}", ids[page]), None)
                        .await;
                    let change = patch("replace", "nickName", json!("x"));
                    app.send(
                        &token,
                        "PATCH",
                        &format!("/Users/{}", ids[11]),
                        Some(change),
                    )
                    .await;
                    app.send(&token, "POST", "/Users", Some(user(&format!("a{page}"))))
                        .await;
                },
            )
            .await;
            for n in 0..12 {
                let times = met.iter().filter(|name| **name == format!("u{n}")).count();
                assert_eq!(times, 1, "{} {sorting} u{n}: {met:?}", database.name);
            }
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_of_other_lists_are_refused() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let other = app.connection("other", ConnectionKind::Scim).await;
        people(&app, &token, &["a", "b", "c"]).await;
        let list = app
            .send(&token, "GET", "/Users?count=1&cursor", None)
            .await
            .json;
        let next = list["nextCursor"].as_str().unwrap().to_owned();
        for (path, scim_type) in [
            (format!("/Groups?cursor={next}"), "invalidCursor"),
            (format!("/?cursor={next}"), "invalidCursor"),
            (
                format!("/Users?cursor={next}&filter=id%20pr"),
                "invalidCursor",
            ),
            (format!("/Users?cursor={next}&sortBy=id"), "invalidCursor"),
            (format!("/Users?cursor={next}x"), "invalidCursor"),
            ("/Users?cursor=0".to_owned(), "invalidCursor"),
            (
                format!("/Users?cursor={next}&startIndex=2"),
                "invalidCursor",
            ),
            (format!("/Users?cursor={next}&count=0"), "invalidCount"),
        ] {
            let refused = app.send(&token, "GET", &path, None).await;
            assert_eq!(
                (refused.status, &refused.json["scimType"]),
                (400, &json!(scim_type)),
                "{path}: {}",
                refused.json
            );
        }
        // In the hands of somebody else it shows what is theirs: nothing.
        let theirs = app
            .send(&other, "GET", &format!("/Users?cursor={next}"), None)
            .await
            .json;
        assert_eq!(
            (&theirs["totalResults"], names(&theirs).len()),
            (&json!(0), 0),
            "{}",
            database.name
        );
        app.stop().await;
    }
}
