//! Bitbucket as the target sees it, scripted answer by answer.

use serde_json::Value;

use super::*;
use crate::outbound::script::{Reply, Script, Seen};

async fn bitbucket(
    credential: Credential,
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (BitbucketDc, Script) {
    let script = Script::start(answer).await;
    let options = Options {
        timeout: std::time::Duration::from_secs(5),
        ..Options::default()
    };
    (
        BitbucketDc::new(&script.url(), credential, options).unwrap(),
        script,
    )
}

fn admin() -> Credential {
    Credential::Basic {
        username: "svc".into(),
        password: "p".into(),
    }
}

fn page(values: Value, next: Option<u64>) -> Reply {
    let mut body = json!({"values": values, "isLastPage": next.is_none(), "limit": 25, "size": 1});
    if let Some(next) = next {
        body["nextPageStart"] = next.into();
    }
    Reply::json(200, body)
}

fn user(id: i64, name: &str) -> Value {
    json!({"id": id, "name": name, "displayName": "A", "active": true, "links": {"self": []}})
}

fn refused(status: u16, exception: &str) -> Reply {
    let error = json!({"context": null, "message": "No.", "exceptionName": exception});
    Reply::json(status, json!({"errors": [error]}))
}

fn transient(failure: Failure) -> String {
    match failure {
        Failure::Transient { text } => text,
        other => panic!("{other:?}"),
    }
}

fn unauthorized(failure: Failure) -> String {
    match failure {
        Failure::Unauthorized { text } => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_account_without_an_address_has_an_empty_one() {
    let (target, _script) = bitbucket(admin(), |seen| match seen.line().as_str() {
        "GET /rest/api/1.0/admin/users" => page(json!([user(1, "adam"), user(2, "Ada")]), None),
        "GET /rest/api/1.0/users" => page(json!([user(1, "adam")]), None),
        _ => page(json!([]), None),
    })
    .await;
    let found = target.observe(Lookup::Username("ada")).await.unwrap();
    let found = found.unwrap();
    assert_eq!(
        (found.remote_id.as_str(), found.email.as_deref()),
        ("2", Some(""))
    );
    assert!(!found.active, "only another one has a licence");
}

#[tokio::test]
async fn a_list_that_does_not_go_on_is_no_list() {
    let (target, script) = bitbucket(admin(), |_| page(json!([user(1, "x")]), Some(0))).await;
    let failure = target.observe(Lookup::Username("ada")).await.unwrap_err();
    assert!(transient(failure).contains("repeats itself"));
    assert_eq!(script.seen().len(), 1);
    // The page that is asked for may be anything that was told.
    let (target, script) = bitbucket(admin(), |seen| match seen.query("start").as_deref() {
        None => page(json!([{"name": "a"}]), Some(2154)),
        Some("2154") => page(json!([{"name": "b"}]), None),
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!(
        target.group_exists("B").await.unwrap().as_deref(),
        Some("b")
    );
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test]
async fn what_is_not_bitbuckets_own_is_never_taken_for_absence() {
    let wrong_address = "not the address of a Bitbucket";
    for (reply, words) in [
        (
            Reply::text(404, "text/html", "<h1>Not Found</h1>"),
            wrong_address,
        ),
        (
            Reply::json(404, json!({"message": "no route"})),
            wrong_address,
        ),
        (
            Reply::text(200, "text/html", "<h1>Sign in</h1>"),
            "login page in front",
        ),
    ] {
        let (target, _script) = bitbucket(admin(), move |_| reply.clone()).await;
        transient(target.observe(Lookup::Username("ada")).await.unwrap_err());
        transient(target.group_exists("g").await.unwrap_err());
        let text = target.check().await.unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
    let proxy = Reply::text(401, "text/html", "<h1>Unauthorized</h1>");
    let (target, _script) = bitbucket(admin(), move |_| proxy.clone()).await;
    let text = unauthorized(target.group_exists("g").await.unwrap_err());
    assert!(text.contains("refuses the credential"), "{text}");
}

#[tokio::test]
async fn whose_token_it_is_must_be_told() {
    let token = || Credential::Bearer("t".into());
    let (target, _script) = bitbucket(token(), |_| page(json!([]), None)).await;
    let text = unauthorized(target.protected().await.unwrap_err());
    assert!(text.contains("X-AUSERNAME"), "{text}");
    let (target, _script) = bitbucket(token(), |_| {
        let grants = json!([
            {"group": {"name": "all"}, "permission": "LICENSED_USER"},
            {"group": {"name": "chiefs"}, "permission": "SYS_ADMIN"},
            {"group": {"name": "odd"}, "permission": "SOMETHING_NEW"},
        ]);
        page(grants, None).with("X-AUSERNAME", "svc-usher")
    })
    .await;
    let protected = target.protected().await.unwrap();
    assert_eq!(
        (&protected.users[..], &protected.groups[..]),
        (&["svc-usher".to_owned()][..], &["chiefs".to_owned()][..])
    );
}

#[tokio::test]
async fn an_unknown_rank_is_no_lower_one() {
    assert!(access::administers("ADMIN") && access::administers("SYS_ADMIN"));
    assert!(!access::administers("PROJECT_CREATE"));
    // A lacking right is told as such, whoever answered first.
    let (target, _script) = bitbucket(admin(), |_| refused(401, DENIED)).await;
    let text = unauthorized(target.protected().await.unwrap_err());
    assert!(
        text.contains("knows svc") && text.contains("ADMIN"),
        "{text}"
    );
    assert!(!text.contains("BSERV"), "it is no token: {text}");
}
