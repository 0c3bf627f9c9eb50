//! How many requests many new people cost at each product, beside the least that its interface allows.

use std::sync::Arc;

use serde_json::{Value, json};
use usher::domain::{TargetKind, TargetSettings};
use usher::store::work;
use usher::targets;

use super::harness::{Account, App, Product, credential, sqlite};

const PEOPLE: usize = 200;
const GROUPS: usize = 20;
/// Each person is in so many of them.
const GROUPS_EACH: usize = 2;

/// The least requests for that many people.
fn least(kind: TargetKind, people: usize) -> usize {
    let (accounts, memberships) = (people, people * GROUPS_EACH);
    // How many of them one request puts into a group.
    let at_once = GROUPS * (memberships / GROUPS).div_ceil(100);
    match kind {
        TargetKind::JiraDc | TargetKind::ConfluenceDc | TargetKind::Crowd => {
            accounts + GROUPS + memberships
        }
        // An account takes three: its number is not told when it is made, and the password that stood in an address
        // must not stay.
        TargetKind::BitbucketDc => accounts * 3 + GROUPS + at_once,
        TargetKind::AtlassianGuard => accounts + GROUPS + at_once,
    }
}

async fn push(app: &App, token: &str, path: &str, body: Value) -> String {
    let reply = app.send(token, "POST", path, Some(body)).await;
    assert_eq!(reply.status, 201, "{path}: {}", reply.json);
    reply.id()
}

/// Everyone is pushed before the engine begins, as after the first full push of a directory.
async fn converge(product: &Product, people: usize) -> usize {
    let kind = product.name();
    let connect = |settings: &TargetSettings| {
        targets::connect(settings, credential(settings)).map_err(|e| e.to_string())
    };
    let app = App::connected(&sqlite(), Arc::new(connect)).await;
    let rules = r#"
[mapping.users]
match_by = ["username", "email"]

[mapping.groups]
on_the_fly = true
create_missing = true
"#;
    app.apply(&format!(
        "[[connection]]\nname = \"corp\"\nkind = \"scim\"\n{}",
        product.configuration("concurrency = 4", rules)
    ))
    .await;
    let token = app.token("corp").await;
    let mut members = vec![Vec::new(); GROUPS];
    for n in 0..people {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": format!("person{n}"),
            "displayName": format!("Person {n}"),
            "active": true,
            "emails": [{"value": format!("person{n}@example.com"), "primary": true}],
        });
        let id = push(&app, &token, "/Users", body).await;
        for k in 0..GROUPS_EACH {
            members[(n + k * 7) % GROUPS].push(json!({"value": id}));
        }
    }
    for (n, members) in members.into_iter().enumerate() {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": format!("team{n}"),
            "members": members,
        });
        push(&app, &token, "/Groups", body).await;
    }
    product.server().clear_requests();
    app.drain().await;
    let status = app.store().read(work::status).await.unwrap().remove(0);
    let open = (status.pending, status.held, status.failed, status.waiting);
    assert_eq!(open, (0, 0, 0, 0), "{kind}: {status:?}");
    let accounts = product.accounts();
    assert_eq!(accounts.len(), people, "{kind}");
    let in_team = |account: &&Account| account.groups.contains("team0");
    let in_team = accounts.values().filter(in_team).count();
    assert_eq!(in_team, people * GROUPS_EACH / GROUPS, "{kind}");
    product.server().requests().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_people_cost_hardly_more_than_the_least_requests() {
    // More take long: for who wants to know.
    let people = std::env::var("USHER_TEST_PEOPLE").ok();
    let people = people.map_or(PEOPLE, |text| text.parse().unwrap());
    eprintln!("{people} new people in {GROUPS} groups, each in {GROUPS_EACH}:");
    eprintln!("  {:<16} {:>8} {:>8}", "product", "requests", "least");
    for product in Product::one_of_each() {
        let requests = converge(&product, people).await;
        let (kind, least) = (product.name(), least(product.kind(), people));
        eprintln!("  {kind:<16} {requests:>8} {least:>8}");
        if requests * 10 > least * 11 {
            let mut counts = std::collections::BTreeMap::<String, usize>::new();
            for request in product.server().requests() {
                let call = format!("{} {}", request.method, request.path);
                *counts.entry(call).or_default() += 1;
            }
            panic!("{kind}: {requests} requests, {least} are enough: {counts:#?}");
        }
    }
}
