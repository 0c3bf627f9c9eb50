//! Nothing that a caller can send makes the server fail: mutated bodies, filters, paths, headers and tokens, over
//! HTTP. A short run here; `USHER_FUZZ_SECONDS=3600 cargo test -p usher --test it fuzz::` is a long one, and
//! `USHER_TEST_SEED` repeats one. Beside that, what a fuzzer that is guided by coverage found (`./run fuzz`) is read again.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use usher::domain::ConnectionKind;
use usher::targets::memory::Memory;

use super::harness::{App, sqlite};

#[path = "../fuzz/entry.rs"]
mod entry;

/// What real requests look like, and what once went wrong elsewhere.
const BODIES: &[&str] = &[
    r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada","displayName":"Ada","active":"True","emails":[{"value":"ada@example.com","type":"work","primary":true}],"name":{"givenName":"Ada","familyName":"Byron"}}"#,
    r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"emails[type eq \"work\"].value","value":"x@example.com"},{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"R&D"},{"op":"remove","path":"groups"}]}"#,
    r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","value":{"active":false,"name.familyName":"x"}}]}"#,
    r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"jira-users","members":[{"value":"1","type":"User"},{"value":"2"}]}"#,
    r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"failOnErrors":1,"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"b"}},{"method":"PATCH","path":"/Groups/bulkId:a","data":{"Operations":[]}}]}"#,
    r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"userName sw \"a\"","attributes":["userName"],"sortBy":"name.familyName","startIndex":1,"count":10}"#,
    r#"{"user":"ada","targets":["jira"]}"#,
];

const FILTERS: &[&str] = &[
    r#"userName eq "ada""#,
    r#"emails[type eq "work" and value co "@example.com"] or not (active eq false)"#,
    r#"meta.lastModified gt "2026-01-01T00:00:00Z" and members.value pr"#,
    r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department sw "R""#,
];

const PATHS: &[(&str, &str)] = &[
    ("POST", "/scim/v2/Users"),
    ("PUT", "/scim/v2/Users/ID"),
    ("PATCH", "/scim/v2/Users/ID"),
    ("POST", "/scim/v2/Groups"),
    ("PATCH", "/scim/v2/Groups/GROUP"),
    ("PUT", "/scim/v2/Groups/GROUP"),
    ("POST", "/scim/v2/Bulk"),
    ("POST", "/scim/v2/.search"),
    ("POST", "/scim/v2/Users/.search"),
    ("GET", "/scim/v2/Users"),
    ("GET", "/scim/v2/Groups"),
    ("GET", "/scim/v2/Users/ID"),
    ("DELETE", "/scim/v2/Users/x"),
    ("POST", "/oauth2/v1/token"),
    ("POST", "/hooks/login"),
    ("GET", "/hooks/forward-auth"),
    ("GET", "/api/v1/status"),
];

/// Pieces that parsers stumble over.
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\u{1F600}",
    "ß",
    "İ",
    "[[[[[[[[",
    "{\"a\":",
    "null",
    "true",
    "-0",
    "1e999",
    "9223372036854775808",
    "[]",
    "{}",
    "\"\"",
    " and ",
    " or not (",
    ")",
    "]",
    ".",
    ":",
    "urn:",
    "bulkId:",
    "%00",
    "%ff",
    "%2e%2e",
    "\r\n",
    "$ref",
    "value",
    "primary",
    "members",
    "emails[",
    "eq",
];

/// Each input that once led somewhere new, by the same functions that the fuzzer calls.
#[test]
fn the_parsers_take_what_the_fuzzer_found() {
    let corpus = include_str!("../fuzz/corpus.jsonl");
    let mut read = 0;
    for line in corpus.lines() {
        let input: String = serde_json::from_str(line).unwrap();
        entry::run(input.as_bytes());
        read += 1;
    }
    assert!(read >= 20, "{read}");
}

struct Source(StdRng);

impl Source {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// A text with a few pieces put in, taken out, doubled or exchanged.
    fn mutated(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..self.below(5) {
            let at = self.below(chars.len() + 1);
            let end = (at + self.below(12)).min(chars.len());
            match self.below(5) {
                0 => drop(chars.drain(at..end)),
                1 => {
                    let piece = self.of(PIECES);
                    chars.splice(at..at, piece.chars());
                }
                2 => {
                    let piece = self.of(PIECES);
                    chars.splice(at..end, piece.chars());
                }
                3 => {
                    let copy: Vec<char> = chars[at..end].to_vec();
                    chars.splice(at..at, copy);
                }
                _ => {
                    let other: Vec<char> = self.of(BODIES).chars().collect();
                    let from = self.below(other.len());
                    let to = (from + self.below(40)).min(other.len());
                    chars.splice(at..end, other[from..to].iter().copied());
                }
            }
        }
        chars.into_iter().collect()
    }

