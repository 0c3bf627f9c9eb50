//! Every verb on users and groups: statuses, bodies, headers, and what is not to change.

use serde_json::{Value, json};
use usher::domain::ConnectionKind;
use usher::scim::schema;
use usher::targets::memory::Memory;

use super::super::harness::{App, databases};
use super::super::store::{lines, number};
use super::{configuration, encoded, group, operations, patch, person, user};

const KINDS: [ConnectionKind; 2] = [ConnectionKind::Scim, ConnectionKind::OracleIdcs];

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_lives_and_ends() {
    for database in databases() {
        for kind in KINDS {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            for (endpoint, body, name) in [
                ("/Users", user("Ada"), "userName"),
                ("/Groups", group("Staff"), "displayName"),
            ] {
                let made = app.send(&token, "POST", endpoint, Some(body.clone())).await;
                assert_eq!(made.status, 201, "{}", made.json);
                let id = made.id();
                let location = format!("{}{endpoint}/{id}", app.scim);
                assert_eq!(made.headers["location"], location.as_str());
                assert_eq!(made.headers["etag"], "W/\"1\"");
                assert_eq!(made.headers["content-type"], "application/scim+json");
                assert!(made.headers.contains_key("x-request-id"));
                let meta = &made.json["meta"];
                assert_eq!(meta["location"], location.as_str());
                assert_eq!(meta["version"], "W/\"1\"");
                assert_eq!(
                    meta["resourceType"],
                    endpoint.trim_matches('/').trim_end_matches('s')
                );
                assert_eq!(meta["created"], meta["lastModified"]);
                assert_eq!(made.json["schemas"], body["schemas"]);

                let path = format!("{endpoint}/{id}");
                let read = app.send(&token, "GET", &path, None).await;
                assert_eq!((read.status, &read.json), (200, &made.json));
                assert_eq!(read.headers["etag"], "W/\"1\"");

                app.clock.advance_ms(1000);
                let mut other = body.clone();
                other[name] = json!("Other");
                let put = app.send(&token, "PUT", &path, Some(other)).await;
                assert_eq!(put.status, 200, "{}", put.json);
                assert_eq!(put.json[name], "Other");
                assert_eq!(put.json["id"], id.as_str());
                assert_eq!(put.json["meta"]["created"], meta["created"]);
                assert_ne!(put.json["meta"]["lastModified"], meta["lastModified"]);
                assert_eq!(put.headers["etag"], "W/\"2\"");

                let patched = app
                    .send(
                        &token,
                        "PATCH",
                        &path,
                        Some(patch("replace", name, json!("Third"))),
                    )
                    .await;
                assert_eq!(patched.status, 200, "{}", patched.json);
                assert_eq!(patched.json[name], "Third");
                assert_eq!(patched.headers["etag"], "W/\"3\"");

                let gone = app.send(&token, "DELETE", &path, None).await;
                assert_eq!((gone.status, &gone.json), (204, &Value::Null));
                for method in ["GET", "DELETE"] {
                    let again = app.send(&token, method, &path, None).await;
                    assert_eq!(again.status, 404, "{method}");
                    assert_eq!(again.json["status"], "404");
                }
                let again = app
                    .send(
                        &token,
                        "PATCH",
                        &path,
                        Some(patch("replace", name, json!("x"))),
                    )
                    .await;
                assert_eq!(again.status, 404);
                let again = app.send(&token, "PUT", &path, Some(body.clone())).await;
                assert_eq!(again.status, 404);
                let list = app.send(&token, "GET", endpoint, None).await;
                assert_eq!(list.json["totalResults"], 0);
                // The name is free again, and the id is another one.
                let anew = app.send(&token, "POST", endpoint, Some(body)).await;
                assert_eq!(anew.status, 201, "{}", anew.json);
                assert_ne!(anew.id(), id);
            }
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_kept() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        for (endpoint, body, name) in [
            ("/Users", user("ada"), "title"),
            ("/Groups", group("staff"), "externalId"),
        ] {
            let id = app.send(&token, "POST", endpoint, Some(body)).await.id();
            let path = format!("{endpoint}/{id}");
            let get = async |tag: &str| {
                app.send_with(&token, "GET", &path, None, &[("If-None-Match", tag)])
                    .await
                    .status
            };
            for tag in ["W/\"1\"", "\"1\"", "W/\"9\", W/\"1\"", "*"] {
                assert_eq!(get(tag).await, 304, "{tag}");
            }
            for tag in ["W/\"2\"", "\"x\"", "nonsense"] {
                assert_eq!(get(tag).await, 200, "{tag}");
            }
            let not_modified = app
                .send_with(&token, "GET", &path, None, &[("If-None-Match", "W/\"1\"")])
                .await;
            assert_eq!(not_modified.json, Value::Null);
            assert_eq!(not_modified.headers["etag"], "W/\"1\"");

            let change = patch("replace", name, json!("x"));
            for tag in ["W/\"2\"", "\"nonsense\"", ""] {
                for (method, body) in [
                    ("PATCH", Some(change.clone())),
                    (
                        "PUT",
                        Some(if endpoint == "/Users" {
                            user("eve")
                        } else {
                            group("eve")
                        }),
                    ),
                    ("DELETE", None),
                ] {
                    let refused = app
                        .send_with(&token, method, &path, body, &[("If-Match", tag)])
                        .await;
                    assert_eq!(refused.status, 412, "{method} {tag:?} {}", refused.json);
                    assert_eq!(refused.json["status"], "412");
                }
            }
            // A write that wants nothing of what there is.
            for tag in ["W/\"1\"", "*"] {
                for (method, body) in [("PATCH", Some(change.clone())), ("DELETE", None)] {
                    let refused = app
                        .send_with(&token, method, &path, body, &[("If-None-Match", tag)])
                        .await;
                    assert_eq!(refused.status, 412, "{method} {tag:?} {}", refused.json);
                }
            }
            let untouched = app.send(&token, "GET", &path, None).await;
            assert_eq!(untouched.headers["etag"], "W/\"1\"");
            let done = app
                .send_with(
                    &token,
                    "PATCH",
                    &path,
                    Some(change),
                    &[("If-Match", "W/\"1\"")],
                )
                .await;
            assert_eq!(
                (done.status, done.headers["etag"].as_bytes()),
                (200, &b"W/\"2\""[..])
            );
            let done = app
                .send_with(&token, "DELETE", &path, None, &[("If-Match", "*")])
                .await;
            assert_eq!(done.status, 204);
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_media_type_is_the_one_asked_for() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        for (accept, wanted) in [
            ("application/scim+json", "application/scim+json"),
            ("application/json", "application/json"),
            (
                "application/json, application/scim+json",
                "application/scim+json",
            ),
            ("*/*", "application/scim+json"),
            ("text/html", "application/scim+json"),
        ] {
            for path in ["/Users", "/Groups", "/Schemas", "/ServiceProviderConfig"] {
                let answer = app
                    .send_with(&token, "GET", path, None, &[("Accept", accept)])
                    .await;
                assert_eq!(answer.status, 200, "{path}");
                assert_eq!(answer.headers["content-type"], wanted, "{accept} {path}");
            }
        }
        app.stop().await;
    }
}

/// Promise 3: no change in, nothing out. Neither version nor date move, and no work is marked.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_changes_nothing() {
    for database in databases() {
        let memory = Memory::new();
        for kind in KINDS {
            let app = App::start(&database, &memory).await;
            app.apply(&configuration(kind.as_str())).await;
            let token = app.token("corp").await;
            let tag = kind.as_str();
            let mut body = person(&format!("ada-{tag}"));
            body["title"] = json!("Countess");
            body["emails"] =
                json!([{"value": format!("{tag}@example.com"), "type": "work", "primary": true}]);
            body["urn:example:x:User"] = json!({"a": [1, {"b": null}]});
            let ada = app.send(&token, "POST", "/Users", Some(body.clone())).await;
            let path = format!("/Users/{}", ada.id());
            let mut staff = group(&format!("staff-{tag}"));
            staff["members"] = json!([{"value": ada.id()}]);
            let team = app
                .send(&token, "POST", "/Groups", Some(staff.clone()))
                .await;
            let team_path = format!("/Groups/{}", team.id());
            app.drain().await;
            let work = || number(app.store(), "SELECT count(*) AS n FROM work_item");
            let open = lines(
                app.store(),
                "SELECT state || ' ' || coalesce(last_error, '') AS line FROM work_item",
            )
            .await;
            assert!(open.is_empty(), "{} {tag}: {open:?}", database.name);
            app.clock.advance_ms(60_000);

            let mut emails = body.clone();
            emails["emails"] =
                json!([{"primary": true, "type": "work", "value": format!("{tag}@example.com")}]);
            let user_requests = [
                ("PUT", body.clone()),
                ("PUT", emails),
                ("PATCH", patch("replace", "title", json!("Countess"))),
                ("PATCH", patch("add", "title", json!("Countess"))),
                ("PATCH", patch("remove", "nickName", Value::Null)),
                ("PATCH", patch("add", "emails", body["emails"].clone())),
                (
                    "PATCH",
                    patch("remove", "emails[type eq \"home\"]", Value::Null),
                ),
                (
                    "PATCH",
                    patch("replace", "password", json!("S3cret-do-not-store")),
                ),
                ("PATCH", patch("replace", "active", json!(true))),
                (
                    "PATCH",
                    operations(json!([
                        {"op": "replace", "path": "title", "value": "Baroness"},
                        {"op": "replace", "path": "title", "value": "Countess"},
                    ])),
                ),
                (
                    "PATCH",
                    operations(
                        json!([{"op": "add", "value": {"title": "Countess", "active": true}}]),
                    ),
                ),
            ];
            let before = app.send(&token, "GET", &path, None).await.json;
            for (method, body) in user_requests {
                let answer = app.send(&token, method, &path, Some(body.clone())).await;
                assert_eq!(answer.status, 200, "{body} {}", answer.json);
                assert_eq!(answer.json, before, "{} {method} {body}", database.name);
                assert_eq!(work().await, 0, "{} {method} {body}", database.name);
            }
            let before = app.send(&token, "GET", &team_path, None).await.json;
            let group_requests = [
                ("PUT", staff.clone()),
                (
                    "PATCH",
                    patch("add", "members", json!([{"value": ada.id()}])),
                ),
                (
                    "PATCH",
                    patch("replace", "members", json!([{"value": ada.id()}])),
                ),
                (
                    "PATCH",
                    patch("remove", "members[value eq \"nobody\"]", Value::Null),
                ),
                (
                    "PATCH",
                    patch("replace", "displayName", staff["displayName"].clone()),
                ),
            ];
            for (method, body) in group_requests {
                let answer = app
                    .send(&token, method, &team_path, Some(body.clone()))
                    .await;
                assert_eq!(answer.status, 200, "{body} {}", answer.json);
                assert_eq!(
                    answer.json["meta"], before["meta"],
                    "{} {method} {body}",
                    database.name
                );
                assert_eq!(work().await, 0, "{} {method} {body}", database.name);
            }
            // The counter: what changes something does mark.
            app.send(
                &token,
                "PATCH",
                &path,
                Some(patch("replace", "title", json!("Lady"))),
            )
            .await;
            assert_eq!(work().await, 1);
            app.drain().await;
            app.stop().await;
        }
    }
}

/// Promise 8: whatever way a password comes in, it is nowhere afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_not_kept() {
    const SECRET: &str = "S3cret-do-not-store";
    for database in databases() {
        for kind in KINDS {
            let app = App::start(&database, &Memory::new()).await;
            app.apply(&configuration(kind.as_str())).await;
            let token = app.token("corp").await;
            let core = "urn:ietf:params:scim:schemas:core:2.0:User";
            let mut answers = Vec::new();
            for (n, (name, value)) in [
                ("password", json!(SECRET)),
                ("Password", json!(SECRET)),
                (core, json!({"password": SECRET})),
            ]
            .into_iter()
            .enumerate()
            {
                let mut body = user(&format!("u{n}-{}", kind.as_str()));
                body[name] = value;
                let made = app.send(&token, "POST", "/Users", Some(body.clone())).await;
                assert_eq!(made.status, 201, "{}", made.json);
                let path = format!("/Users/{}", made.id());
                answers.push(made);
                answers.push(app.send(&token, "PUT", &path, Some(body)).await);
                for body in [
                    patch("replace", "password", json!(SECRET)),
                    patch("add", "PASSWORD", json!(SECRET)),
                    patch("add", &format!("{core}:password"), json!(SECRET)),
                    operations(json!([{"op": "replace", "value": {"password": SECRET}}])),
                    operations(json!([{"op": "add", "value": {core: {"password": SECRET}}}])),
                ] {
                    let answer = app.send(&token, "PATCH", &path, Some(body.clone())).await;
                    assert_eq!(answer.status, 200, "{body} {}", answer.json);
                    answers.push(answer);
                }
                // Refused, and the refusal does not repeat it.
                for body in [
                    patch("replace", "password", json!({"value": SECRET})),
                    patch("replace", "password.value", json!(SECRET)),
                    patch("replace", "password[value eq \"x\"]", json!(SECRET)),
                    json!({"schemas": [], "Operations": SECRET, "password": SECRET}),
                ] {
                    answers.push(app.send(&token, "PATCH", &path, Some(body)).await);
                }
                let asked = app
                    .send(
                        &token,
                        "GET",
                        &format!("{path}?attributes=password,userName"),
                        None,
                    )
                    .await;
                assert_eq!(asked.json.get("password"), None);
                answers.push(asked);
                let filter = encoded(&format!("password eq \"{SECRET}\""));
                let asked = app
                    .send(&token, "GET", &format!("/Users?filter={filter}"), None)
                    .await;
                assert_eq!(asked.status, 400);
            }
            let mut team = group(&format!("g-{}", kind.as_str()));
            team["password"] = json!(SECRET);
            answers.push(app.send(&token, "POST", "/Groups", Some(team)).await);
            app.drain().await;
            for answer in &answers {
                assert!(!answer.json.to_string().contains(SECRET), "{}", answer.json);
                assert!(answer.status < 500, "{}", answer.json);
            }
            app.stop().await;
        }
        if database.name == "sqlite" {
            let mut files = 0;
            for entry in std::fs::read_dir(database.folder()).unwrap() {
                let path = entry.unwrap().path();
                let bytes = match std::fs::read(&path) {
                    Ok(bytes) => bytes,
                    // The last one to close the database takes its journal away.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(e) => panic!("{}: {e}", path.display()),
                };
                let found = bytes
                    .windows(SECRET.len())
                    .any(|part| part == SECRET.as_bytes());
                assert!(!found, "{}", path.display());
                files += 1;
            }
            assert!(files > 0);
        }
        // Every row of every table, as text.
        let store = database.open();
        let tables = if database.name == "sqlite" {
            "SELECT name AS line FROM sqlite_master WHERE type = 'table'"
        } else {
            "SELECT table_name::text AS line FROM information_schema.tables WHERE table_schema = 'public'"
        };
        let tables = lines(&store, tables).await;
        assert!(tables.len() > 10);
        if database.name == "postgres" {
            for table in tables {
                let found = number(
                    &store,
                    &format!("SELECT count(*) AS n FROM {table} t WHERE t::text LIKE '%{SECRET}%'"),
                )
                .await;
                assert_eq!(found, 0, "{table}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_kept() {
    for database in databases() {
        for kind in KINDS {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            let mut body = user("ada");
            body["favouriteColour"] = json!(["red", {"hex": "#f00"}]);
            body["urn:ietf:params:scim:schemas:oracle:idcs:extension:user:User"] =
                json!({"isFederatedUser": true, "nested": [{"a": [1, 2.5, 3.4e45, null, "x"]}]});
            body[schema::ENTERPRISE_USER] = json!({"department": "R&D", "Shoe": 42});
            let made = app.send(&token, "POST", "/Users", Some(body.clone())).await;
            assert_eq!(made.status, 201, "{}", made.json);
            let path = format!("/Users/{}", made.id());
            app.send(
                &token,
                "PATCH",
                &path,
                Some(patch("replace", "title", json!("x"))),
            )
            .await;
            let read = app.send(&token, "GET", &path, None).await.json;
            for name in [
                "favouriteColour",
                "urn:ietf:params:scim:schemas:oracle:idcs:extension:user:User",
                schema::ENTERPRISE_USER,
            ] {
                assert_eq!(read[name], body[name], "{} {name}", database.name);
            }
            // `schemas` names what is there (RFC 7643 section 3).
            let schemas = read["schemas"].as_array().unwrap();
            assert_eq!(schemas.len(), 3, "{schemas:?}");
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_shown_as_asked() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let mut body = user("ada");
        body["name"] = json!({"givenName": "Ada", "familyName": "Byron"});
        body["emails"] = json!([{"value": "a@b.c", "type": "work"}]);
        body[schema::ENTERPRISE_USER] = json!({"department": "R&D", "costCenter": "1"});
        let made = app.send(&token, "POST", "/Users", Some(body)).await;
        let id = made.id();
        let mut staff = group("staff");
        staff["members"] = json!([{"value": id}]);
        app.send(&token, "POST", "/Groups", Some(staff)).await;
        let keys = |value: &Value| {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        for (query, wanted) in [
            ("attributes=userName", &["id", "schemas", "userName"][..]),
            ("attributes=USERNAME", &["id", "schemas", "userName"]),
            ("attributes=name.givenName", &["id", "name", "schemas"]),
            ("attributes=groups", &["groups", "id", "schemas"]),
            ("attributes=meta.version", &["id", "meta", "schemas"]),
            ("attributes=nothing", &["id", "schemas"]),
            (
                "attributes=urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                &["id", "schemas", schema::ENTERPRISE_USER],
            ),
            (
                "excludedAttributes=emails,groups,meta,name,active,id,schemas",
                &["id", "schemas", schema::ENTERPRISE_USER, "userName"],
            ),
        ] {
            let encoded = query.replace(':', "%3A");
            let one = app
                .send(&token, "GET", &format!("/Users/{id}?{encoded}"), None)
                .await;
            assert_eq!(one.status, 200, "{}", one.json);
            assert_eq!(keys(&one.json), wanted, "{query}");
            let list = app
                .send(&token, "GET", &format!("/Users?{encoded}"), None)
                .await;
            assert_eq!(
                keys(&list.json["Resources"][0]),
                wanted,
                "{query} in a list"
            );
            let patched = app
                .send(
                    &token,
                    "PATCH",
                    &format!("/Users/{id}?{encoded}"),
                    Some(patch("replace", "active", json!(true))),
                )
                .await;
            assert_eq!(keys(&patched.json), wanted, "{query} after a PATCH");
        }
        let part = app
            .send(
                &token,
                "GET",
                &format!("/Users/{id}?attributes=name.givenName"),
                None,
            )
            .await;
        assert_eq!(part.json["name"], json!({"givenName": "Ada"}));
        let searched = app
            .send(
                &token,
                "POST",
                "/Users/.search",
                Some(json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
                    "attributes": ["userName"], "filter": "userName eq \"ADA\"", "count": 10,
                })),
            )
            .await;
        assert_eq!(searched.status, 200, "{}", searched.json);
        assert_eq!(
            keys(&searched.json["Resources"][0]),
            ["id", "schemas", "userName"]
        );
        let both = app
            .send(
                &token,
                "GET",
                "/Users?attributes=id&excludedAttributes=name",
                None,
            )
            .await;
        assert_eq!(both.status, 400);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_says_what_there_is() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let config = app
            .send(&token, "GET", "/ServiceProviderConfig", None)
            .await
            .json;
        assert_eq!(config["patch"]["supported"], true);
        assert_eq!(
            config["bulk"],
            json!({"supported": true, "maxOperations": 1000, "maxPayloadSize": 1_048_576})
        );
        assert_eq!(config["sort"]["supported"], true);
        assert_eq!(
            config["pagination"],
            json!({"cursor": true, "index": true, "defaultPaginationMethod": "index",
                   "defaultPageSize": 100, "maxPageSize": 1000})
        );
        assert_eq!(config["filter"]["supported"], true);
        assert_eq!(config["etag"]["supported"], true);
        assert_eq!(config["changePassword"]["supported"], false);
        let types = app.send(&token, "GET", "/ResourceTypes", None).await.json;
        assert_eq!(types["totalResults"], 2);
        let schemas = app.send(&token, "GET", "/Schemas", None).await.json;
        assert_eq!(schemas["totalResults"], 3);
        for (path, list) in [("/ResourceTypes", &types), ("/Schemas", &schemas)] {
            for resource in list["Resources"].as_array().unwrap() {
                let id = resource["id"].as_str().unwrap();
                let one = app
                    .send(
                        &token,
                        "GET",
                        &format!("{path}/{}", id.replace(':', "%3A")),
                        None,
                    )
                    .await;
                assert_eq!((one.status, &one.json), (200, resource), "{path}/{id}");
            }
            let none = app
                .send(&token, "GET", &format!("{path}/nothing"), None)
                .await;
            assert_eq!(none.status, 404);
            let filtered = app
                .send(&token, "GET", &format!("{path}?filter=id%20pr"), None)
                .await;
            assert_eq!(filtered.status, 403);
        }
        app.stop().await;
    }
}

/// Whoever has no `active` has access, and filters say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_active_is_true() {
    for database in databases() {
        for kind in KINDS {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            let mut body = user("ada");
            body["active"] = json!(false);
            let id = app.send(&token, "POST", "/Users", Some(body)).await.id();
            let answer = app
                .send(
                    &token,
                    "PATCH",
                    &format!("/Users/{id}"),
                    Some(operations(json!([{"op": "remove", "path": "active"}]))),
                )
                .await;
            assert_eq!(answer.status, 200, "{}", answer.json);
            assert_eq!(answer.json.get("active"), None, "{}", database.name);
            for (filter, total) in [
                ("active eq true", 1),
                ("active ne false", 1),
                ("active eq false", 0),
                ("active ne true", 0),
                ("active pr", 0),
            ] {
                let path = format!("/Users?filter={}", encoded(filter));
                let found = app.send(&token, "GET", &path, None).await;
                assert_eq!(
                    found.json["totalResults"], total,
                    "{} {filter}",
                    database.name
                );
            }
            app.stop().await;
        }
    }
}
