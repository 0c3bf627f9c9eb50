//! The client against a scripted domain: tokens, refusals, patience. Whole pages are read in `tests/it`.

use std::sync::atomic::AtomicUsize;

use serde_json::json;

use super::*;
use crate::domain::{ClientAuth, Grant as GrantKind, PullUsers, SecretRef};
use crate::outbound::script::{Reply, Script, Seen};

fn settings(base_url: &str) -> PullSettings {
    PullSettings {
        base_url: base_url.to_owned(),
        client_id: "client".to_owned(),
        auth: ClientAuth::Secret(SecretRef::Env("X".to_owned())),
        grant: GrantKind::ClientCredentials,
        app_id: None,
        only_granted: false,
        users: PullUsers::All,
        groups: None,
        schedule: None,
        full_every_s: 0,
        requests_per_second: 1000,
    }
}

fn client(base_url: &str, clock: &Clock) -> Idcs {
    let secret = Secret {
        value: "s3cret".into(),
        refresh: None,
    };
    let options = Options {
        backoff: Duration::from_millis(1),
        ..Options::default()
    };
    Idcs::new(&settings(base_url), &[], secret, options, clock.clone()).unwrap()
}

fn token() -> Reply {
    Reply::json(
        200,
        json!({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 1000}),
    )
}

fn empty() -> Reply {
    Reply::json(200, json!({"totalResults": 0}))
}

/// A domain that answers tokens, and pages by `answer`, which is told how many it was asked for before.
async fn domain(
    answer: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
) -> (Script, Idcs, Clock) {
    let asked = AtomicUsize::new(0);
    let script = Script::start(move |seen| {
        if seen.path == "/oauth2/v1/token" {
            token()
        } else {
            answer(asked.fetch_add(1, Ordering::SeqCst), seen)
        }
    })
    .await;
    let clock = Clock::manual(1_750_000_000_000_000);
    let client = client(&script.url(), &clock);
    (script, client, clock)
}

fn lines(script: &Script, path: &str) -> usize {
    script.seen().iter().filter(|it| it.path == path).count()
}

#[tokio::test]
async fn one_token_serves_until_four_fifths_of_its_life_are_over() {
    let (script, client, clock) = domain(|_, _| empty()).await;
    client.users(None, 1).await.unwrap();
    clock.advance_ms(799_000);
    client.users(None, 1).await.unwrap();
    assert_eq!(lines(&script, "/oauth2/v1/token"), 1);
    clock.advance_ms(2_000);
    client.users(None, 1).await.unwrap();
    assert_eq!(lines(&script, "/oauth2/v1/token"), 2);
    let seen = script.seen();
    assert_eq!(
        seen[0].header("authorization"),
        Some("Basic Y2xpZW50OnMzY3JldA==")
    );
    assert_eq!(seen[1].header("authorization"), Some("Bearer t0ken"));
    assert_eq!(seen[1].query("count").as_deref(), Some("1000"));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let refuse_first = |asked: usize, _: &Seen| {
        if asked == 0 {
            Reply::json(401, json!({}))
        } else {
            empty()
        }
    };
    let (script, client, _) = domain(refuse_first).await;
    client.users(None, 1).await.unwrap();
    assert_eq!(lines(&script, "/oauth2/v1/token"), 2);

    let (script, client, _) = domain(|_, _| Reply::json(401, json!({}))).await;
    let error = client.users(None, 1).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(lines(&script, "/admin/v1/Users"), 2);
}

#[tokio::test]
async fn a_refused_secret_says_what_to_compare_and_repeats_nothing() {
    let script = Script::start(|_| {
        Reply::json(401, json!({"error": "invalid_client", "error_description": "Client authentication failed."}))
    })
    .await;
    let client = client(&script.url(), &Clock::System);
    let error = client.users(None, 1).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unauthorized { .. }));
    assert!(
        text.contains("invalid_client") && text.contains("confidential application"),
        "{text}"
    );
    assert!(!text.contains("s3cret"));
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn slow_down_without_a_time_and_stumbles_are_waited_out() {
    let stumbling = |asked: usize, _: &Seen| match asked {
        0..=2 => Reply::text(429, "text/plain", "Too Many Requests"),
        3..=5 => Reply::text(503, "text/plain", "Service Unavailable"),
        _ => empty(),
    };
    let (script, client, _) = domain(stumbling).await;
    client.users(None, 1).await.unwrap();
    assert_eq!(lines(&script, "/admin/v1/Users"), 7);

    let (script, client, _) = domain(|_, _| Reply::text(503, "text/plain", "x")).await;
    let error = client.users(None, 1).await.unwrap_err();
    assert!(matches!(
        error,
        Error::Unavailable {
            throttled: None,
            ..
        }
    ));
    assert_eq!(lines(&script, "/admin/v1/Users"), 4);
}

#[tokio::test]
async fn a_refusal_names_the_reason_and_the_app_role() {
    let refuse = |_: usize, _: &Seen| {
        Reply::json(
            403,
            json!({"detail": "You are not authorized.", ERROR: {"messageId": "error.common.notAuthorized"}}),
        )
    };
    const ERROR: &str = "urn:ietf:params:scim:api:oracle:idcs:extension:messages:Error";
    let (_script, client, _) = domain(refuse).await;
    let users = client.users(None, 1).await.unwrap_err().to_string();
    assert!(
        users.contains("error.common.notAuthorized") && users.contains("Audit Administrator"),
        "{users}"
    );
    let grants = client.grants("app", None, 1).await.unwrap_err().to_string();
    assert!(grants.contains("Application Administrator"), "{grants}");
}

#[tokio::test]
async fn what_is_no_page_is_an_error() {
    let bad = [
        Reply::text(200, "text/html", "<html>"),
        Reply::text(200, "application/json", "{\"totalResults\": 2, \"Resour"),
        Reply::json(200, json!({"status": "ok"})),
        Reply::json(200, json!({"totalResults": 1, "Resources": [{"id": "1"}]})),
        Reply::json(200, json!({"totalResults": 1, "Resources": {"id": "1"}})),
        Reply::json(200, json!([])),
        Reply::json(302, json!({})),
    ];
    for reply in bad {
        let shown = format!("{reply:?}");
        let (_script, client, _) = domain(move |_, _| reply.clone()).await;
        let error = client.users(None, 1).await.unwrap_err();
        assert!(
            matches!(error, Error::Unreadable { .. }),
            "{shown}: {error:?}"
        );
    }
}

#[tokio::test]
async fn users_lose_what_is_the_domains_own() {
    let row = json!({
        "id": "c7df", "ocid": "ocid1", "userName": "ada", "active": true, "meta": {"version": "1"},
        "emails": [
            {"value": "ada@home.example", "type": "recovery", "primary": false},
            {"value": "ada@example.com", "type": "work", "primary": true, "verified": false, "secondary": false},
        ],
        "groups": [{"value": "g1"}, {"value": "g2", "type": "indirect"}],
    });
    let Value::Object(row) = row else { panic!() };
    let user = wire::user(row).unwrap();
    assert_eq!(user.id, "c7df");
    assert_eq!(
        json!(user.doc["emails"]),
        json!([{"value": "ada@example.com", "type": "work", "primary": true}])
    );
    for gone in ["id", "ocid", "meta", "groups", "schemas"] {
        assert!(!user.doc.contains_key(gone), "{gone}");
    }
    assert_eq!(user.groups.len(), 2);
    assert!(user.groups[1].indirect);
}
