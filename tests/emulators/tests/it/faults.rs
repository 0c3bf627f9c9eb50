//! Each way in which a request can go wrong.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use usher_emulators::jira::{Jira, JiraOptions};
use usher_emulators::{Chaos, Fault, FaultKind, Only, RateLimit};

use crate::client::{Client, http, read, start, start_with};

fn new(name: &str) -> Option<Value> {
    Some(json!({ "name": name, "emailAddress": "a@b.c", "displayName": name }))
}

async fn create(client: &Client, name: &str) -> reqwest::Result<u16> {
    client
        .try_send(Method::POST, "/rest/api/2/user", new(name))
        .await
        .map(|reply| reply.status)
}

#[tokio::test]
async fn a_status_comes_with_its_headers_and_without_the_work() {
    let (jira, client) = start();
    jira.fault(Fault::once(FaultKind::throttled(7)).only(Only::Writes));
    jira.fault(Fault::once(FaultKind::status(503)).only(Only::path("serverInfo")));
    assert_eq!(client.get("myself").await.status, 200);
    let throttled = client
        .try_send(Method::POST, "/rest/api/2/user", new("ada"))
        .await
        .unwrap();
    assert_eq!(
        (throttled.status, throttled.header("retry-after")),
        (429, Some("7"))
    );
    for name in ["limit", "remaining", "fillrate", "interval-seconds"] {
        assert!(
            throttled.header(&format!("x-ratelimit-{name}")).is_some(),
            "{name}"
        );
    }
    let unavailable = client.get("serverInfo").await;
    assert_eq!(
        (unavailable.status, unavailable.header("retry-after")),
        (503, None)
    );
    assert!(unavailable.header("x-ratelimit-limit").is_none());
    assert!(jira.user("ada").is_none());
    assert_eq!((jira.pending_faults(), jira.writes()), (0, 1));
    let struck: Vec<_> = jira
        .requests()
        .iter()
        .map(|it| (it.status, it.fault.clone()))
        .collect();
    let status = || Some("status".to_owned());
    assert_eq!(struck, [(200, None), (429, status()), (503, status())]);
    jira.clear_requests();
    assert_eq!((jira.requests().len(), jira.writes()), (0, 0));
}

#[tokio::test]
async fn a_hang_holds_up_nobody_else() {
    let (jira, client) = start();
    let long = Duration::from_millis(1500);
    jira.fault(
        Fault::once(FaultKind::Hang(long))
            .only(Only::method_path("POST", "/user"))
            .times(8),
    );
    let started = Instant::now();
    let hanging: Vec<_> = (0..8)
        .map(|at| {
            let client = client.with(client.authorization.clone());
            tokio::spawn(async move { create(&client, &format!("u{at}")).await })
        })
        .collect();
    while jira.requests().len() < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.get("myself").await.status, 200);
    assert!(started.elapsed() < long, "{:?}", started.elapsed());
    assert!(jira.peak_in_flight() >= 8);
    for task in hanging {
        assert!(task.await.unwrap().is_err());
    }
    assert!(started.elapsed() >= long);
    assert_eq!(jira.users().len(), 1);
}

#[tokio::test]
async fn dropped_before_means_undone_and_dropped_after_means_done() {
    let (jira, client) = start();
    jira.fault(Fault::once(FaultKind::DropBefore).only(Only::Writes));
    jira.fault(Fault::once(FaultKind::DropAfter).only(Only::Writes));
    let error = create(&client, "ada").await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout(), "{error:?}");
    assert!(jira.user("ada").is_none());
    assert!(create(&client, "ada").await.is_err());
    assert!(jira.user("ada").is_some());
    assert_eq!(create(&client, "ada").await.unwrap(), 400);
    assert_eq!(
        (jira.creations("ada"), jira.creation_attempts("ada")),
        (1, 2)
    );
    let recorded: Vec<_> = jira
        .requests()
        .iter()
        .map(|it| (it.status, it.answered, it.changed))
        .collect();
    assert_eq!(
        recorded,
        [(0, false, false), (201, false, true), (400, true, false)]
    );
}

