//! The client against answers written by hand: what it sends, and how it judges what comes back.

use std::time::Duration;

use super::*;
use crate::outbound::script::{Reply, Script, Seen};

const ROOT: &str = "/scim/directory/d1";

async fn guard(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Guard, Script) {
    let script = Script::start(answer).await;
    let options = Options {
        timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let credential = Credential::Bearer("hidden-word".into());
    let url = format!("{}{ROOT}", script.url());
    (Guard::new(&url, credential, options).unwrap(), script)
}

fn scim_error(status: u16, kind: &str, detail: &str) -> Reply {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": status.to_string(),
        "scimType": kind, "detail": detail,
    });
    Reply::json(status, body)
}

fn list(resources: &[Value]) -> Reply {
    Reply::json(
        200,
        json!({"totalResults": resources.len(), "startIndex": 1, "Resources": resources}),
    )
}

fn ada(active: bool) -> Value {
    json!({
        "id": "u1", "userName": "ada", "displayName": "Ada", "active": active,
        "emails": [{"value": "ada@x.org", "primary": true}],
        "groups": [{"value": "g1", "display": "devs"}],
    })
}

/// The request below the directory's address, as `METHOD /path`.
fn line(seen: &Seen) -> String {
    seen.line().replace(ROOT, "")
}

fn deactivate() -> Action {
    Action::Deactivate {
        remote_id: "u1".into(),
        username: "ada".into(),
        successors: LeadSuccessors::default(),
        takes: None,
    }
}

fn remove() -> Action {
    Action::RemoveMember {
        remote_id: "u1".into(),
        username: "ada".into(),
        group: "devs".into(),
    }
}

