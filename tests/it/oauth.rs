//! `/oauth2/v1/token`: access tokens for identity providers, and whatever is wrong with one.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use usher::auth;
use usher::domain::ConnectionKind;
use usher::store::{self, tokens};
use usher::targets::memory::Memory;

use super::harness::{App, Database, Process, Reply, databases};
use super::scim::user;
use super::store::lines;

const TOKEN: &str = "/oauth2/v1/token";

/// A client id and secret for a connection, as `usher token create --client` makes them.
fn client(database: &Database, connection: &str, more: &[&str]) -> (String, String) {
    let mut arguments = vec!["token", "create", connection, "--client"];
    arguments.extend(more);
    let printed = Process::run(database, &arguments);
    let mut lines = printed.lines();
    let (id, secret) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(
        id.starts_with("usher-") && secret.starts_with("usher_"),
        "{printed}"
    );
    (id.to_owned(), secret.to_owned())
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

async fn by_client(app: &App, id: &str, secret: &str) -> Reply {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
    ];
    app.form(TOKEN, &fields, &[]).await
}

fn token_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.json);
    reply.json["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_templates_get_a_token_and_push_with_it() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.connection("corp", ConnectionKind::OracleIdcs).await;
        app.connection("other", ConnectionKind::OracleIdcs).await;
        let (id, secret) = client(&database, "corp", &[]);
        let password = Process::run(&database, &["token", "create", "corp", "--basic", "idcs"]);
        let foreign = Process::run(&database, &["token", "create", "other", "--basic", "idcs2"]);
        let in_body = by_client(&app, &id, &secret).await;
        assert_eq!(in_body.json["token_type"], "Bearer");
        assert_eq!(in_body.json["expires_in"], 3600);
        assert_eq!(in_body.headers["cache-control"], "no-store");
        let header = basic(&id, &secret);
        let header = [("Authorization", header.as_str())];
        let in_header = app
            .form(
                TOKEN,
                &[("grant_type", "client_credentials"), ("scope", "a b")],
                &header,
            )
            .await;
        let mut fields = [
            ("grant_type", "password"),
            ("username", "idcs"),
            ("password", password.trim()),
        ];
        let by_password = app.form(TOKEN, &fields, &header).await;
        for (n, reply) in [in_body, in_header, by_password].iter().enumerate() {
            let token = token_of(reply);
            let made = app
                .send(&token, "POST", "/Users", Some(user(&format!("u{n}"))))
                .await;
            assert_eq!(made.status, 201, "{} {}", database.name, made.json);
        }
        // A password of another connection is none.
        fields[1].1 = "idcs2";
        fields[2].1 = foreign.trim();
        let refused = app.form(TOKEN, &fields, &header).await;
        assert_eq!(
            (refused.status, &refused.json["error"]),
            (400, &json!("invalid_grant"))
        );
        // The secret itself opens nothing.
        let direct = app.send(&secret, "GET", "/Users", None).await;
        assert_eq!(direct.status, 401);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.connection("corp", ConnectionKind::Scim).await;
        let (id, secret) = client(&database, "corp", &[]);
        let status = async |token: &str| app.send(token, "GET", "/Users", None).await.status;
        let token = token_of(&by_client(&app, &id, &secret).await);
        assert_eq!(status(&token).await, 200);
        app.clock.advance_ms(3_599_000);
        assert_eq!(status(&token).await, 200);
        app.clock.advance_ms(1_000);
        assert_eq!(status(&token).await, 401, "{}", database.name);

        // A key signs for 30 days, and what it signed last is still good under the next one.
        let days = |n: i64| n * 86_400_000;
        app.clock.advance_ms(days(30) - 3_600_000 - 60_000);
        let old = token_of(&by_client(&app, &id, &secret).await);
        app.clock.advance_ms(120_000);
        let new = token_of(&by_client(&app, &id, &secret).await);
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        assert_ne!(kid(&old), kid(&new));
        assert_eq!((status(&old).await, status(&new).await), (200, 200));
        // Keys that no valid token is signed with are gone at the next change.
        app.clock.advance_ms(days(31));
        let newest = token_of(&by_client(&app, &id, &secret).await);
        let keys = lines(
            app.store(),
            "SELECT id AS line FROM signing_key ORDER BY id",
        )
        .await;
        assert_eq!(keys, [kid(&newest)]);
        // Only encrypted ones are stored.
        let sealed = lines(app.store(), "SELECT sealed AS line FROM signing_key").await;
        assert!(sealed[0].starts_with("v1."), "{sealed:?}");

        // Who ends the credential ends its tokens.
        let listed = Process::run(&database, &["token", "list", "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let credential = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["scheme"] == "client")
            .unwrap();
        assert_eq!(credential["label"], id.as_str());
        assert_eq!(status(&newest).await, 200);
        Process::run(
            &database,
            &["token", "revoke", credential["id"].as_str().unwrap()],
        );
        app.clock.advance_ms(5_001);
        assert_eq!(status(&newest).await, 401);
        assert_eq!(by_client(&app, &id, &secret).await.status, 401);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_outlives_its_credential() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.connection("corp", ConnectionKind::Scim).await;
        let secret: SecretString = auth::new_secret();
        let digest = auth::client_digest("c", &secret);
        let now = app.clock.now();
        app.store()
            .write(move |tx| -> Result<(), store::Error> {
                let id = tokens::connection_named(tx.conn(), "corp")?.unwrap();
                let scheme = tokens::CredentialScheme::Client;
                tokens::insert(tx, &id, scheme, "c", &digest, Some(now + 600_000_000), now)?;
                Ok(())
            })
            .await
            .unwrap();
        let reply = by_client(&app, "c", secret.expose_secret()).await;
        assert_eq!(reply.json["expires_in"], 600);
        app.clock.advance_ms(600_000);
        let token = token_of(&reply);
        assert_eq!(app.send(&token, "GET", "/Users", None).await.status, 401);
        assert_eq!(
            by_client(&app, "c", secret.expose_secret()).await.status,
            401
        );
        app.stop().await;
    }
}

/// Tokens that somebody made up, or took from elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_refused() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.connection("corp", ConnectionKind::Scim).await;
        let (id, secret) = client(&database, "corp", &[]);
        let token = token_of(&by_client(&app, &id, &secret).await);
        let parts: Vec<&str> = token.split('.').collect();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let with = |name: &str, value: Value| {
            let mut changed = claims.clone();
            changed[name] = value;
            changed
        };
        let kid = header["kid"].as_str().unwrap();
        let signed = |kid: Option<&str>, claims: &Value, key: &[u8]| {
            let header = Header {
                kid: kid.map(ToOwned::to_owned),
                ..Header::new(Algorithm::HS256)
            };
            jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(key)).unwrap()
        };
        let other_kid = usher::domain::new_id();
        for (what, forged) in [
            (
                "alg none",
                format!(
                    "{}.{}.",
                    encode(&json!({"alg": "none", "kid": kid})),
                    parts[1]
                ),
            ),
            (
                "alg none, signed",
                format!(
                    "{}.{}.{}",
                    encode(&json!({"alg": "none", "kid": kid})),
                    parts[1],
                    parts[2]
                ),
            ),
            (
                "changed claims",
                format!(
                    "{}.{}.{}",
                    parts[0],
                    encode(&with("exp", json!(9_999_999_999i64))),
                    parts[2]
                ),
            ),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("another key", signed(Some(kid), &claims, b"another key")),
            ("an empty key", signed(Some(kid), &claims, b"")),
            (
                "the key id as key",
                signed(Some(kid), &claims, kid.as_bytes()),
            ),
            ("an unknown kid", signed(Some(&other_kid), &claims, b"x")),
            ("no kid", signed(None, &claims, b"x")),
            (
                "an odd kid",
                signed(Some("'; DROP TABLE signing_key; --\0"), &claims, b"x"),
            ),
            ("three dots of nothing", "..".to_owned()),
            ("no JWT", "a.b.c".to_owned()),
            (
                "RS256 of nobody",
                format!(
                    "{}.{}.{}",
                    encode(&json!({"alg": "RS256", "kid": kid})),
                    parts[1],
                    parts[2]
                ),
            ),
        ] {
            let refused = app.send(&forged, "GET", "/Users", None).await;
            assert_eq!(
                refused.status, 401,
                "{} {what}: {}",
                database.name, refused.json
            );
        }
        assert_eq!(app.send(&token, "GET", "/Users", None).await.status, 200);
        app.stop().await;
    }
    // Replayed from another server: the same connection, other keys.
    let (mine, theirs) = (super::harness::sqlite(), super::harness::sqlite());
    let (here, there) = (
        App::start(&mine, &Memory::new()).await,
        App::start(&theirs, &Memory::new()).await,
    );
    here.connection("corp", ConnectionKind::Scim).await;
    there.connection("corp", ConnectionKind::Scim).await;
    let (id, secret) = client(&theirs, "corp", &[]);
    let token = token_of(&by_client(&there, &id, &secret).await);
    assert_eq!(there.send(&token, "GET", "/Users", None).await.status, 200);
    assert_eq!(here.send(&token, "GET", "/Users", None).await.status, 401);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_say_what_is_wrong() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.connection("corp", ConnectionKind::Scim).await;
        let (id, secret) = client(&database, "corp", &[]);
        let good = basic(&id, &secret);
        let wrong = basic(&id, "usher_wrong");
        let grant = ("grant_type", "client_credentials");
        for (fields, header, status, error) in [
            (vec![], Some(&good), 400, "invalid_request"),
            (vec![grant, grant], Some(&good), 400, "invalid_request"),
            (
                vec![("grant_type", "authorization_code")],
                Some(&good),
                400,
                "unsupported_grant_type",
            ),
            (
                vec![("grant_type", "password")],
                Some(&good),
                400,
                "invalid_request",
            ),
            (vec![grant], None, 401, "invalid_client"),
            (vec![grant, ("client_id", &id)], None, 401, "invalid_client"),
            (
                vec![grant, ("client_secret", &secret)],
                Some(&good),
                400,
                "invalid_request",
            ),
            (vec![grant], Some(&wrong), 401, "invalid_client"),
            (
                vec![grant, ("client_id", "x"), ("client_secret", &secret)],
                None,
                401,
                "invalid_client",
            ),
            (
                vec![grant],
                Some(&"Bearer x".to_owned()),
                401,
                "invalid_client",
            ),
        ] {
            let headers: Vec<(&str, &str)> = header
                .iter()
                .map(|h| ("Authorization", h.as_str()))
                .collect();
            let reply = app.form(TOKEN, &fields, &headers).await;
            assert_eq!(
                (reply.status, &reply.json["error"]),
                (status, &json!(error)),
                "{fields:?} {}",
                reply.json
            );
            assert_eq!(
                reply.headers.contains_key("www-authenticate"),
                status == 401
            );
            assert!(!reply.json.to_string().contains(&secret));
        }
        let huge = "x".repeat(20_000);
        let reply = app.form(TOKEN, &[("grant_type", &huge)], &[]).await;
        assert_eq!(reply.status, 400);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_keeps_trying_waits_and_the_right_one_does_not() {
    for database in databases() {
        let app = App::start(&database, &Memory::new()).await;
        app.connection("corp", ConnectionKind::Scim).await;
        let (id, secret) = client(&database, "corp", &[]);
        let mut statuses = Vec::new();
        for n in 0..12 {
            statuses.push(by_client(&app, &id, &format!("usher_{n}")).await.status);
        }
        assert_eq!(
            statuses,
            [[401; 10].as_slice(), &[429; 2]].concat(),
            "{}",
            database.name
        );
        let held = by_client(&app, &id, "usher_x").await;
        assert_eq!(held.headers["retry-after"], "61");
        assert_eq!(by_client(&app, &id, &secret).await.status, 200);
        app.clock
            .advance_ms(i64::try_from(Duration::from_secs(60).as_millis()).unwrap());
        assert_eq!(by_client(&app, &id, "usher_x").await.status, 401);
        app.stop().await;
    }
}

/// The program itself: makes its master key, and does not start with another one and forget about it.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_keeps_its_master_key_beside_the_database() {
    let database = super::harness::sqlite();
    let file = database.folder().join("usher.toml");
    std::fs::write(&file, "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n").unwrap();
    Process::run(&database, &["apply", &file.to_string_lossy()]);
    let (id, secret) = client(&database, "corp", &["--expires-in-days", "7"]);
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", id.as_str()),
        ("client_secret", &secret),
    ];
    let mut kids = Vec::new();
    for _ in 0..2 {
        let process = Process::serve(&database, super::harness::free_port(), &[]).await;
        let reply =
            super::harness::form(&process.scim.replace("/scim/v2", TOKEN), &fields, &[]).await;
        let token = token_of(&reply);
        kids.push(jsonwebtoken::decode_header(&token).unwrap().kid);
        assert!(database.folder().join("usher.key").exists());
        assert!(!process.log().contains(&secret) && !process.log().contains(&token));
        process.terminate();
    }
    assert_eq!(kids[0], kids[1]);
}
