//! Who may come in from where, and the id by which a refused request is found again.

use serde_json::json;
use usher::http::Doors;
use usher::store::audit;
use usher::targets::memory::Memory;

use super::harness::{App, databases, get_text, sqlite};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

#[tokio::test(flavor = "multi_thread")]
async fn each_door_has_a_list_of_its_own_and_says_in_its_own_way_that_it_is_closed() {
    let doors = Doors {
        proxies: "127.0.0.1".parse().unwrap(),
        scim: Some("192.0.2.0/24".parse().unwrap()),
        hook: Some("198.51.100.7".parse().unwrap()),
        admin: Some("2001:db8::/32".parse().unwrap()),
        ..Doors::default()
    };
    let app = App::start_with(&sqlite(), &Memory::new(), doors).await;
    // Path, type of the refusal, status without a credential, and who may come in.
    let places = [
        ("/scim/v2/Users", "application/scim+json", 401, "192.0.2.9"),
        ("/oauth2/v1/token", "application/json", 405, "192.0.2.9"),
        (
            "/hooks/forward-auth",
            "application/json",
            401,
            "198.51.100.7",
        ),
        (
            "/api/v1/status",
            "application/problem+json",
            401,
            "2001:db8::7",
        ),
        ("/sign-in", "text/html; charset=utf-8", 200, "2001:db8::7"),
    ];
    let callers = ["192.0.2.9", "198.51.100.7", "2001:db8::7", "203.0.113.1"];
    for (path, kind, inside, own) in places {
        let url = format!("{}{path}", app.base());
        for caller in callers {
            let from = [("X-Forwarded-For", caller)];
            let (status, text) = get_text(&url, &from).await;
            if caller == own {
                assert_eq!(status, inside, "{path} from {caller}: {text}");
                continue;
            }
            assert_eq!(status, 403, "{path} from {caller}: {text}");
            assert!(text.contains("this address is not on the list"), "{text}");
            let answer = super::harness::kind_of(&url, &from).await;
            assert_eq!(answer, kind, "{path}");
        }
    }
    for path in ["/healthz", "/readyz", "/help"] {
        let from = [("X-Forwarded-For", "203.0.113.1")];
        let (status, _) = get_text(&format!("{}{path}", app.base()), &from).await;
        assert_eq!(status, 200, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_by_calling_itself_somebody_else() {
    let doors = Doors {
        scim: Some("192.0.2.0/24".parse().unwrap()),
        ..Doors::default()
    };
    let app = App::start_with(&sqlite(), &Memory::new(), doors).await;
    let url = format!("{}/scim/v2/Users", app.base());
    let (status, _) = get_text(&url, &[("X-Forwarded-For", "192.0.2.9")]).await;
    assert_eq!(status, 403);
    app.stop().await;

    // Nor is the address of the server what an unknown caller says.
    let app = App::start(&sqlite(), &Memory::new()).await;
    let token = app
        .connection("corp", usher::domain::ConnectionKind::Scim)
        .await;
    let forged = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example.com"),
    ];
    let body = json!({"userName": "ada", "schemas": [USER]});
    let made = app
        .send_with(&token, "POST", "/Users", Some(body), &forged)
        .await;
    let location = made.json["meta"]["location"].as_str().unwrap();
    assert!(location.starts_with(&app.scim), "{location}");
    app.stop().await;
}

const CONFIGURATION: &str = r#"
[[connection]]
name = "corp"
kind = "scim"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = { env = "NONE" }

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_request_stands_in_its_answer_in_its_error_and_in_what_follows_from_it() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.apply(CONFIGURATION).await;
        let token = app.token("corp").await;
        let errors = [
            ("wrong", "GET", "/Users", None, 401),
            (token.as_str(), "GET", "/Users/nobody", None, 404),
            (&token, "GET", "/Users?filter=x", None, 400),
            (&token, "POST", "/Users", Some(json!({"userName": 1})), 400),
            (&token, "POST", "/ResourceTypes", Some(json!({})), 405),
            (&token, "GET", "/Nothing", None, 404),
        ];
        for (token, method, path, body, status) in errors {
            let reply = app.send(token, method, path, body).await;
            assert_eq!(reply.status, status, "{path}: {}", reply.json);
            let id = reply.headers["x-request-id"].to_str().unwrap();
            let detail = reply.json["detail"].as_str().unwrap();
            assert!(
                detail.ends_with(&format!(" (request {id})")),
                "{id}: {detail}"
            );
        }
        let url = format!("{}/api/v1/status", app.base());
        let (_, text) = get_text(&url, &[("X-Request-Id", "from-proxy-1")]).await;
        assert!(text.contains("(request from-proxy-1)"), "{text}");
        // What is no id is not repeated.
        let (_, text) = get_text(&url, &[("X-Request-Id", "<script>alert(1)")]).await;
        assert!(
            text.contains("(request 0") && !text.contains("script"),
            "{text}"
        );

        let person = json!({"schemas": [USER], "userName": "ada", "displayName": "Ada Byron",
            "emails": [{"value": "ada@example.com", "primary": true}]});
        let given = [("X-Request-Id", "push-0001")];
        let made = app
            .send_with(&token, "POST", "/Users", Some(person), &given)
            .await;
        assert_eq!(made.headers["x-request-id"], "push-0001");
        app.drain().await;
        let query = audit::Query::default();
        let rows = app
            .store()
            .read(move |conn| audit::page(conn, &query, 10))
            .await
            .unwrap();
        let row = rows
            .iter()
            .find(|row| row.operation == "create_user")
            .unwrap();
        assert!(row.cause.contains("(request push-0001)"), "{}", row.cause);
        app.stop().await;
    }
}