fn create() -> Action {
    Action::CreateUser {
        username: "ada".into(),
        display_name: "Ada".into(),
        email: "ada@x.org".into(),
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Rejected { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

fn transient(failure: &Failure) {
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

#[tokio::test]
async fn a_change_that_is_answered_but_not_made_is_no_success() {
    let (guard, script) = guard(|seen| match line(seen).as_str() {
        "GET /Users/u1" | "PATCH /Users/u1" => Reply::json(200, ada(true)),
        "GET /Groups" => list(&[json!({"id": "g1", "displayName": "devs"})]),
        "PATCH /Groups/g1" => Reply::json(
            200,
            json!({"id": "g1", "members": [{"value": "u0"}, {"value": "u1"}]}),
        ),
        _ => panic!("unexpected request: {seen:?}"),
    })
    .await;
    let text = words(guard.apply(&deactivate()).await.unwrap_err());
    assert!(text.contains("still shows ada as active"), "{text}");
    let text = words(guard.apply(&remove()).await.unwrap_err());
    assert!(text.contains("still shows ada in it"), "{text}");
    let rename = Action::RenameUser {
        remote_id: "u1".into(),
        from: "ada".into(),
        to: "augusta".into(),
    };
    let text = words(guard.apply(&rename).await.unwrap_err());
    assert!(text.contains("but shows ada"), "{text}");

    let seen = script.seen();
    let removal = seen
        .iter()
        .find(|it| line(it) == "PATCH /Groups/g1")
        .unwrap();
    let operations = json!([{"op": "remove", "path": "members[value eq \"u1\"]"}]);
    assert_eq!(removal.body["Operations"], operations);
    assert_eq!(removal.header("authorization"), Some("Bearer hidden-word"));
}

#[tokio::test]
async fn an_answer_without_groups_leaves_those_that_were_read() {
    let (guard, _script) = guard(|seen| match line(seen).as_str() {
        "GET /Users/u1" => Reply::json(200, ada(true)),
        "PATCH /Users/u1" => {
            let mut after = ada(false);
            after.as_object_mut().unwrap().remove("groups");
            Reply::json(200, after)
        }
        _ => panic!("unexpected request: {seen:?}"),
    })
    .await;
    let account = guard.apply(&deactivate()).await.unwrap().account.unwrap();
    assert_eq!(
        (account.active, account.groups),
        (false, vec!["devs".to_owned()])
    );
}

#[tokio::test]
async fn a_list_that_leaves_out_groups_is_completed_by_the_account_itself() {
    let (guard, _script) = guard(|seen| match line(seen).as_str() {
        "GET /Users" => {
            assert_eq!(seen.query("filter").as_deref(), Some("userName eq \"ada\""));
            let mut listed = ada(true);
            listed.as_object_mut().unwrap().remove("groups");
            list(&[listed])
        }
        "GET /Users/u1" => Reply::json(200, ada(true)),
        _ => panic!("unexpected request: {seen:?}"),
    })
    .await;
    let found = guard.observe(Lookup::Username("ada")).await.unwrap();
    assert_eq!(found.unwrap().groups, ["devs"]);
}

#[tokio::test]
async fn a_membership_that_is_not_found_is_gone_only_if_nothing_shows_it() {
    let asked = |shown: bool| {
        move |seen: &Seen| match line(seen).as_str() {
            "GET /Users/u1" => {
                let mut user = ada(true);
                if !shown {
                    user["groups"] = json!([]);
                }
                Reply::json(200, user)
            }
            "GET /Groups" => list(&[json!({"id": "g1", "displayName": "devs"})]),
            "PATCH /Groups/g1" => scim_error(400, "noTarget", "No such member."),
            _ => panic!("unexpected request: {seen:?}"),
        }
    };
    let (lost, _script) = guard(asked(false)).await;
    assert!(lost.apply(&remove()).await.unwrap().already);
    let (shown, _script) = guard(asked(true)).await;
    assert!(words(shown.apply(&remove()).await.unwrap_err()).contains("noTarget"));
}

#[tokio::test]
async fn a_name_that_is_taken_by_nobody_who_shows_is_rejected() {
    let (guard, _script) = guard(|seen| match line(seen).as_str() {
        "POST /Users" => scim_error(409, "uniqueness", "Resource [USER]: with email[…] exists."),
        "POST /Groups" => scim_error(409, "uniqueness", "A group of a site."),
        "GET /Users" | "GET /Groups" => list(&[]),
        _ => panic!("unexpected request: {seen:?}"),
    })
    .await;
    let text = words(guard.apply(&create()).await.unwrap_err());
    assert!(
        text.contains("exists (uniqueness): another record"),
        "{text}"
    );
    let group = Action::CreateGroup {
        name: "devs".into(),
    };
    let text = words(guard.apply(&group).await.unwrap_err());
    assert!(
        text.starts_with("A group of a site (uniqueness): a group that"),
        "{text}"
    );
}

#[tokio::test]
async fn half_a_list_is_an_outage() {
    let early = json!({"totalResults": 150, "startIndex": 101, "Resources": []});
    let (one, _script) = guard(move |_| Reply::json(200, early.clone())).await;
    transient(&one.users(Some("100")).await.unwrap_err());
    let again = json!({"totalResults": 150, "startIndex": 1, "Resources": [ada(true)]});
    let (two, _script) = guard(move |_| Reply::json(200, again.clone())).await;
    transient(&two.users(Some("100")).await.unwrap_err());
    assert_eq!(two.users(None).await.unwrap().next.as_deref(), Some("1"));
}

#[tokio::test]
async fn what_atlassian_did_not_write_says_nothing_about_people() {
    let strangers = [
        Reply::json(404, json!({"message": "no route"})),
        Reply::json(404, json!({"error": "Not Found", "traceId": "t"})),
        Reply::text(404, "text/html", "<html>no</html>"),
        Reply::text(200, "text/html", "<html>Log in</html>"),
        Reply::json(200, json!({"id": "u1", "userName": "ada"})),
    ];
    for stranger in strangers {
        let shown = format!("{stranger:?}");
        let (guard, _script) = guard(move |_| stranger.clone()).await;
        for lookup in [Lookup::RemoteId("u1"), Lookup::Username("ada")] {
            let outcome = guard.observe(lookup).await;
            assert!(
                matches!(outcome, Err(Failure::Transient { .. })),
                "{shown}: {outcome:?}"
            );
        }
        assert!(guard.apply(&deactivate()).await.is_err(), "{shown}");
    }
    let (guard, _script) = guard(|_| Reply::text(403, "text/html", "<html>no</html>")).await;
    let failure = guard.apply(&create()).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Unauthorized { .. }),
        "{failure:?}"
    );
    assert!(failure.to_string().contains("does a proxy"), "{failure}");
}

#[tokio::test]
async fn what_a_missing_key_means_is_said() {
    let (guard, _script) =
        guard(|_| Reply::json(401, json!({"error": "No.", "traceId": "t"}))).await;
    let failure = guard.apply(&create()).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Unauthorized { .. }),
        "{failure:?}"
    );
    assert!(
        failure
            .to_string()
            .contains("the API key is missing, wrong or expired"),
        "{failure}"
    );
    assert!(!failure.to_string().contains("hidden-word"), "{failure}");
}

#[tokio::test]
async fn a_directory_without_patch_is_warned_of() {
    let (guard, script) = guard(|seen| match line(seen).as_str() {
        "GET /ServiceProviderConfig" => Reply::json(200, json!({"patch": {"supported": false}})),
        _ => list(&[]),
    })
    .await;
    let check = guard.check().await.unwrap();
    assert_eq!(check.warnings.len(), 1, "{check:?}");
    assert!(script.writes().is_empty());
}
