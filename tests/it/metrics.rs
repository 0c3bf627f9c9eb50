//! What Prometheus is told, to whom, and that dashboard and alert rules ask for nothing else.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use usher::domain::Role;
use usher::http::Doors;
use usher::targets::memory::Memory;

use super::harness::{App, Database, databases, get_text, sqlite};

const CONFIGURATION: &str = r#"
[[connection]]
name = "corp"
kind = "oracle-idcs"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = { env = "NONE" }
token_expires = "2025-07-01"

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"
"#;

async fn api_token(app: &App) -> String {
    let seat = &app.parts.state.seat;
    let made = seat.new_token("prometheus", Role::Auditor, "test", None);
    format!("Bearer {}", made.await.unwrap().1.expose_secret())
}

async fn scrape(app: &App) -> String {
    let token = api_token(app).await;
    let url = format!("{}/metrics", app.base());
    let (status, text) = get_text(&url, &[("Authorization", &token)]).await;
    assert_eq!(status, 200, "{text}");
    text
}

/// A server that has done something of everything.
async fn busy(database: &Database) -> App {
    let memory = Memory::new();
    let app = App::start(database, &memory).await;
    app.apply(CONFIGURATION).await;
    let token = app.token("corp").await;
    let person = json!({"userName": "ada.byron", "displayName": "Ada Byron",
        "emails": [{"value": "ada@example.com", "primary": true}]});
    let made = app.send(&token, "POST", "/Users", Some(person)).await;
    assert_eq!(made.status, 201, "{}", made.json);
    app.clock.advance_ms(300);
    app.drain().await;
    let none = app.send(&token, "GET", "/Users/nobody", None).await;
    assert_eq!(none.status, 404);
    let waits = json!({"userName": "no.address", "displayName": "No Address"});
    app.send(&token, "POST", "/Users", Some(waits)).await;
    app.clock.advance_ms(60_000);
    app.parts.engine.metrics().alert("webhook", "sent");
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_how_things_stand_is_told_without_a_name_of_a_person() {
    for database in databases() {
        let app = busy(&database).await;
        let text = scrape(&app).await;
        for line in [
            "usher_http_requests_total{method=\"POST\",route=\"/scim/v2/Users\",status=\"201\"} 2",
            "usher_http_requests_total{method=\"GET\",route=\"/scim/v2/Users/{id}\",status=\"404\"} 1",
            "usher_operations_total{product=\"jira-dc\",target=\"jira\",operation=\"create_user\",outcome=\"done\"} 1",
            "usher_effect_seconds_sum{product=\"jira-dc\",target=\"jira\"} 0.3",
            "usher_effect_seconds_count{product=\"jira-dc\",target=\"jira\"} 1",
            "usher_queue_items{target=\"jira\",state=\"pending\"} 1",
            "usher_queue_oldest_seconds{target=\"jira\",state=\"pending\"} 60",
            "usher_target_state{target=\"jira\",state=\"up\"} 1",
            "usher_target_state{target=\"jira\",state=\"down\"} 0",
            "usher_held_people{target=\"jira\"} 0",
            "usher_last_push_timestamp_seconds{connection=\"corp\"} 1750000000",
            "usher_credential_expires_days{kind=\"target\",of=\"jira\",id=\"\"} 16",
            "usher_database_connections_max 6",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
        for name in ["ada", "Ada", "example.com", "address"] {
            assert!(!text.contains(name), "{name}\n{text}");
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_paths_and_methods_make_no_new_series() {
    let app = busy(&sqlite()).await;
    let token = app.token("corp").await;
    let series = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter(|line| line.contains("_requests_total{"))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let mut seen: Vec<BTreeSet<String>> = Vec::new();
    for round in 0..3 {
        for n in 0..5 {
            let user = format!("/Users/{round}-{n}");
            app.send(&token, "GET", &user, None).await;
            let nowhere = format!("{}/no/{round}/{n}", app.base());
            assert_eq!(get_text(&nowhere, &[]).await.0, 404);
            let method = format!("M{round}X{n}");
            app.send(&token, &method, "/Users", None).await;
        }
        seen.push(series(&scrape(&app).await));
    }
    // The first scrape counts itself only in the second one.
    assert_eq!(seen[1], seen[2]);
    assert!(seen[0].len() + 1 == seen[1].len(), "{seen:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_it_without_a_token_or_a_place_on_the_list() {
    let database = sqlite();
    let app = App::start(&database, &Memory::new()).await;
    let url = format!("{}/metrics", app.base());
    let (status, text) = get_text(&url, &[]).await;
    assert_eq!(status, 401, "{text}");
    assert!(
        text.contains("API token") && !text.contains("usher_"),
        "{text}"
    );
    let wrong = [("Authorization", "Bearer wrong")];
    assert_eq!(get_text(&url, &wrong).await.0, 401);
    app.stop().await;

    let listed = Doors {
        metrics: "127.0.0.0/8".parse().unwrap(),
        ..Doors::default()
    };
    let app = App::start_with(&database, &Memory::new(), listed).await;
    let (status, text) = get_text(&format!("{}/metrics", app.base()), &[]).await;
    assert_eq!(status, 200, "{text}");
    app.stop().await;
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("usher_") || word.starts_with("process_"))
        .map(ToOwned::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alert_rules_ask_for_metrics_that_exist() {
    let app = busy(&sqlite()).await;
    let text = scrape(&app).await;
    let told: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with("# HELP"))
        .filter_map(|line| match line.strip_prefix("# TYPE ") {
            // A family without a value, as that of runs here, is there too.
            Some(family) => family.split(' ').next(),
            None => line.split(['{', ' ']).next(),
        })
        .collect();
    let dashboard: Value =
        serde_json::from_str(include_str!("../../docker/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let asked: Vec<String> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    assert!(asked.len() >= 15, "{asked:?}");
    let rules = include_str!("../../docker/monitoring/alerts.yml");
    let expressions: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert!(expressions.len() >= 10, "{expressions:?}");
    let wanted = names(&[asked.join("\n"), expressions.join("\n")].concat());
    assert!(wanted.len() >= 12, "{wanted:?}");
    for name in &wanted {
        assert!(
            told.contains(name.as_str()),
            "{name} is told by no metric: {told:?}"
        );
    }
    // And the other way round: what is in the guide is there.
    let guide = include_str!("../../src/help/monitoring.md");
    for name in names(guide) {
        let base = name.trim_end_matches("_total");
        assert!(text.contains(base), "the guide names {name}");
    }
    app.stop().await;
}
