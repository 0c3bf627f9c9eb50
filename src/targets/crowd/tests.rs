//! The client against answers written by hand: what it sends, and how it judges what comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::domain::LeadSuccessors;
use crate::outbound::script::{Reply, Script, Seen};

const ROOT: &str = "/rest/usermanagement/1";

async fn crowd(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Crowd, Script) {
    let script = Script::start(answer).await;
    let options = Options {
        timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let credential = Credential::Basic {
        username: "usher".into(),
        password: "hidden-word".into(),
    };
    (
        Crowd::new(&script.url(), credential, options).unwrap(),
        script,
    )
}

fn says(status: u16, body: Value) -> Reply {
    Reply::json(status, body).with(MARK, "Crowd/6.1.0")
}

fn empty(status: u16) -> Reply {
    Reply::text(status, "application/json", "").with(MARK, "Crowd/6.1.0")
}

fn refuses(status: u16, reason: &str) -> Reply {
    says(
        status,
        json!({"reason": reason, "message": "Crowd's words."}),
    )
}

fn user(name: &str, active: bool) -> Value {
    json!({
        "name": name, "first-name": "Augusta Ada", "last-name": "King", "display-name": "Ada L", "email": "ada@x.org",
        "active": active, "key": "1:ada", "password": {"link": {"rel": "edit"}}, "attributes": {"attributes": []}
    })
}

/// Answers reads of `ada` and her groups.
fn reads(seen: &Seen, active: bool) -> Reply {
    match seen
        .line()
        .strip_prefix("GET ")
        .and_then(|l| l.strip_prefix(ROOT))
    {
        Some("/user") => says(200, user("ada", active)),
        Some("/user/group/direct") => says(200, json!({"groups": [{"name": "devs"}]})),
        _ => panic!("unexpected request: {seen:?}"),
    }
}

fn deactivate() -> Action {
    Action::Deactivate {
        remote_id: "1:ada".into(),
        username: "stale-name".into(),
        successors: LeadSuccessors::default(),
        takes: None,
    }
}

fn add_member() -> Action {
    Action::AddMember {
        remote_id: "1:ada".into(),
        username: "ada".into(),
        group: "Devs & Ops".into(),
    }
}

fn create() -> Action {
    let (username, display_name, email) = ("ada".into(), "Ada L".into(), "ada@x.org".into());
    Action::CreateUser {
        username,
        display_name,
        email,
    }
}

fn rename(to: &str) -> Action {
    Action::RenameUser {
        remote_id: "1:ada".into(),
        from: "ada".into(),
        to: to.into(),
    }
}

fn rejected(failure: Failure) -> (Option<String>, String) {
    match failure {
        Failure::Rejected { field, text } => (field, text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_refused_in_words() {
    let credential = Credential::Bearer("s3cret".into());
    let error =
        Crowd::new("https://crowd.example.com", credential, Options::default()).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("Crowd takes no token") && words.contains("`username`"),
        "{words}"
    );
    assert!(!words.contains("s3cret"), "{words}");
}

#[tokio::test]
async fn only_what_carries_crowds_header_is_believed() {
    let strangers = [
        Reply::json(404, json!({"reason": "USER_NOT_FOUND", "message": "x"})),
        Reply::json(200, user("ada", true)),
        Reply::json(403, json!({"reason": "APPLICATION_ACCESS_DENIED"})),
        Reply::text(401, "text/html", "<html>Sign in</html>"),
        Reply::text(200, "text/html", "<html>Sign in</html>"),
        Reply::text(204, "text/plain", ""),
    ];
    for stranger in strangers {
        let (crowd, _script) = crowd(move |_| stranger.clone()).await;
        for failure in [
            crowd.observe(Lookup::Username("ada")).await.unwrap_err(),
            crowd.observe(Lookup::Email("ada@x.org")).await.unwrap_err(),
            crowd.group_exists("g").await.unwrap_err(),
            crowd.apply(&create()).await.unwrap_err(),
            crowd.apply(&add_member()).await.unwrap_err(),
            crowd.apply(&deactivate()).await.unwrap_err(),
            crowd.check().await.unwrap_err(),
        ] {
            assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
            assert!(
                failure
                    .to_string()
                    .contains("no X-Embedded-Crowd-Version header"),
                "{failure}"
            );
        }
    }
}

#[tokio::test]
async fn a_404_without_a_reason_is_not_absence() {
    for body in [
        json!({"status-code": 404, "message": "null for uri"}),
        json!([]),
    ] {
        let (crowd, _script) = crowd(move |_| says(404, body.clone())).await;
        for lookup in [
            Lookup::Username("ada"),
            Lookup::RemoteId("1:ada"),
            Lookup::Email("a@b"),
        ] {
            let failure = crowd.observe(lookup).await.unwrap_err();
            assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        }
        assert!(matches!(
            crowd.group_exists("g").await,
            Err(Failure::Transient { .. })
        ));
        assert!(matches!(
            crowd.apply(&add_member()).await,
            Err(Failure::Transient { .. })
        ));
    }
    let (none, _script) = crowd(|_| refuses(404, "USER_NOT_FOUND")).await;
    assert_eq!(none.observe(Lookup::RemoteId("1:ada")).await, Ok(None));
}

#[tokio::test]
async fn refusals_are_told_apart_by_their_reason() {
    let class = |failure: &Failure| match failure {
        Failure::Transient { .. } | Failure::Unreachable { .. } => "transient",
        Failure::Throttled { .. } => "throttled",
        Failure::Rejected { .. } => "rejected",
        Failure::Unauthorized { .. } => "unauthorized",
        Failure::Gone { .. } => "gone",
    };
    let cases = [
        (
            403,
            "APPLICATION_PERMISSION_DENIED",
            "rejected",
            "the application usher lacks the permission",
        ),
        (
            403,
            "APPLICATION_ACCESS_DENIED",
            "unauthorized",
            "refuses the application usher",
        ),
        (
            403,
            "PERMISSION_DENIED",
            "unauthorized",
            "refuses the application usher",
        ),
        (403, "SOMETHING_NEW", "unauthorized", "SOMETHING_NEW"),
        (
            400,
            "APPLICATION_NOT_FOUND",
            "unauthorized",
            "APPLICATION_NOT_FOUND",
        ),
        (
            400,
            "OPERATION_FAILED",
            "transient",
            "could not do it: Crowd's words (OPERATION_FAILED)",
        ),
        (
            400,
            "UNSUPPORTED_OPERATION",
            "rejected",
            "Crowd's words (UNSUPPORTED_OPERATION)",
        ),
        (
            400,
            "INVALID_MEMBERSHIP",
            "rejected",
            "Crowd's words (INVALID_MEMBERSHIP)",
        ),
        (
            400,
            "SOMETHING_NEW",
            "rejected",
            "Crowd's words (SOMETHING_NEW)",
        ),
        (500, "OPERATION_FAILED", "transient", "answered 500"),
    ];
    for (status, reason, expected, words) in cases {
        let (crowd, _script) = crowd(move |_| refuses(status, reason)).await;
        let failure = crowd.apply(&add_member()).await.unwrap_err();
        assert_eq!(class(&failure), expected, "{reason}: {failure:?}");
        assert!(failure.to_string().contains(words), "{failure}");
    }
    // The filter for addresses answers with a page of the web server.
    let page = Reply::text(
        403,
        "text/html",
        "<html>Client with address ... is forbidden</html>",
    );
    let page = page.with(MARK, "Crowd/6.1.0");
    let (barred, _script) = crowd(move |_| page.clone()).await;
    let failure = barred.observe(Lookup::Username("ada")).await.unwrap_err();
    assert_eq!(class(&failure), "unauthorized");
    assert!(
        failure
            .to_string()
            .contains("add it to the remote addresses"),
        "{failure}"
    );
    let (wrong, _script) = crowd(|_| empty(401)).await;
    let failure = wrong.check().await.unwrap_err();
    assert_eq!(class(&failure), "unauthorized");
    assert!(
        failure
            .to_string()
            .contains("the name or password of the application"),
        "{failure}"
    );
    assert!(!failure.to_string().contains("hidden-word"), "{failure}");
}

#[tokio::test]
async fn an_update_sends_everything_under_the_present_name() {
    let (crowd, script) = crowd(|seen| match seen.method.as_str() {
        "PUT" => empty(204),
        _ => reads(seen, true),
    })
    .await;
    let update = Action::UpdateUser {
        remote_id: "1:ada".into(),
        username: "stale-name".into(),
        display_name: None,
        email: Some("new@x.org".into()),
    };
    crowd.apply(&update).await.unwrap();
    let seen = script.seen();
    let put = seen.iter().find(|s| s.method == "PUT").unwrap();
    assert_eq!(put.query("username").as_deref(), Some("ada"));
    let expected = json!({
        "name": "ada", "first-name": "Augusta Ada", "last-name": "King", "display-name": "Ada L", "email": "new@x.org",
        "active": true
    });
    assert_eq!(put.body, expected, "and neither password nor attributes");
}

#[tokio::test]
async fn what_is_so_already_is_not_written() {
    let (crowd, script) = crowd(|seen| reads(seen, false)).await;
    let same_again = Action::UpdateUser {
        remote_id: "1:ada".into(),
        username: "ada".into(),
        display_name: Some("Ada L".into()),
        email: Some("ada@x.org".into()),
    };
    for action in [same_again, deactivate(), rename("ada")] {
        assert!(crowd.apply(&action).await.unwrap().already, "{action:?}");
    }
    assert_eq!(script.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn passwords_are_thrown_away() {
    let (crowd, script) = crowd(|seen| match seen.method.as_str() {
        "POST" => refuses(400, "INVALID_CREDENTIAL"),
        _ => refuses(404, "USER_NOT_FOUND"),
    })
    .await;
    let mut failures = Vec::new();
    for _ in 0..2 {
        failures.push(crowd.apply(&create()).await.unwrap_err());
    }
    let seen = script.seen();
    let mut passwords: Vec<String> = seen
        .iter()
        .filter(|s| s.method == "POST")
        .map(|s| s.body["password"]["value"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(passwords.len(), 2);
    for (password, failure) in passwords.iter().zip(failures) {
        assert_eq!(password.len(), 36);
        let kinds = [char::is_lowercase, char::is_uppercase, char::is_numeric];
        assert!(kinds.iter().all(|kind| password.contains(*kind)) && password.contains('!'));
        let (field, text) = rejected(failure);
        assert_eq!(field.as_deref(), Some("password"));
        assert_eq!(text, "Crowd's words (INVALID_CREDENTIAL)");
    }
    passwords.dedup();
    assert_eq!(passwords.len(), 2);
}

#[tokio::test]
async fn a_create_refused_as_taken_succeeds_only_for_what_was_sent() {
    for (display_name, active, expected) in [
        ("Ada L", true, true),
        ("Somebody Else", true, false),
        ("Ada L", false, false),
    ] {
        let (crowd, _script) = crowd(move |seen| match seen.line().trim_start_matches("GET ") {
            "/rest/usermanagement/1/user" => {
                let mut user = user("ADA", active);
                user["display-name"] = json!(display_name);
                says(200, user)
            }
            line if line.starts_with("POST") => refuses(400, "INVALID_USER"),
            _ => reads(seen, active),
        })
        .await;
        match crowd.apply(&create()).await {
            Ok(applied) => {
                assert!(expected && applied.already);
                assert_eq!(applied.account.unwrap().remote_id, "1:ada");
            }
            Err(failure) => {
                assert!(!expected);
                let words = "Crowd's words (INVALID_USER)";
                assert_eq!(rejected(failure), (Some("name".into()), words.into()));
            }
        }
    }
}

#[tokio::test]
async fn all_pages_of_groups_are_read() {
    let total = 2 * PAGE + 1;
    let (crowd, script) = crowd(move |seen| match seen.path.strip_prefix(ROOT) {
        Some("/user/group/direct") => {
            let start: usize = seen.query("start-index").unwrap().parse().unwrap();
            let count: usize = seen.query("max-results").unwrap().parse().unwrap();
            let groups: Vec<Value> = (start..total.min(start + count))
                .map(|i| json!({"name": format!("g{i}")}))
                .collect();
            says(200, json!({"expand": "group", "groups": groups}))
        }
        _ => reads(seen, true),
    })
    .await;
    let ada = crowd
        .observe(Lookup::Username("ADA"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ada.groups.len(), total);
    assert_eq!(ada.groups.last().unwrap(), &format!("g{}", total - 1));
    assert_eq!(script.seen().len(), 4);
}

#[tokio::test]
async fn a_list_of_groups_that_does_not_go_on_is_a_failure() {
    let (crowd, _script) = crowd(|seen| match seen.path.strip_prefix(ROOT) {
        Some("/user/group/direct") => {
            let groups: Vec<Value> = (0..PAGE)
                .map(|i| json!({"name": format!("g{i}")}))
                .collect();
            says(200, json!({"groups": groups}))
        }
        _ => reads(seen, true),
    })
    .await;
    let failure = crowd.observe(Lookup::Username("ada")).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "Crowd repeats itself in the groups of ada"
    );
    let (none, _script) = self::crowd(|seen| match seen.path.strip_prefix(ROOT) {
        Some("/user/group/direct") => says(200, json!({})),
        _ => reads(seen, true),
    })
    .await;
    assert!(
        none.observe(Lookup::Username("ada")).await.is_err(),
        "no list is not an empty list"
    );
}

#[tokio::test]
async fn an_address_must_match_as_a_whole_and_once() {
    let (crowd, script) = crowd(|seen| match seen.path.strip_prefix(ROOT) {
        Some("/search") => {
            let of = |email: &str| {
                let mut user = user("ada", true);
                user["email"] = json!(email);
                user
            };
            let users = match seen.body["value"].as_str().unwrap() {
                "a+b@X.ORG" => json!([of("aa+b@x.org"), of("A+B@x.org")]),
                "twice@x.org" => json!([of("twice@x.org"), of("TWICE@x.org")]),
                _ => json!([]),
            };
            says(200, json!({"expand": "user", "users": users}))
        }
        _ => reads(seen, true),
    })
    .await;
    let found = crowd
        .observe(Lookup::Email("a+b@X.ORG"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.username.as_str(), found.groups),
        ("ada", vec!["devs".to_owned()])
    );
    assert_eq!(crowd.observe(Lookup::Email("twice@x.org")).await, Ok(None));
    assert_eq!(crowd.observe(Lookup::Email("nobody@x.org")).await, Ok(None));
    let search = &script.seen()[0];
    assert_eq!(search.query("entity-type").as_deref(), Some("user"));
    assert_eq!(search.query("expand").as_deref(), Some("user"));
    assert_eq!(
        search.body["property"],
        json!({"name": "email", "type": "STRING"})
    );
    assert_eq!(search.body["match-mode"], "EXACTLY_MATCHES");
}

#[tokio::test]
async fn a_key_and_a_name_are_never_taken_for_each_other() {
    // The key is nobody's, and somebody with another key has it for a name.
    let (keyed, _script) = crowd(|seen| match seen.query("key") {
        Some(_) => refuses(404, "USER_NOT_FOUND"),
        None => reads(seen, true),
    })
    .await;
    assert_eq!(keyed.observe(Lookup::RemoteId("ada")).await, Ok(None));
    // A Crowd that knows no keys at all.
    let (keyless, _script) =
        crowd(
            |seen| match (seen.query("key"), seen.path.ends_with("/user")) {
                (Some(_), _) => refuses(400, "ILLEGAL_ARGUMENT"),
                (None, true) => {
                    let mut user = user("Ada", true);
                    user["key"] = Value::Null;
                    says(200, user)
                }
                _ => reads(seen, true),
            },
        )
        .await;
    let ada = keyless
        .observe(Lookup::RemoteId("ada"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ada.remote_id, "Ada");
}

#[tokio::test]
async fn a_crowd_without_rename_is_told() {
    let (old, _script) = crowd(|seen| match seen.method.as_str() {
        "POST" => Reply::json(404, json!({"status-code": 404})).with(MARK, "Crowd/2.7.1"),
        _ => reads(seen, true),
    })
    .await;
    let (field, text) = rejected(old.apply(&rename("augusta")).await.unwrap_err());
    assert_eq!(field.as_deref(), Some("name"));
    assert_eq!(
        text,
        "Crowd 2.7.1 cannot rename users over REST: needs Crowd 2.8.4 or later; rename ada to augusta by hand there"
    );
    let (gone, _script) = crowd(|seen| match seen.method.as_str() {
        "POST" => refuses(404, "USER_NOT_FOUND"),
        _ => reads(seen, true),
    })
    .await;
    let failure = gone.apply(&rename("augusta")).await.unwrap_err();
    assert!(matches!(failure, Failure::Gone { .. }), "{failure:?}");
}

#[tokio::test]
async fn a_rename_that_crowd_does_not_show_is_no_success() {
    let (same_name, _script) = crowd(|seen| match seen.method.as_str() {
        "POST" => says(200, user("ada", true)),
        _ => reads(seen, true),
    })
    .await;
    let (field, text) = rejected(same_name.apply(&rename("augusta")).await.unwrap_err());
    assert_eq!(field.as_deref(), Some("name"));
    assert!(text.contains("shows ada"), "{text}");
    // A change of case alone may be none, or be refused.
    assert_eq!(
        same_name
            .apply(&rename("ADA"))
            .await
            .unwrap()
            .account
            .unwrap()
            .username,
        "ada"
    );
    let (refused, _script) = crowd(|seen| match seen.method.as_str() {
        "POST" => refuses(400, "INVALID_USER"),
        _ => reads(seen, true),
    })
    .await;
    assert!(refused.apply(&rename("ADA")).await.unwrap().already);
    rejected(refused.apply(&rename("augusta")).await.unwrap_err());
}

#[tokio::test]
async fn a_deactivation_is_read_back_and_ends_the_sessions() {
    let puts = AtomicUsize::new(0);
    let (crowd, script) = crowd(move |seen| match seen.method.as_str() {
        "PUT" => {
            puts.fetch_add(1, Ordering::SeqCst);
            empty(204)
        }
        "DELETE" => empty(204),
        _ => reads(seen, puts.load(Ordering::SeqCst) == 0),
    })
    .await;
    let applied = crowd.apply(&deactivate()).await.unwrap();
    let account = applied.account.unwrap();
    assert!(!account.active && !applied.already);
    assert_eq!(applied.notes, ["ended the sessions of ada"]);
    let expected = [
        "PUT /rest/usermanagement/1/user",
        "DELETE /rest/usermanagement/1/session",
    ];
    assert_eq!(script.writes(), expected);
    assert!(crowd.apply(&deactivate()).await.unwrap().already);
    assert_eq!(script.writes().len(), 2);
}

#[tokio::test]
async fn a_state_that_is_not_kept_is_found_out() {
    let (crowd, _script) = crowd(|seen| match seen.method.as_str() {
        "PUT" => empty(204),
        _ => reads(seen, true),
    })
    .await;
    let (field, text) = rejected(crowd.apply(&deactivate()).await.unwrap_err());
    assert_eq!(field.as_deref(), Some("active"));
    assert!(
        text.starts_with("Crowd accepted the change but still shows ada as active"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_missing_for_a_membership_is_named() {
    for (reason, name, expected) in [
        ("GROUP_NOT_FOUND", "ada", "Crowd has no group Devs & Ops"),
        (
            "USER_NOT_FOUND",
            "",
            "Crowd has no user with key 1:ada (ada)",
        ),
        (
            "USER_NOT_FOUND",
            "augusta",
            "ada is called augusta in Crowd by now",
        ),
        (
            "MEMBERSHIP_ALREADY_EXISTS",
            "augusta",
            "ada is called augusta in Crowd by now",
        ),
    ] {
        let (crowd, script) = crowd(move |seen| match seen.method.as_str() {
            "POST" => refuses(400, reason),
            _ if name.is_empty() => refuses(404, "USER_NOT_FOUND"),
            _ => says(200, user(name, true)),
        })
        .await;
        let text = expected.to_owned();
        assert_eq!(
            crowd.apply(&add_member()).await,
            Err(Failure::Gone { text })
        );
        let seen = script.seen();
        assert_eq!(seen[0].query("groupname").as_deref(), Some("Devs & Ops"));
        assert_eq!(seen[0].body, json!({"name": "ada"}));
    }
}

#[tokio::test]
async fn a_removal_under_an_old_name_is_not_taken_for_done() {
    for (name, expected) in [("augusta", false), ("ada", true)] {
        let (crowd, _script) = crowd(move |seen| match seen.method.as_str() {
            "DELETE" => refuses(404, "MEMBERSHIP_NOT_FOUND"),
            _ => says(200, user(name, true)),
        })
        .await;
        let removal = Action::RemoveMember {
            remote_id: "1:ada".into(),
            username: "ada".into(),
            group: "devs".into(),
        };
        match crowd.apply(&removal).await {
            Ok(applied) => assert!(expected && applied.already),
            Err(failure) => {
                assert!(!expected);
                assert_eq!(failure.to_string(), "ada is called augusta in Crowd by now");
            }
        }
    }
}

#[tokio::test]
async fn a_check_tells_who_answers_and_what_will_not_work() {
    let keyless = || {
        let mut user = user("ada", true);
        user["key"] = Value::Null;
        json!({"users": [user]})
    };
    let (old, script) = crowd(move |_| Reply::json(200, keyless()).with(MARK, "Crowd/2.7.1")).await;
    let check = old.check().await.unwrap();
    assert_eq!(
        (
            check.product.as_str(),
            check.version.as_str(),
            check.account.as_str()
        ),
        ("Crowd", "2.7.1", "the application usher")
    );
    assert_eq!(check.warnings.len(), 2, "{:?}", check.warnings);
    assert_eq!(
        check.warnings[0],
        "Crowd 2.7.1 cannot rename users over REST: needs Crowd 2.8.4 or later"
    );
    assert!(
        check.warnings[1].contains("no stable key"),
        "{:?}",
        check.warnings
    );
    assert_eq!(script.seen().len(), 1);

    // The version of a Jira does not tell what its Crowd can do: it is asked.
    for (status, warnings) in [(405, 0), (404, 1)] {
        let (jira, _script) = crowd(move |seen| match seen.line().as_str() {
            "GET /rest/usermanagement/1/user/rename" => {
                Reply::text(status, "text/plain", "").with(MARK, "JIRA/6.0.0")
            }
            _ => Reply::json(200, json!({"users": []})).with(MARK, "JIRA/6.0.0"),
        })
        .await;
        let check = jira.check().await.unwrap();
        assert_eq!(check.version, "6.0.0 (JIRA as user server)");
        assert_eq!(check.warnings.len(), warnings, "{:?}", check.warnings);
    }
}