#[tokio::test]
async fn garbage_is_a_page_with_status_200() {
    let (jira, client) = start();
    jira.fault(Fault::once(FaultKind::Garbage));
    let reply = client.get("myself").await;
    assert_eq!((reply.status, &reply.json), (200, &Value::Null));
    assert!(
        reply
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(reply.text.starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn slow_work_is_done_even_for_a_client_that_gave_up() {
    let (jira, client) = start();
    jira.fault(Fault::once(FaultKind::Slow(Duration::from_secs(5))).only(Only::Writes));
    let request = client.request(Method::POST, "/rest/api/2/user", new("ada"));
    let error = read(request.timeout(Duration::from_millis(300)))
        .await
        .err()
        .unwrap();
    assert!(error.is_timeout());
    assert_eq!(jira.creations("ada"), 1);
    // The same with latency, where the work comes after the wait.
    jira.set_latency(Duration::from_millis(250));
    let request = client.request(Method::POST, "/rest/api/2/user", new("bob"));
    assert!(
        read(request.timeout(Duration::from_millis(60)))
            .await
            .err()
            .unwrap()
            .is_timeout()
    );
    assert_eq!(jira.creations("bob"), 0);
    while jira.creations("bob") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    client.get("myself").await;
    assert!(started.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn down_refuses_connections_and_up_is_the_same_port() {
    let (jira, client) = start();
    let url = jira.url();
    assert_eq!(client.get("myself").await.status, 200);
    for _ in 0..5 {
        jira.set_down(true);
        jira.set_down(true);
        // A connection kept alive is closed; what a client makes of that is its own affair.
        let kept = client
            .try_send(Method::GET, "/rest/api/2/myself", None)
            .await;
        assert!(kept.is_err());
        let error = http()
            .get(format!("{url}/rest/api/2/myself"))
            .send()
            .await
            .unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        jira.set_down(false);
        jira.set_down(false);
        assert_eq!(jira.url(), url);
        assert_eq!(client.get("myself").await.status, 200);
    }
    assert_eq!(jira.requests().len(), 6);
}

#[tokio::test]
async fn going_down_breaks_requests_under_way() {
    let (jira, client) = start();
    jira.fault(Fault::once(FaultKind::Slow(Duration::from_secs(30))));
    let slow = {
        let client = client.with(client.authorization.clone());
        tokio::spawn(async move { create(&client, "ada").await })
    };
    while jira.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    jira.set_down(true);
    assert!(slow.await.unwrap().is_err());
    assert!(started.elapsed() < Duration::from_secs(5));
    jira.set_down(false);
    assert!(jira.user("ada").is_some());
}

#[tokio::test]
async fn a_stopped_one_leaves_the_port() {
    let (jira, _client) = start();
    let port: u16 = jira.url().rsplit(':').next().unwrap().parse().unwrap();
    jira.stop();
    let again = Jira::start(JiraOptions {
        port,
        ..JiraOptions::default()
    })
    .unwrap();
    assert_eq!(again.url(), format!("http://127.0.0.1:{port}"));
    assert!(
        Jira::start(JiraOptions {
            port,
            ..JiraOptions::default()
        })
        .is_err()
    );
}

#[tokio::test]
async fn the_bucket_gives_back_with_time() {
    let limit = Some(RateLimit {
        capacity: 3,
        per_second: 20,
    });
    let (jira, client) = start_with(JiraOptions {
        rate_limit: limit,
        ..JiraOptions::default()
    });
    let first = client.get("myself").await;
    assert_eq!(first.header("x-ratelimit-limit"), Some("3"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("2"));
    let mut refused = 0;
    for _ in 0..20 {
        let reply = client.get("myself").await;
        if reply.status == 429 {
            assert_eq!(reply.header("retry-after"), Some("1"));
            refused += 1;
        }
    }
    assert!(refused > 0);
    // Another caller has a bucket of its own.
    let other = client.with_basic("admin", "admin-password");
    assert_eq!(other.get("myself").await.status, 200);
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(client.get("myself").await.status, 200);
    jira.set_rate_limit(None);
    for _ in 0..20 {
        assert_eq!(client.get("myself").await.status, 200);
    }
}

#[tokio::test]
async fn under_chaos_a_stubborn_client_gets_there_without_doing_it_twice() {
    let (jira, client) = start();
    jira.chaos(Some(Chaos::new(42)));
    for at in 0..60 {
        let name = format!("user{at}");
        loop {
            // 201, or 400 because an answer was lost after the work.
            if let Ok(status @ (201 | 400)) = create(&client, &name).await {
                assert!(status == 201 || jira.creation_attempts(&name) > 1);
                break;
            }
        }
    }
    jira.chaos(None);
    assert_eq!(jira.users().len(), 61);
    assert!((0..60).all(|at| jira.creations(&format!("user{at}")) == 1));
    let kinds: std::collections::BTreeSet<_> = jira
        .requests()
        .into_iter()
        .filter_map(|it| it.fault)
        .collect();
    assert!(kinds.len() >= 4, "{kinds:?}");
    jira.clear_requests();
    assert_eq!(create(&client, "calm").await.unwrap(), 201);
    assert_eq!(jira.requests()[0].fault, None);
}
