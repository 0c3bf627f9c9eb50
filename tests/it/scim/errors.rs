//! What is refused, and how: status, `scimType`, a sentence for people, and nothing about the inside.

use serde_json::{Value, json};
use usher::domain::ConnectionKind;
use usher::scim::schema;
use usher::targets::memory::Memory;

use super::super::harness::{App, databases, sqlite};
use super::super::store::{limit, number};
use super::{encoded, group, operations, patch, raw, user};

/// Words that only the inside knows.
const INTERNALS: &[&str] = &[
    "sqlite",
    "postgres",
    "diesel",
    "SELECT",
    "UNIQUE",
    "constraint",
    "scim_user",
    "scim_group",
    "panicked",
    "src/",
    "thread",
    "serde",
    "actix",
];

/// Checks that an answer is an error of RFC 7644 section 3.12.
fn check(what: &str, status: u16, scim_type: Option<&str>, answer: (u16, &Value)) {
    let (found, body) = answer;
    assert_eq!(found, status, "{what}: {body}");
    assert_eq!(
        body["schemas"],
        json!(["urn:ietf:params:scim:api:messages:2.0:Error"]),
        "{what}: {body}"
    );
    assert_eq!(body["status"], status.to_string(), "{what}");
    assert_eq!(
        body.get("scimType").and_then(Value::as_str),
        scim_type,
        "{what}: {body}"
    );
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.len() > 8 && !detail.ends_with('.'),
        "{what}: {detail}"
    );
    for word in INTERNALS {
        assert!(!detail.contains(word), "{what}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_is_over_when_there_is_room() {
    let app = App::start(&sqlite(), &Memory::new()).await;
    let token = app.connection("corp", ConnectionKind::Scim).await;
    limit(app.store(), 1).await;
    let mut large = user("eve");
    for attribute in ["title", "nickName"] {
        large[attribute] = json!("x".repeat(9_000));
    }
    let send = || app.send(&token, "POST", "/Users", Some(large.clone()));
    for _ in 0..2 {
        let refused = send().await;
        check("a full disk", 503, None, (refused.status, &refused.json));
        let detail = refused.json["detail"].as_str().unwrap();
        assert!(detail.contains("disk of the database is full"), "{detail}");
        assert_eq!(refused.headers["retry-after"], "60");
    }
    limit(app.store(), 1_000_000).await;
    assert_eq!(send().await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_resources_are_refused() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let with = |name: &str, value: Value| {
            let mut body = user("eve");
            body[name] = value;
            body
        };
        let long = "x".repeat(20_000);
        // Not compressible, so that no database squeezes it into an index entry.
        let random: String = (0u32..1500)
            .map(|n| char::from(b'!' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 26).unwrap()))
            .collect();
        let invalid = Some("invalidValue");
        for (what, body, scim_type) in [
            ("no schemas", json!({"userName": "eve"}), invalid),
            (
                "wrong schemas",
                json!({"schemas": [schema::GROUP], "userName": "eve"}),
                invalid,
            ),
            (
                "schemas no array",
                json!({"schemas": schema::USER, "userName": "eve"}),
                invalid,
            ),
            ("no userName", json!({"schemas": [schema::USER]}), invalid),
            ("null userName", with("userName", Value::Null), invalid),
            ("empty userName", with("userName", json!("")), invalid),
            ("blank userName", with("userName", json!("  ")), invalid),
            ("userName a number", with("userName", json!(7)), invalid),
            (
                "userName an array",
                with("userName", json!(["eve"])),
                invalid,
            ),
            (
                "userName an object",
                with("userName", json!({"a": 1})),
                invalid,
            ),
            ("userName too long", with("userName", json!(long)), invalid),
            (
                "userName too long for an index",
                with("userName", json!(random)),
                invalid,
            ),
            (
                "externalId too long for an index",
                with("externalId", json!(random)),
                invalid,
            ),
            (
                "address too long for an index",
                with("emails", json!([{"value": random}])),
                invalid,
            ),
            (
                "U+0000 in userName",
                with("userName", json!("e\0ve")),
                invalid,
            ),
            (
                "U+0000 in an unknown attribute",
                with("x", json!({"a": ["\0"]})),
                invalid,
            ),
            ("U+0000 in a name", with("x", json!({"a\0": 1})), invalid),
            (
                "U+0000 in an extension",
                with("urn:x:y:User", json!({"a": "\0"})),
                invalid,
            ),
            (
                "U+0000 in a part",
                with("name", json!({"givenName": "\0"})),
                invalid,
            ),
            (
                "U+0000 in the name of a part",
                with("name", json!({"x\0": "y"})),
                invalid,
            ),
            ("active a text", with("active", json!("true")), invalid),
            ("active a number", with("active", json!(1)), invalid),
            ("name a text", with("name", json!("Eve")), invalid),
            (
                "emails an object",
                with("emails", json!({"value": "a@b.c"})),
                invalid,
            ),
            ("emails a text", with("emails", json!("a@b.c")), invalid),
            ("an email a text", with("emails", json!(["a@b.c"])), invalid),
            (
                "an email's value a number",
                with("emails", json!([{"value": 1}])),
                invalid,
            ),
            (
                "two primaries",
                with(
                    "emails",
                    json!([{"value": "a", "primary": true}, {"value": "b", "primary": true}]),
                ),
                invalid,
            ),
            (
                "enterprise no object",
                with(schema::ENTERPRISE_USER, json!("x")),
                invalid,
            ),
            ("an array", json!([user("eve")]), Some("invalidSyntax")),
            ("a text", json!("eve"), Some("invalidSyntax")),
            ("null", Value::Null, Some("invalidSyntax")),
        ] {
            let answer = app.send(&token, "POST", "/Users", Some(body)).await;
            check(what, 400, scim_type, (answer.status, &answer.json));
        }
        for (what, body) in [
            ("no displayName", json!({"schemas": [schema::GROUP]})),
            (
                "members a text",
                json!({"schemas": [schema::GROUP], "displayName": "g", "members": "x"}),
            ),
            (
                "a member without value",
                json!({"schemas": [schema::GROUP], "displayName": "g", "members": [{}]}),
            ),
            (
                "a member's value a number",
                json!({"schemas": [schema::GROUP], "displayName": "g", "members": [{"value": 1}]}),
            ),
            (
                "a member's value too long",
                json!({"schemas": [schema::GROUP], "displayName": "g", "members": [{"value": long}]}),
            ),
            (
                "U+0000 in a member",
                json!({"schemas": [schema::GROUP], "displayName": "g", "members": [{"value": "\0"}]}),
            ),
        ] {
            let answer = app.send(&token, "POST", "/Groups", Some(body)).await;
            check(what, 400, invalid, (answer.status, &answer.json));
        }
        // Nothing of all that is there.
        assert_eq!(
            number(app.store(), "SELECT count(*) AS n FROM scim_user").await,
            0
        );
        assert_eq!(
            number(app.store(), "SELECT count(*) AS n FROM scim_group").await,
            0
        );

        // What is as long as allowed is stored, on both databases.
        let longest: String = random.chars().take(1000).collect();
        let mut body = user(&longest);
        body["displayName"] = json!(longest);
        body["externalId"] = json!(longest);
        body["emails"] = json!([{"value": longest}]);
        let made = app.send(&token, "POST", "/Users", Some(body.clone())).await;
        assert_eq!(made.status, 201, "{}", made.json);
        let taken = app.send(&token, "POST", "/Users", Some(body)).await;
        check(
            "a name twice",
            409,
            Some("uniqueness"),
            (taken.status, &taken.json),
        );
        app.send(&token, "POST", "/Users", Some(user("bob"))).await;
        let path = format!("/Users/{}", made.id());
        for (method, body) in [
            ("PUT", user("BOB")),
            ("PATCH", patch("replace", "userName", json!("Bob"))),
        ] {
            let taken = app.send(&token, method, &path, Some(body)).await;
            check(method, 409, Some("uniqueness"), (taken.status, &taken.json));
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_patches_are_refused_as_a_whole() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let ada = app.send(&token, "POST", "/Users", Some(user("ada"))).await;
        let path = format!("/Users/{}", ada.id());
        for (what, body, scim_type) in [
            (
                "no schemas",
                json!({"Operations": [{"op": "add", "path": "title", "value": "x"}]}),
                "invalidSyntax",
            ),
            ("no Operations", operations(Value::Null), "invalidSyntax"),
            ("empty Operations", operations(json!([])), "invalidSyntax"),
            (
                "Operations no array",
                operations(json!({"op": "add"})),
                "invalidSyntax",
            ),
            (
                "an operation a text",
                operations(json!(["add"])),
                "invalidSyntax",
            ),
            (
                "an unknown op",
                patch("move", "title", json!("x")),
                "invalidSyntax",
            ),
            (
                "op a number",
                operations(json!([{"op": 1, "path": "title", "value": "x"}])),
                "invalidSyntax",
            ),
            (
                "path a number",
                operations(json!([{"op": "add", "path": 1, "value": "x"}])),
                "invalidPath",
            ),
            (
                "no path at all",
                patch("replace", "a b", json!("x")),
                "invalidPath",
            ),
            (
                "a path too long",
                patch("replace", &"x".repeat(5000), json!("x")),
                "invalidPath",
            ),
            (
                "an open bracket",
                patch("replace", "emails[type eq \"work\"", json!("x")),
                "invalidPath",
            ),
            (
                "deep brackets",
                patch(
                    "replace",
                    &format!("emails[{}", "(".repeat(1500)),
                    json!("x"),
                ),
                "invalidPath",
            ),
            (
                "an unknown attribute",
                patch("replace", "shoeSize", json!("x")),
                "invalidPath",
            ),
            (
                "an unknown part",
                patch("replace", "name.shoe", json!("x")),
                "invalidPath",
            ),
            (
                "a part of a text",
                patch("replace", "title.x", json!("x")),
                "invalidPath",
            ),
            (
                "no value",
                operations(json!([{"op": "add", "path": "title"}])),
                "invalidValue",
            ),
            (
                "no path and no object",
                operations(json!([{"op": "add", "value": "x"}])),
                "invalidValue",
            ),
            (
                "remove without a path",
                operations(json!([{"op": "remove"}])),
                "noTarget",
            ),
            (
                "a filter that selects nothing",
                patch("replace", "emails[type eq \"work\"].value", json!("x")),
                "noTarget",
            ),
            (
                "a wrong type",
                patch("replace", "active", json!("yes")),
                "invalidValue",
            ),
            (
                "U+0000",
                patch("replace", "title", json!("\0")),
                "invalidValue",
            ),
            ("id", patch("replace", "id", json!("x")), "mutability"),
            (
                "meta",
                patch("replace", "meta.version", json!("x")),
                "mutability",
            ),
            (
                "groups",
                patch("add", "groups", json!([{"value": "x"}])),
                "mutability",
            ),
            (
                "userName away",
                operations(json!([{"op": "remove", "path": "userName"}])),
                "mutability",
            ),
            (
                "userName null",
                patch("replace", "userName", Value::Null),
                "mutability",
            ),
            (
                "userName empty",
                patch("replace", "userName", json!("")),
                "invalidValue",
            ),
            (
                "the second of two",
                operations(json!([
                    {"op": "replace", "path": "title", "value": "Countess"},
                    {"op": "replace", "path": "active", "value": "yes"},
                ])),
                "invalidValue",
            ),
        ] {
            let answer = app.send(&token, "PATCH", &path, Some(body)).await;
            check(what, 400, Some(scim_type), (answer.status, &answer.json));
        }
        let many: Vec<Value> = (0..1001)
            .map(|n| json!({"op": "replace", "path": "title", "value": n.to_string()}))
            .collect();
        let answer = app
            .send(&token, "PATCH", &path, Some(operations(json!(many))))
            .await;
        check(
            "too many",
            400,
            Some("tooMany"),
            (answer.status, &answer.json),
        );
        let after = app.send(&token, "GET", &path, None).await;
        assert_eq!(after.json, ada.json, "{}", database.name);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_filters_are_refused() {
    for database in databases() {
        for kind in [ConnectionKind::Scim, ConnectionKind::OracleIdcs] {
            let app = App::start(&database, &Memory::new()).await;
            let token = app.connection(kind.as_str(), kind).await;
            app.send(&token, "POST", "/Users", Some(user("ada"))).await;
            let deep = format!("{}id pr{}", "(".repeat(3000), ")".repeat(3000));
            let not_deep = format!("{}id pr{}", "not (".repeat(100), ")".repeat(100));
            let long = format!("userName eq \"{}\"", "x".repeat(9000));
            let many = vec!["id pr"; 300].join(" or ");
            for filter in [
                "",
                "x",
                "userName",
                "userName eq",
                "userName eq ada",
                "userName xx \"a\"",
                "eq \"a\"",
                "userName eq \"a",
                "(userName eq \"a\"",
                "userName eq \"a\")",
                "userName eq \"a\" and",
                "userName eq \"a\" xor id pr",
                "not userName pr",
                "emails[",
                "emails[type eq \"work\"",
                "emails[type[x pr] pr]",
                "userName eq {}",
                "userName eq [1]",
                "userName eq 'a'",
                "userName gt 7",
                "active gt true",
                "active eq \"maybe\"",
                "meta.created gt \"soon\"",
                "meta.created co \"2026\"",
                "name eq \"x\"",
                "password eq \"x\"",
                "userName sw null",
                "userName eq \"\\u0000\"",
                "userName co \"a\\u0000b\"",
                "emails[value eq \"\\u0000\"]",
                "unknown eq \"\\u0000\"",
                "userName eq \"\\ud800\"",
                "userName[x pr]",
                "meta.location pr",
                "unknown eq 1e999",
                &deep,
                &not_deep,
                &long,
                &many,
            ] {
                let query = encoded(filter);
                let shown: String = filter.chars().take(60).collect();
                let answer = app
                    .send(&token, "GET", &format!("/Users?filter={query}"), None)
                    .await;
                check(
                    &shown,
                    400,
                    Some("invalidFilter"),
                    (answer.status, &answer.json),
                );
                let search = json!({"filter": filter});
                for path in ["/Users/.search", "/.search"] {
                    let answer = app.send(&token, "POST", path, Some(search.clone())).await;
                    check(
                        &shown,
                        400,
                        Some("invalidFilter"),
                        (answer.status, &answer.json),
                    );
                }
            }
            for query in [
                "count=x",
                "startIndex=x",
                "count=1.5",
                "count=",
                "startIndex=99999999999999999999",
            ] {
                let answer = app
                    .send(&token, "GET", &format!("/Users?{query}"), None)
                    .await;
                check(
                    query,
                    400,
                    Some("invalidValue"),
                    (answer.status, &answer.json),
                );
            }
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_places_and_methods_are_refused() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let id = app
            .send(&token, "POST", "/Users", Some(user("ada")))
            .await
            .id();
        for (method, path, status) in [
            ("PUT", "/Users", 405),
            ("PATCH", "/Users", 405),
            ("DELETE", "/Users", 405),
            ("DELETE", "/Groups", 405),
            ("POST", &format!("/Users/{id}"), 405),
            ("GET", "/Users/.search", 405),
            ("GET", "/.search", 405),
            ("POST", "/Schemas", 405),
            ("DELETE", "/ServiceProviderConfig", 405),
            ("PUT", "/ResourceTypes", 405),
            ("GET", "/Bulk", 405),
            ("POST", "", 405),
            ("DELETE", "/", 405),
            ("GET", "/Me", 501),
            ("PATCH", "/Me", 501),
            ("GET", "/Me/x", 501),
            ("GET", "/Nothing", 404),
            ("GET", "/users", 404),
            ("GET", &format!("/Groups/{id}"), 404),
            ("GET", "/Users/nobody", 404),
            ("GET", "/Users/%00", 404),
            ("GET", "/Users/a%00b", 404),
            ("DELETE", "/Users/%00", 404),
            ("GET", "/Users/%27%20OR%201=1", 404),
            ("GET", &format!("/Users/{}", "x".repeat(3000)), 404),
            ("GET", "/Groups/%F0%9F%98%80", 404),
        ] {
            let answer = app.send(&token, method, path, None).await;
            check(
                &format!("{method} {path}"),
                status,
                None,
                (answer.status, &answer.json),
            );
            // RFC 9110 section 15.5.6.
            assert_eq!(
                answer.headers.contains_key("allow"),
                status == 405,
                "{path}"
            );
        }
        for (method, body) in [
            ("PUT", user("x")),
            ("PATCH", patch("add", "title", json!("x"))),
        ] {
            for path in ["/Users/%00", "/Users/nobody", "/Groups/%00"] {
                let body = if path.starts_with("/Groups") && method == "PUT" {
                    group("x")
                } else {
                    body.clone()
                };
                let answer = app.send(&token, method, path, Some(body)).await;
                check(
                    &format!("{method} {path}"),
                    404,
                    None,
                    (answer.status, &answer.json),
                );
            }
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited_before_they_are_read() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        let token = app.connection("corp", ConnectionKind::Scim).await;
        let id = app
            .send(&token, "POST", "/Users", Some(user("ada")))
            .await
            .id();
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let nested = format!(
            "{{\"schemas\":[\"{}\"],\"userName\":\"x\",\"a\":{}1{}}}",
            schema::USER,
            "{\"a\":".repeat(40),
            "}".repeat(40)
        );
        let syntax = Some("invalidSyntax");
        let good = user("eve").to_string();
        let scim = "application/scim+json";
        for (what, kind, body, status, scim_type) in [
            ("no JSON", scim, b"{".as_slice(), 400, syntax),
            ("nothing", scim, b"", 400, syntax),
            ("two values", scim, b"{} {}", 400, syntax),
            ("no UTF-8", scim, b"{\"userName\":\"\xff\"}", 400, syntax),
            (
                "half a character",
                scim,
                br#"{"userName":"\ud800"}"#,
                400,
                syntax,
            ),
            ("a number too large", scim, b"{\"a\":1e999}", 400, syntax),
            ("deep arrays", scim, deep.as_bytes(), 400, syntax),
            ("deep objects", scim, nested.as_bytes(), 400, syntax),
            ("text", "text/plain", good.as_bytes(), 415, None),
            (
                "a form",
                "application/x-www-form-urlencoded",
                b"a=b",
                415,
                None,
            ),
            ("XML", "application/xml", b"<a/>", 415, None),
        ] {
            for (method, path) in [
                ("POST", "/Users".to_owned()),
                ("PUT", format!("/Users/{id}")),
                ("PATCH", format!("/Users/{id}")),
                ("POST", "/Users/.search".to_owned()),
            ] {
                let head = format!(
                    "{method} /scim/v2{path}\nAuthorization: Bearer {token}\nContent-Type: {kind}\nContent-Length: {}",
                    body.len()
                );
                let answer = raw(&app.scim, &head, body).await;
                let json: Value = serde_json::from_str(&answer.body)
                    .unwrap_or_else(|e| panic!("{what}: {e}: {}", answer.body));
                assert!(
                    answer.head.contains("content-type: application/scim+json"),
                    "{what}"
                );
                check(
                    &format!("{method} {path}: {what}"),
                    status,
                    scim_type,
                    (answer.status, &json),
                );
            }
        }
        // Announced to be too large: refused before it is sent.
        let head = format!(
            "POST /scim/v2/Users\nAuthorization: Bearer {token}\nContent-Type: {scim}\nContent-Length: 17000000"
        );
        let answer = raw(&app.scim, &head, b"").await;
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        check("too large", 413, None, (answer.status, &json));
        // Not announced, and far too large.
        let head = format!(
            "POST /scim/v2/Users\nAuthorization: Bearer {token}\nContent-Type: {scim}\nTransfer-Encoding: chunked"
        );
        let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000));
        let answer = raw(&app.scim, &head, chunk.repeat(17).as_bytes()).await;
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        check("too large in chunks", 413, None, (answer.status, &json));
        // The path must not break the answer either.
        for path in [
            "/Users/%FF",
            "/Users/%zz",
            "/Users?filter=%FF",
            "/Users?%FF=%zz",
        ] {
            let head = format!("GET /scim/v2{path}\nAuthorization: Bearer {token}");
            let answer = raw(&app.scim, &head, b"").await;
            assert!(answer.status < 500, "{path}: {answer:?}");
            if answer.status != 200 {
                let json: Value = serde_json::from_str(&answer.body)
                    .unwrap_or_else(|e| panic!("{path}: {e}: {answer:?}"));
                assert_eq!(json["status"], answer.status.to_string(), "{path}");
            }
        }
        // And it still works.
        let head = format!(
            "POST /scim/v2/Users\nAuthorization: Bearer {token}\nContent-Type: application/json; charset=utf-8\nContent-Length: {}",
            good.len()
        );
        assert_eq!(raw(&app.scim, &head, good.as_bytes()).await.status, 201);
        app.stop().await;
    }
}