    fn query(&mut self) -> String {
        let name = self.of(&[
            "filter",
            "sortBy",
            "attributes",
            "excludedAttributes",
            "startIndex",
            "count",
            "cursor",
            "target",
        ]);
        let seed = self.of(FILTERS);
        let value = self.mutated(seed);
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("?{name}={encoded}")
    }

    /// A credential: the right one, or one that is nearly right.
    fn credential(&mut self, token: &str) -> String {
        match self.below(6) {
            0 => self.mutated(&format!("Bearer {token}")),
            1 => self.mutated("Basic YWRhOnNlY3JldA=="),
            2 => self.mutated("Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJhZGEiLCJhdWQiOiJ4IiwiZXhwIjoxfQ.c2ln"),
            _ => format!("Bearer {token}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_makes_the_server_fail_or_hang() {
    let seconds = std::env::var("USHER_FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed = std::env::var("USHER_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::rng().random());
    eprintln!("USHER_TEST_SEED={seed}");
    let mut source = Source(StdRng::seed_from_u64(seed));
    let app = App::start(&sqlite(), &Memory::new()).await;
    let mut worlds = Vec::new();
    for (name, kind) in [
        ("idcs", ConnectionKind::OracleIdcs),
        ("rfc", ConnectionKind::Scim),
    ] {
        let token = app.connection(name, kind).await;
        let user = serde_json::from_str(&BODIES[0].replace("\"True\"", "true")).unwrap();
        let user = app.send(&token, "POST", "/Users", Some(user)).await.id();
        let group = serde_json::json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": "fuzz", "members": [{"value": user}]});
        let group = app.send(&token, "POST", "/Groups", Some(group)).await.id();
        worlds.push((token, user, group));
    }
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let started = Instant::now();
    let (mut sent, mut taken, mut cut) = (0, 0, 0);
    let go_on = |sent: usize| match seconds {
        Some(seconds) => started.elapsed() < Duration::from_secs(seconds),
        None => sent < 1500,
    };
    while go_on(sent) {
        let (token, user, group) = worlds[source.below(worlds.len())].clone();
        let (method, path) = PATHS[source.below(PATHS.len())];
        let path = path.replace("ID", &user).replace("GROUP", &group);
        let query = if source.below(3) == 0 {
            source.query()
        } else {
            String::new()
        };
        let url = format!("{}{path}{query}", app.base());
        let seed_body = source.of(BODIES);
        let body = source.mutated(seed_body);
        let mut request = client.request(method.parse().unwrap(), &url);
        let credential = source.credential(&token);
        if let Ok(value) = reqwest::header::HeaderValue::from_bytes(credential.as_bytes()) {
            request = request.header("Authorization", value);
        }
        if source.below(8) == 0 {
            let tag = source.mutated("W/\"3\", \"x\"");
            if let Ok(value) = reqwest::header::HeaderValue::from_bytes(tag.as_bytes()) {
                request = request.header("If-Match", value);
            }
        }
        if method != "GET" {
            request = request
                .header("Content-Type", "application/scim+json")
                .body(body.clone());
        }
        let what =
            format!("seed {seed}, request {sent}: {method} {path}{query}\n{credential}\n{body}");
        // A connection that was kept may be closed by the other side just then. A request that breaks the server
        // breaks it on a new one, too.
        let again = request.try_clone().unwrap();
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(_) => {
                cut += 1;
                let second = again.send().await;
                second.unwrap_or_else(|error| panic!("{what}\n{error:?}"))
            }
        };
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        // Logins are not set up here, and say so.
        let says_so = path.starts_with("/hooks") && status == 503;
        assert!(
            status < 500 || says_so || status == 501,
            "{what}\n{status} {text}"
        );
        taken += usize::from(status < 300);
        sent += 1;
    }
    eprintln!(
        "{sent} requests, {taken} taken, {cut} sent again, {:?}",
        started.elapsed()
    );
    assert!(
        cut * 1000 <= sent.max(2000),
        "{cut} of {sent} connections were cut"
    );
    // Enough gets past the first check to be a test of what comes after it.
    assert!(taken * 20 > sent, "{taken} of {sent} were taken");
    let (token, user, _) = &worlds[0];
    let path = format!("/Users/{user}");
    assert!(app.send(token, "GET", &path, None).await.status < 500);
    app.drain().await;
    app.stop().await;
}
