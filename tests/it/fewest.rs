//! How many requests many new people cost at each product, beside the least that its interface allows.

use std::sync::Arc;

use serde_json::{Value, json};
use usher::outbound::Credential;
use usher::store::work;
use usher::targets;
use usher_emulators::bitbucket::{Bitbucket, BitbucketOptions};
use usher_emulators::confluence::{Confluence, ConfluenceOptions};
use usher_emulators::crowd::{Crowd, CrowdOptions};
use usher_emulators::guard::{Guard, GuardOptions};
use usher_emulators::jira::{Jira, JiraOptions};

use super::harness::{App, sqlite};

const PEOPLE: usize = 200;
const GROUPS: usize = 20;
/// Each person is in so many of them.
const GROUPS_EACH: usize = 2;

/// One request for each account, each group and each membership.
const ONE_BY_ONE: usize = PEOPLE + GROUPS + PEOPLE * GROUPS_EACH;

/// An emulated product.
struct Product {
    kind: &'static str,
    url: String,
    /// Further lines of the target.
    credential: &'static str,
    least: usize,
    requests: Box<dyn Fn() -> Vec<(String, String)>>,
    /// Accounts, and memberships of the first group.
    there: Box<dyn Fn() -> (usize, usize)>,
}

fn called(requests: Vec<usher_emulators::Recorded>) -> Vec<(String, String)> {
    requests.into_iter().map(|r| (r.method, r.path)).collect()
}

fn jira() -> Product {
    let jira = Arc::new(Jira::start(JiraOptions::default()).unwrap());
    let same = Arc::clone(&jira);
    Product {
        kind: "jira-dc",
        url: jira.url(),
        credential: "token = { env = \"NONE\" }",
        least: ONE_BY_ONE,
        requests: Box::new(move || called(jira.requests())),
        there: Box::new(move || (same.users().len(), same.members("team0").len())),
    }
}

fn confluence() -> Product {
    let confluence = Arc::new(Confluence::start(ConfluenceOptions::default()).unwrap());
    let same = Arc::clone(&confluence);
    Product {
        kind: "confluence-dc",
        url: confluence.url(),
        credential: "token = { env = \"NONE\" }",
        least: ONE_BY_ONE,
        requests: Box::new(move || called(confluence.requests())),
        there: Box::new(move || (same.users().len(), same.members("team0").len())),
    }
}

fn bitbucket() -> Product {
    let bitbucket = Arc::new(Bitbucket::start(BitbucketOptions::default()).unwrap());
    let same = Arc::clone(&bitbucket);
    Product {
        kind: "bitbucket-dc",
        url: bitbucket.url(),
        credential: "username = \"admin\"\npassword = { env = \"NONE\" }",
        // An account takes three: its number is not told when it is made, and the password that stood in an address
        // must not stay. Members go into a group by one request.
        least: PEOPLE * 3 + GROUPS + GROUPS,
        requests: Box::new(move || called(bitbucket.requests())),
        there: Box::new(move || (same.users().len(), same.members("team0").len())),
    }
}

fn crowd() -> Product {
    let crowd = Arc::new(Crowd::start(CrowdOptions::default()).unwrap());
    let same = Arc::clone(&crowd);
    Product {
        kind: "crowd",
        url: crowd.url(),
        credential: "username = \"usher\"\npassword = { env = \"NONE\" }",
        least: ONE_BY_ONE,
        requests: Box::new(move || called(crowd.requests())),
        there: Box::new(move || (same.users().len(), same.members("team0").len())),
    }
}

/// One request puts all that are to be in a group into it.
fn guard() -> Product {
    let guard = Arc::new(Guard::start(GuardOptions::default()).unwrap());
    let same = Arc::clone(&guard);
    Product {
        kind: "atlassian-guard",
        url: guard.url(),
        credential: "token = { env = \"NONE\" }",
        least: PEOPLE + GROUPS + GROUPS,
        requests: Box::new(move || called(guard.requests())),
        there: Box::new(move || (same.users().len(), same.members("team0").len())),
    }
}

fn credential(kind: &str) -> Credential {
    match kind {
        "crowd" => Credential::Basic {
            username: "usher".into(),
            password: "application-password".into(),
        },
        "bitbucket-dc" => Credential::Basic {
            username: "admin".into(),
            password: "admin-password".into(),
        },
        "atlassian-guard" => Credential::Bearer(GuardOptions::default().key.into()),
        "confluence-dc" => Credential::Bearer("emulated-confluence-token".into()),
        _ => Credential::Bearer("emulated-jira-token".into()),
    }
}

async fn push(app: &App, token: &str, path: &str, body: Value) -> String {
    let reply = app.send(token, "POST", path, Some(body)).await;
    assert_eq!(reply.status, 201, "{path}: {}", reply.json);
    reply.id()
}

/// Everyone is pushed before the engine begins, as after the first full push of a directory.
async fn converge(product: &Product) -> usize {
    let kind = product.kind;
    let connect = move |settings: &usher::domain::TargetSettings| {
        targets::connect(settings, credential(kind)).map_err(|e| e.to_string())
    };
    let app = App::connected(&sqlite(), Arc::new(connect)).await;
    app.apply(&format!(
        r#"
[[connection]]
name = "corp"
kind = "scim"

[[target]]
name = "product"
kind = "{kind}"
base_url = "{}"
{}
concurrency = 4

[[mapping]]
connection = "corp"
target = "product"
mode = "live"

[mapping.users]
match_by = ["username", "email"]

[mapping.groups]
on_the_fly = true
create_missing = true
"#,
        product.url, product.credential
    ))
    .await;
    let token = app.token("corp").await;
    let mut members = vec![Vec::new(); GROUPS];
    for n in 0..PEOPLE {
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
    let before = ((product.requests)().len(), (product.there)().0);
    app.drain().await;
    let status = app.store().read(work::status).await.unwrap().remove(0);
    let open = (status.pending, status.held, status.failed, status.waiting);
    assert_eq!(open, (0, 0, 0, 0), "{kind}: {status:?}");
    let (accounts, in_team) = (product.there)();
    assert_eq!(accounts - before.1, PEOPLE, "{kind}");
    assert_eq!(in_team, PEOPLE * GROUPS_EACH / GROUPS, "{kind}");
    (product.requests)().len() - before.0
}

#[tokio::test(flavor = "multi_thread")]
async fn new_people_cost_hardly_more_than_the_least_requests() {
    eprintln!("{PEOPLE} new people in {GROUPS} groups, each in {GROUPS_EACH}:");
    eprintln!("  {:<16} {:>8} {:>8}", "product", "requests", "least");
    for product in [jira(), confluence(), bitbucket(), crowd(), guard()] {
        let requests = converge(&product).await;
        let (kind, least) = (product.kind, product.least);
        eprintln!("  {kind:<16} {requests:>8} {least:>8}");
        if requests * 10 > least * 11 {
            let mut counts = std::collections::BTreeMap::<String, usize>::new();
            for (method, path) in (product.requests)() {
                *counts.entry(format!("{method} {path}")).or_default() += 1;
            }
            panic!("{kind}: {requests} requests, {least} are enough: {counts:#?}");
        }
    }
}
