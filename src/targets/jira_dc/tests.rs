//! The client against answers written by hand: what it sends, and how it reads what comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::outbound::script::{Reply, Script, Seen};
use crate::outbound::{Credential, Options};

async fn jira(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (JiraDc, Script) {
    let script = Script::start(answer).await;
    let options = Options {
        timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let client = Client::new(&script.url(), Credential::Bearer("t".into()), options).unwrap();
    (JiraDc::new(client), script)
}

fn user(name: &str, active: bool, groups: &[&str]) -> Value {
    let items: Vec<Value> = groups.iter().map(|g| json!({"name": g})).collect();
    json!({
        "key": format!("KEY-{name}"), "name": name, "displayName": "Ada L", "emailAddress": "ada@x.org",
        "active": active, "groups": {"size": items.len(), "items": items}
    })
}

fn missing() -> Reply {
    Reply::json(
        404,
        json!({"errorMessages": ["The user named 'x' does not exist"], "errors": {}}),
    )
}

fn refused(field: &str, text: &str) -> Reply {
    Reply::json(400, json!({"errorMessages": [], "errors": {field: text}}))
}

fn unexpected(seen: &Seen) -> Reply {
    panic!("unexpected request: {seen:?}")
}

fn deactivate(project: Option<&str>, component: Option<&str>) -> Action {
    Action::Deactivate {
        remote_id: "KEY-ada".into(),
        username: "stale-name".into(),
        successors: LeadSuccessors {
            project: project.map(str::to_owned),
            component: component.map(str::to_owned),
        },
        takes: None,
    }
}

fn add_member() -> Action {
    Action::AddMember {
        remote_id: "KEY-ada".into(),
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

fn rejected(failure: Failure) -> (Option<String>, String) {
    match failure {
        Failure::Rejected { field, text } => (field, text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_404_counts_only_if_jira_wrote_it() {
    let bodies = [
        Reply::text(404, "text/html", "<html>Not found</html>"),
        Reply::json(404, json!({"status": 404, "message": "null for uri"})),
        Reply::text(404, "text/plain", ""),
    ];
    for body in bodies {
        let (jira, _script) = jira(move |_| body.clone()).await;
        let failure = jira.observe(Lookup::Username("ada")).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        assert!(failure.to_string().contains("base_url"), "{failure}");
        let delete = Action::DeleteUser {
            remote_id: "k".into(),
            username: "u".into(),
        };
        let failure = jira.apply(&delete).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        assert!(jira.group_exists("g").await.is_err());
    }
    let (jira, _script) = jira(|_| missing()).await;
    assert_eq!(jira.observe(Lookup::RemoteId("k")).await, Ok(None));
}

#[tokio::test]
async fn pages_for_people_are_no_success() {
    let login = Reply::text(200, "text/html", "<html>Sign in</html>");
    let (html, _script) = jira(move |_| login.clone()).await;
    for action in [create(), add_member(), deactivate(None, None)] {
        let failure = html.apply(&action).await.unwrap_err();
        assert!(
            failure.to_string().contains("proxy or login page"),
            "{failure}"
        );
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    }
    let redirect =
        Reply::json(302, json!({})).with("Location", "https://sso.example.com/in?token=secret");
    let (redirected, script) = jira(move |_| redirect.clone()).await;
    let failure = redirected.apply(&add_member()).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    assert!(
        failure.to_string().contains("https://sso.example.com/in"),
        "{failure}"
    );
    assert!(!failure.to_string().contains("secret"), "{failure}");
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn a_refused_credential_says_what_may_help() {
    let cases = [
        (("X-Seraph-LoginReason", "AUTHENTICATED_FAILED"), "CAPTCHA"),
        (
            ("X-Seraph-LoginReason", "AUTHENTICATION_DENIED"),
            "sign in with that account",
        ),
        (("X-Other", "x"), "wrong, expired or revoked"),
    ];
    for ((name, value), expected) in cases {
        let (jira, _script) =
            jira(move |_| Reply::text(401, "text/html", "<html/>").with(name, value)).await;
        let failure = jira.observe(Lookup::RemoteId("k")).await.unwrap_err();
        assert!(
            matches!(failure, Failure::Unauthorized { .. }),
            "{failure:?}"
        );
        assert!(failure.to_string().contains(expected), "{failure}");
    }
}

#[tokio::test]
async fn whom_a_403_is_about_is_asked() {
    for administers in [true, false] {
        let (jira, _script) = jira(move |seen| match seen.line().as_str() {
            "POST /rest/api/2/group/user" => {
                Reply::json(403, json!({"errorMessages": ["Not you."], "errors": {}}))
            }
            "GET /rest/api/2/mypermissions" => Reply::json(
                200,
                json!({"permissions": {"ADMINISTER": {"havePermission": administers}}}),
            ),
            "GET /rest/api/2/user" => Reply::json(200, user("ada", true, &[])),
            _ => unexpected(seen),
        })
        .await;
        match (administers, jira.apply(&add_member()).await.unwrap_err()) {
            (true, Failure::Rejected { text, .. }) => assert_eq!(text, "Not you"),
            (false, Failure::Unauthorized { text }) => assert!(text.contains("Not you"), "{text}"),
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn all_groups_are_read_however_jira_cuts_the_list() {
    let (jira, _script) = jira(|seen| {
        let page = |items: &[&str]| {
            let mut user = user("ada", true, items);
            user["groups"]["size"] = json!(3);
            Reply::json(200, user)
        };
        match seen.query("expand").as_deref() {
            Some("groups") => page(&["a", "b"]),
            Some("groups[2:1001]") => page(&["c"]),
            _ => unexpected(seen),
        }
    })
    .await;
    let seen = jira
        .observe(Lookup::Username("ADA"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.groups, ["a", "b", "c"]);
}

#[tokio::test]
async fn half_a_list_of_groups_is_a_failure() {
    let (jira, _script) = jira(|_| {
        let mut user = user("ada", true, &["a"]);
        user["groups"]["size"] = json!(3);
        Reply::json(200, user)
    })
    .await;
    let failure = jira.observe(Lookup::Username("ada")).await.unwrap_err();
    assert_eq!(failure.to_string(), "Jira shows 1 of the 3 groups of ada");
}

#[tokio::test]
async fn masked_addresses_are_unknown_and_other_names_are_not_taken() {
    let (jira, _script) = jira(|_| {
        let mut user = user("ada", true, &[]);
        user["emailAddress"] = json!("ada at x dot org");
        Reply::json(200, user)
    })
    .await;
    assert_eq!(
        jira.observe(Lookup::RemoteId("k"))
            .await
            .unwrap()
            .unwrap()
            .email,
        None
    );
    assert_eq!(jira.observe(Lookup::Username("adalbert")).await, Ok(None));
}

#[tokio::test]
async fn an_address_must_match_as_a_whole_and_once() {
    let (jira, _script) = jira(|seen| {
        let of = |name: &str, email: &str| {
            let mut user = user(name, true, &[]);
            user["emailAddress"] = json!(email);
            user
        };
        match (seen.path.as_str(), seen.query("username").as_deref()) {
            ("/rest/api/2/user/search", Some("a+b@X.ORG")) => Reply::json(
                200,
                json!([of("one", "A+B@x.org"), of("two", "aa+b@x.org")]),
            ),
            ("/rest/api/2/user/search", Some("twice@x.org")) => Reply::json(
                200,
                json!([of("one", "twice@x.org"), of("two", "TWICE@x.org")]),
            ),
            ("/rest/api/2/user", _) if seen.query("key").as_deref() == Some("KEY-one") => {
                Reply::json(200, user("one", true, &["g"]))
            }
            _ => unexpected(seen),
        }
    })
    .await;
    let found = jira
        .observe(Lookup::Email("a+b@X.ORG"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.username.as_str(), found.groups),
        ("one", vec!["g".to_owned()])
    );
    assert_eq!(jira.observe(Lookup::Email("twice@x.org")).await, Ok(None));
    assert_eq!(jira.observe(Lookup::Email("")).await, Ok(None));
}

#[tokio::test]
async fn a_create_refused_as_taken_succeeds_only_for_what_was_sent() {
    for (display_name, active, expected) in [
        ("Ada L", true, true),
        ("Somebody Else", true, false),
        ("Ada L", false, false),
    ] {
        let (jira, _script) = jira(move |seen| match seen.method.as_str() {
            "POST" => refused("username", "A user with that username already exists."),
            _ => {
                let mut user = user("ADA", active, &["g"]);
                user["displayName"] = json!(display_name);
                Reply::json(200, user)
            }
        })
        .await;
        match jira.apply(&create()).await {
            Ok(applied) => {
                assert!(expected && applied.already);
                assert_eq!(applied.account.unwrap().remote_id, "KEY-ADA");
            }
            Err(failure) => {
                assert!(!expected);
                let words = "A user with that username already exists";
                assert_eq!(rejected(failure), (Some("username".into()), words.into()));
            }
        }
    }
}

#[tokio::test]
async fn a_deactivation_uses_the_present_name_and_is_read_back() {
    let puts = AtomicUsize::new(0);
    let (jira, script) = jira(move |seen| match seen.line().as_str() {
        "GET /rest/api/2/user" => {
            Reply::json(200, user("ada", puts.load(Ordering::SeqCst) == 0, &["g"]))
        }
        "PUT /rest/api/2/user" => {
            puts.fetch_add(1, Ordering::SeqCst);
            Reply::json(200, user("ada", false, &[]))
        }
        "DELETE /rest/api/2/user/session/ada" => Reply::json(404, json!({})),
        _ => unexpected(seen),
    })
    .await;
    let applied = jira.apply(&deactivate(None, None)).await.unwrap();
    let account = applied.account.unwrap();
    assert!(!account.active && account.groups == ["g"] && applied.notes.is_empty());
    let seen = script.seen();
    let put = seen.iter().find(|s| s.method == "PUT").unwrap();
    assert_eq!(put.body, json!({"name": "ada", "active": false}));
    assert_eq!(put.query("key").as_deref(), Some("KEY-ada"));
    // Again: nothing is written.
    let again = jira.apply(&deactivate(None, None)).await.unwrap();
    assert!(again.already);
    assert_eq!(script.writes().len(), 2);
}

#[tokio::test]
async fn a_jira_that_ignores_active_is_found_out() {
    for (numbers, version, expected) in [
        (
            json!([8, 2, 1]),
            "8.2.1",
            "Jira 8.2.1 ignores `active` over REST; needs 8.3 or later",
        ),
        (
            json!([9, 12, 4]),
            "9.12.4",
            "Jira 9.12.4 accepted the change but still shows ada",
        ),
    ] {
        let (jira, _script) = jira(move |seen| match seen.line().as_str() {
            "GET /rest/api/2/serverInfo" => {
                Reply::json(200, json!({"version": version, "versionNumbers": numbers}))
            }
            "GET /rest/api/2/user" | "PUT /rest/api/2/user" => {
                Reply::json(200, user("ada", true, &[]))
            }
            _ => unexpected(seen),
        })
        .await;
        let (field, text) = rejected(jira.apply(&deactivate(None, None)).await.unwrap_err());
        assert_eq!(field.as_deref(), Some("active"));
        assert!(text.starts_with(expected), "{text}");
    }
}

/// A Jira in which ada leads project `PA` and components of `PA` and `PB`, and which refuses to deactivate her until
/// all are handed over. `paged`: whether it can list components in pages.
async fn with_leads(paged: bool) -> (JiraDc, Script) {
    let handed = AtomicUsize::new(0);
    let lead = |name: &str| json!({"name": name, "key": format!("KEY-{name}")});
    let component = move |id: &str, project: &str, by: &str| json!({"id": id, "name": format!("C{id}"), "project": project, "lead": lead(by)});
    jira(move |seen| {
        let done = handed.load(Ordering::SeqCst) >= 3;
        match seen.line().as_str() {
            "GET /rest/api/2/user" => match seen.query("username").as_deref() {
                Some("nobody") => missing(),
                Some("gone") => Reply::json(200, user("gone", false, &[])),
                Some(other) => Reply::json(200, user(other, true, &[])),
                None => Reply::json(200, user("ada", !done, &[])),
            },
            "PUT /rest/api/2/user" if done => Reply::json(200, user("ada", false, &[])),
            "PUT /rest/api/2/user" => refused("active", "Cannot deactivate, leads: PA, PB."),
            "GET /rest/api/2/project" => Reply::json(
                200,
                json!([
                    {"key": "PA", "lead": lead("ada")},
                    {"key": "PB", "lead": lead("bob")},
                    {"key": "PC", "lead": lead("bob")},
                ]),
            ),
            "GET /rest/api/2/component/page" if paged => {
                let (values, last) = match seen.query("startAt").as_deref() {
                    Some("0") => (
                        json!([component("1", "PA", "ada"), component("9", "PC", "bob")]),
                        false,
                    ),
                    Some("2") => (json!([component("2", "PB", "ada")]), true),
                    _ => return unexpected(seen),
                };
                Reply::json(200, json!({"values": values, "isLast": last}))
            }
            "GET /rest/api/2/component/page" => Reply::json(
                404,
                json!({"errorMessages": ["No component page."], "errors": {}}),
            ),
            "GET /rest/api/2/project/PA/components" => {
                Reply::json(200, json!([component("1", "PA", "ada")]))
            }
            "GET /rest/api/2/project/PB/components" => {
                Reply::json(200, json!([component("2", "PB", "ada")]))
            }
            "PUT /rest/api/2/project/PA"
            | "PUT /rest/api/2/component/1"
            | "PUT /rest/api/2/component/2" => {
                handed.fetch_add(1, Ordering::SeqCst);
                Reply::json(200, json!({}))
            }
            "DELETE /rest/api/2/user/session/ada" => Reply::text(200, "application/json", ""),
            _ => unexpected(seen),
        }
    })
    .await
}

#[tokio::test]
async fn everything_led_is_handed_over() {
    for paged in [true, false] {
        let (jira, script) = with_leads(paged).await;
        let applied = jira
            .apply(&deactivate(Some("pm"), Some("cm")))
            .await
            .unwrap();
        assert!(!applied.account.unwrap().active);
        assert_eq!(
            applied.notes,
            [
                "project PA handed over from ada to pm",
                "component C1 of PA handed over from ada to cm",
                "component C2 of PB handed over from ada to cm",
                "ended the sessions of ada",
            ]
        );
        let seen = script.seen();
        let body = |line: &str| seen.iter().find(|s| s.line() == line).unwrap().body.clone();
        assert_eq!(body("PUT /rest/api/2/project/PA"), json!({"lead": "pm"}));
        assert_eq!(
            body("PUT /rest/api/2/component/2"),
            json!({"leadUserName": "cm"})
        );
        // Only the projects that Jira named were looked into.
        assert!(!seen.iter().any(|s| s.path.contains("/project/PC")));
    }
}

#[tokio::test]
async fn components_fall_back_to_the_lead_of_their_project() {
    let (jira, script) = with_leads(true).await;
    let applied = jira.apply(&deactivate(Some("pm"), None)).await.unwrap();
    assert_eq!(
        applied.notes[1],
        "component C1 of PA handed over from ada to pm"
    );
    assert_eq!(
        applied.notes[2],
        "component C2 of PB handed over from ada to bob"
    );
    assert_eq!(script.writes().len(), 6);
}

#[tokio::test]
async fn nothing_is_handed_over_unless_everything_can_be() {
    for (project, component, expected) in [
        (None, None, "leads project PA: set default_project_lead"),
        (
            None,
            Some("cm"),
            "leads project PA: set default_project_lead",
        ),
        (
            Some("nobody"),
            Some("cm"),
            "the successor nobody does not exist",
        ),
        (Some("pm"), Some("gone"), "the successor gone is inactive"),
        (Some("pm"), Some("ada"), "ada cannot succeed itself"),
    ] {
        let (jira, script) = with_leads(true).await;
        let outcome = jira.apply(&deactivate(project, component)).await;
        let (field, text) = rejected(outcome.unwrap_err());
        assert_eq!(field.as_deref(), Some("active"));
        assert!(
            text.starts_with("Cannot deactivate, leads: PA, PB"),
            "{text}"
        );
        assert!(text.contains(expected), "{text}");
        assert_eq!(script.writes(), ["PUT /rest/api/2/user"]);
    }
}

#[tokio::test]
async fn leads_that_usher_cannot_see_are_told() {
    let (jira, script) = jira(|seen| match seen.line().as_str() {
        "GET /rest/api/2/user" => Reply::json(200, user("ada", true, &[])),
        "PUT /rest/api/2/user" => refused("active", "Leads a project."),
        "GET /rest/api/2/project" => Reply::json(200, json!([])),
        "GET /rest/api/2/component/page" => Reply::json(200, json!({"values": [], "isLast": true})),
        _ => unexpected(seen),
    })
    .await;
    let failure = jira
        .apply(&deactivate(Some("pm"), Some("pm")))
        .await
        .unwrap_err();
    let (_, text) = rejected(failure);
    assert!(text.contains("browse all projects"), "{text}");
    assert_eq!(script.writes().len(), 1);
}

#[tokio::test]
async fn a_failed_handover_tells_what_was_done_before() {
    let (jira, _script) = jira(|seen| match seen.line().as_str() {
        "GET /rest/api/2/user" => {
            let name = seen.query("username").unwrap_or_else(|| "ada".into());
            Reply::json(200, user(&name, true, &[]))
        }
        "PUT /rest/api/2/user" => refused("active", "Leads."),
        "GET /rest/api/2/project" => Reply::json(
            200,
            json!([{"key": "PA", "lead": {"name": "ada"}}, {"key": "PB", "lead": {"name": "ADA"}}]),
        ),
        "GET /rest/api/2/component/page" => Reply::json(200, json!({"values": [], "isLast": true})),
        "PUT /rest/api/2/project/PA" => Reply::json(200, json!({})),
        "PUT /rest/api/2/project/PB" => refused("projectLead", "No."),
        _ => unexpected(seen),
    })
    .await;
    let failure = jira.apply(&deactivate(Some("pm"), None)).await.unwrap_err();
    let (field, text) = rejected(failure);
    assert_eq!(field.as_deref(), Some("projectLead"));
    assert_eq!(
        text,
        "project PB could not be handed over to pm: No (done before: project PA handed over from ada to pm)"
    );
}

#[tokio::test]
async fn a_membership_is_asked_for_before_a_refusal_is_believed() {
    for (groups, expected) in [(vec!["devs & OPS"], true), (vec!["other"], false)] {
        let (jira, script) = jira(move |seen| match seen.method.as_str() {
            "POST" => Reply::json(
                400,
                json!({"errorMessages": ["Is a member or so."], "errors": {}}),
            ),
            _ => Reply::json(200, user("ada", true, &groups)),
        })
        .await;
        match jira.apply(&add_member()).await {
            Ok(applied) => assert!(expected && applied.already),
            Err(failure) => assert!(!expected && rejected(failure).1 == "Is a member or so"),
        }
        let seen = script.seen();
        assert_eq!(seen[0].query("groupname").as_deref(), Some("Devs & Ops"));
        assert_eq!(seen[0].body, json!({"name": "ada"}));
    }
}

#[tokio::test]
async fn what_is_missing_for_a_membership_is_named() {
    for (group, name, expected) in [
        (false, "ada", "Jira has no group Devs & Ops"),
        (true, "", "Jira has no user with key KEY-ada"),
        (true, "augusta", "ada is called augusta in Jira by now"),
    ] {
        let (jira, _script) = jira(move |seen| match seen.line().as_str() {
            "GET /rest/api/2/groups/picker" if group => Reply::json(
                200,
                json!({"groups": [{"name": "Devs & Ops 2"}, {"name": "Devs & OPS"}]}),
            ),
            "GET /rest/api/2/groups/picker" => Reply::json(200, json!({"groups": []})),
            "GET /rest/api/2/user" if !name.is_empty() => Reply::json(200, user(name, true, &[])),
            _ => missing(),
        })
        .await;
        assert_eq!(
            jira.apply(&add_member()).await,
            Err(Failure::Gone {
                text: expected.to_owned()
            })
        );
    }
}

#[tokio::test]
async fn a_removal_under_an_old_name_is_not_taken_for_done() {
    let (jira, _script) = jira(|seen| match seen.method.as_str() {
        "DELETE" => missing(),
        _ => Reply::json(200, user("augusta", true, &["devs"])),
    })
    .await;
    let (remote_id, username, group) = ("KEY-ada".into(), "ada".into(), "devs".into());
    let failure = jira
        .apply(&Action::RemoveMember {
            remote_id,
            username,
            group,
        })
        .await
        .unwrap_err();
    assert_eq!(
        failure,
        Failure::Gone {
            text: "ada is called augusta in Jira by now".into()
        }
    );
}

#[tokio::test]
async fn a_group_beyond_the_pickers_limit_exists() {
    let (jira, _script) = jira(|seen| match seen.path.as_str() {
        "/rest/api/2/groups/picker" => Reply::json(200, json!({"groups": [{"name": "dev-1"}]})),
        "/rest/api/2/group/member" => Reply::json(200, json!({"values": [], "isLast": true})),
        _ => unexpected(seen),
    })
    .await;
    assert_eq!(jira.group_exists("dev").await, Ok(Some("dev".into())));
}

#[tokio::test]
async fn a_check_tells_version_rights_and_what_will_not_work() {
    let (jira, _script) = jira(|seen| match seen.path.as_str() {
        "/rest/api/2/serverInfo" => {
            Reply::json(200, json!({"version": "8.2.3", "versionNumbers": [8, 2, 3]}))
        }
        "/rest/api/2/myself" => Reply::json(200, user("usher", true, &[])),
        "/rest/api/2/mypermissions" => Reply::json(
            200,
            json!({"permissions": {"ADMINISTER": {"havePermission": true}, "USER_PICKER": {"havePermission": false}}}),
        ),
        _ => unexpected(seen),
    })
    .await;
    let check = jira.check().await.unwrap();
    assert_eq!(
        (check.version.as_str(), check.account.as_str()),
        ("8.2.3", "usher")
    );
    assert_eq!(check.rights.len(), 1);
    assert_eq!(check.warnings.len(), 2, "{:?}", check.warnings);
    assert!(check.warnings[0].contains("Browse Users"));
    assert_eq!(
        check.warnings[1],
        "Jira 8.2.3 cannot deactivate or reactivate over REST: needs 8.3 or later"
    );
}

#[tokio::test]
async fn a_check_finds_a_wrong_address() {
    for reply in [
        Reply::json(404, json!({"errorMessages": []})),
        Reply::json(200, json!({"name": "other"})),
    ] {
        let (jira, _script) = jira(move |_| reply.clone()).await;
        let (field, text) = rejected(jira.check().await.unwrap_err());
        assert_eq!(field.as_deref(), Some("base_url"));
        assert!(text.contains("is not the address of a Jira"), "{text}");
    }
}

#[tokio::test]
async fn its_own_account_and_the_administrators_are_protected_and_remembered() {
    let (jira, script) = jira(|seen| match seen.path.as_str() {
        "/rest/api/2/myself" => Reply::json(200, user("usher", true, &[])),
        "/rest/api/2/user" => Reply::json(
            200,
            user(
                "usher",
                true,
                &["Jira-Administrators", "Site Admins", "users"],
            ),
        ),
        "/rest/api/2/groups/picker" => Reply::json(
            200,
            json!({"groups": [
                {"name": "bosses", "labels": [{"text": "Admin", "type": "ADMIN"}]},
                {"name": "users", "labels": [{"type": "MULTIPLE"}]},
            ]}),
        ),
        _ => unexpected(seen),
    })
    .await;
    let protected = jira.protected().await.unwrap();
    assert_eq!(protected.users, ["usher"]);
    assert_eq!(
        protected.groups,
        [
            "jira-administrators",
            "jira-system-administrators",
            "bosses",
            "Site Admins"
        ]
    );
    jira.protected().await.unwrap();
    assert_eq!(script.seen().len(), 3);
}

#[tokio::test]
async fn a_rename_that_jira_does_not_show_is_no_success() {
    let (jira, _script) = jira(|_| Reply::json(200, user("ada", true, &[]))).await;
    let rename = |to: &str| Action::RenameUser {
        remote_id: "KEY-ada".into(),
        from: "ada".into(),
        to: to.into(),
    };
    let (field, text) = rejected(jira.apply(&rename("augusta")).await.unwrap_err());
    assert_eq!(field.as_deref(), Some("name"));
    assert!(text.contains("shows ada"), "{text}");
    assert_eq!(
        jira.apply(&rename("ADA"))
            .await
            .unwrap()
            .account
            .unwrap()
            .username,
        "ada"
    );
}
