//! The pure function at the heart of Usher: rules and a user give the account that is wanted.

use std::collections::BTreeMap;

use minijinja::value::Value;
use serde_json::Value as Json;

use super::context::{self, IDCS_USER, attribute};
use super::expression::Expression;
use super::groups::{Candidate, SourceGroup, Way};
use super::rules::Rules;
use crate::domain::{AccountRules, Desired, DesiredAccount, DesiredGroup, GroupBinding, Presence};
use crate::scim::fold::{self, fold_text};
use crate::scim::{Doc, ResourceType};

/// A user as the mirror holds it.
#[derive(Debug, Clone, Copy)]
pub struct SourceUser<'a> {
    /// The SCIM user as it is shown to clients, with `id` and `groups`.
    pub doc: &'a Doc,
    /// Whether the source deleted it.
    pub deleted: bool,
    /// Whether the source grants the application to it, where only that counts.
    pub granted: bool,
    /// Whether Usher is about to make the account.
    pub new_account: bool,
    /// Default groups that the account was given when Usher made it.
    pub given: &'a [String],
}

/// What the target should have for one user, and why.
///
/// The order of `groups` does not matter, and nothing in the document can make it fail: what the
/// rules cannot use is told in the result.
pub fn desired(rules: &Rules, user: &SourceUser<'_>, groups: &[SourceGroup]) -> Desired {
    let mut because = Vec::new();
    let presence = presence(rules, user, &mut because);
    let mut told = AccountRules {
        presence: because.last().cloned().unwrap_or_default(),
        ..AccountRules::default()
    };
    let account = account(rules, user.doc, &mut because, &mut told);
    // Someone inactive keeps the memberships, so these stay wanted.
    let (groups, bindings) = match presence {
        Presence::Active | Presence::Inactive => wanted_groups(rules, user, groups, &mut because),
        Presence::Deleted | Presence::OutOfScope => (Vec::new(), Vec::new()),
    };
    Desired {
        presence,
        account,
        groups,
        bindings,
        because,
        rules: told,
    }
}

fn presence(rules: &Rules, user: &SourceUser<'_>, because: &mut Vec<String>) -> Presence {
    let flag = |name: &str| attribute(user.doc, name).and_then(Json::as_bool);
    if user.deleted {
        because.push("deleted: the source deleted the user".to_owned());
        return Presence::Deleted;
    }
    if flag("deleteInProgress") == Some(true) {
        because.push("deleted: the source is deleting the user (deleteInProgress)".to_owned());
        return Presence::Deleted;
    }
    if !user.granted {
        because.push("out of scope: the application is not granted to the user".to_owned());
        return Presence::OutOfScope;
    }
    let service_user = attribute(user.doc, IDCS_USER)
        .and_then(Json::as_object)
        .and_then(|extension| attribute(extension, "serviceUser"))
        .and_then(Json::as_bool);
    if service_user == Some(true) && rules.compiled().skip_service_users {
        because.push("out of scope: service users are skipped (serviceUser is true)".to_owned());
        return Presence::OutOfScope;
    }
    if let Some(scope) = &rules.compiled().scope {
        let text = rules.settings().users.scope.as_deref().unwrap_or_default();
        if !scope.matches(&fold::fold(ResourceType::User, user.doc)) {
            because.push(format!("out of scope: \"{text}\" does not match"));
            return Presence::OutOfScope;
        }
        because.push(format!("in scope: \"{text}\" matches"));
    } else {
        because.push("in scope: everyone is".to_owned());
    }
    if flag("active") == Some(false) {
        because.push("inactive: the source says active: false".to_owned());
        return Presence::Inactive;
    }
    Presence::Active
}

fn account(
    rules: &Rules,
    doc: &Doc,
    because: &mut Vec<String>,
    told: &mut AccountRules,
) -> Result<DesiredAccount, String> {
    let compiled = rules.compiled();
    let variables = context::variables(doc);
    // All three are evaluated, so that the preview shows everything that is wrong.
    let mut part = |rule, expression, line: &mut String| {
        let part = result(rule, expression, &variables, because);
        *line = because.last().cloned().unwrap_or_default();
        part
    };
    let username = part("username", &compiled.username, &mut told.username);
    let display_name = part(
        "display_name",
        &compiled.display_name,
        &mut told.display_name,
    );
    let email = part("email", &compiled.email, &mut told.email);

    let username = one_line("username", username?)?;
    if username.is_empty() {
        return Err(format!(
            "username = \"{}\" gives nothing",
            compiled.username.source()
        ));
    }
    // A line break or tab in a name is a slip of the pen; it should not cost anybody the account.
    let mut display_name = display_name?
        .replace(char::is_control, " ")
        .trim()
        .to_owned();
    if display_name.is_empty() {
        because.push("display_name is empty: the user name stands in".to_owned());
        display_name.clone_from(&username);
    }
    let email = Some(one_line("email", email?)?).filter(|email| !email.is_empty());
    if let Some(pattern) = rules.protects_user(&username) {
        because.push(format!(
            "user name \"{username}\" is protected by \"{pattern}\""
        ));
    }
    Ok(DesiredAccount {
        username,
        display_name,
        email,
    })
}

fn result(
    rule: &str,
    expression: &Expression,
    variables: &Value,
    because: &mut Vec<String>,
) -> Result<String, String> {
    let source = expression.source();
    match expression.eval(variables) {
        Ok(text) if text.is_empty() => {
            because.push(format!("{rule} = \"{source}\" gives nothing"));
            Ok(text)
        }
        Ok(text) => {
            because.push(format!("{rule} = \"{source}\" gives \"{text}\""));
            Ok(text)
        }
        Err(error) => {
            let text = format!("{rule} = \"{source}\" fails: {error}");
            because.push(text.clone());
            Err(text)
        }
    }
}

fn one_line(rule: &str, text: String) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err(format!("{rule} contains a control character: {text:?}"));
    }
    Ok(text)
}

/// Why somebody is in a group, or is not: one line of the result.
struct Wish<'a> {
    way: Way,
    /// The line, but for the outcome.
    place: String,
    /// Of several ways to one target group the firmest is told: a rule of its own before the names of the
    /// source, these before the values of attributes, and all before default groups.
    rank: u8,
    group: Option<&'a SourceGroup>,
}

fn wanted_groups(
    rules: &Rules,
    user: &SourceUser<'_>,
    groups: &[SourceGroup],
    because: &mut Vec<String>,
) -> (Vec<DesiredGroup>, Vec<GroupBinding>) {
    let mut wishes = wishes(rules, user, groups, because);
    // Of ways of one rank: the group that already stands for it, then a direct membership, then the smallest
    // identifier.
    wishes.sort_by_cached_key(|wish| {
        (
            fold_text(&wish.way.target),
            wish.rank,
            wish.group.is_none_or(|g| g.alias.is_none()),
            wish.group.is_some_and(|g| g.via.is_some()),
            wish.group.map(|g| g.id.clone()),
            wish.way.target.clone(),
            wish.place.clone(),
        )
    });
    let mut wanted: BTreeMap<String, DesiredGroup> = BTreeMap::new();
    let mut bindings = Vec::new();
    for wish in wishes {
        let place = &wish.place;
        let why = match &wish.way.because {
            Ok(why) => why,
            Err(why) => {
                let line = format!("{place}: left out, {why}");
                // A group may come both directly and through others.
                if because.last() != Some(&line) {
                    because.push(line);
                }
                continue;
            }
        };
        let folded = fold_text(&wish.way.target);
        if let Some(group) = wish.group {
            let binding = GroupBinding {
                source_group_id: group.id.clone(),
                known_as: known_as(group).to_owned(),
                target_group: wish.way.target.clone(),
            };
            if !bindings.contains(&binding) {
                bindings.push(binding);
            }
        }
        let source_group_id = wish.group.map(|g| g.id.clone());
        if let Some(first) = wanted.get_mut(&folded) {
            first.express |= wish.way.express;
            if first.source_group_id != source_group_id || source_group_id.is_none() {
                because.push(format!("{place}: \"{}\" is wanted already", first.name));
            }
            continue;
        }
        let rule = format!("{place}: {why}");
        because.push(rule.clone());
        wanted.insert(
            folded,
            DesiredGroup {
                name: wish.way.target,
                because: rule,
                source_group_id,
                express: wish.way.express,
            },
        );
    }
    (wanted.into_values().collect(), bindings)
}

fn wishes<'a>(
    rules: &Rules,
    user: &SourceUser<'_>,
    groups: &'a [SourceGroup],
    because: &mut Vec<String>,
) -> Vec<Wish<'a>> {
    let compiled = &rules.compiled().groups;
    let mut wishes = Vec::new();
    let mut add = |place: &str, candidate: &Candidate<'_>, rank, group| {
        for way in compiled.ways(rules, candidate) {
            wishes.push(Wish {
                rank: if way.express { 0 } else { rank },
                way,
                place: place.to_owned(),
                group,
            });
        }
    };
    if compiled.ignores_the_source() {
        if !groups.is_empty() {
            because.push("groups: none, on-the-fly groups are off".to_owned());
        }
    } else {
        for group in groups {
            let candidate = Candidate {
                name: &group.name,
                alias: group.alias.as_deref(),
            };
            add(&membership(group), &candidate, 1, Some(group));
        }
        for attribute in &compiled.attributes {
            for name in attribute.names(user.doc) {
                let candidate = Candidate {
                    name: &name,
                    alias: None,
                };
                let place = format!("{} is \"{name}\"", attribute.source);
                add(&place, &candidate, 2, None);
            }
        }
    }
    let mut default = |names: &[String], place: &str, why: &str| {
        for name in names {
            wishes.push(Wish {
                way: Way {
                    target: name.clone(),
                    because: Ok(why.to_owned()),
                    express: true,
                },
                place: format!("\"{name}\" {place}"),
                rank: 3,
                group: None,
            });
        }
    };
    default(&compiled.for_all, "for everyone", "default group (for_all)");
    default(
        user.given,
        "since the account was made",
        "default group of new accounts (for_new)",
    );
    if user.new_account {
        default(
            &compiled.for_new,
            "for the new account",
            "default group of new accounts (for_new)",
        );
    }
    wishes
}

fn known_as(group: &SourceGroup) -> &str {
    group
        .alias
        .as_deref()
        .map(str::trim)
        .filter(|alias| !alias.is_empty())
        .unwrap_or(group.name.trim())
}

fn membership(group: &SourceGroup) -> String {
    match &group.via {
        None => format!("in group \"{}\"", group.name),
        Some(via) => format!("in group \"{}\" through \"{via}\"", group.name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::groups::tests::manual;
    use super::*;
    use crate::domain::{GroupRules, MappingSettings, UserRules};

    fn rules(users: UserRules, groups: GroupRules) -> Rules {
        Rules::compile(&MappingSettings {
            users,
            groups,
            ..MappingSettings::default()
        })
        .unwrap()
    }

    fn on_the_fly() -> GroupRules {
        GroupRules {
            on_the_fly: true,
            ..GroupRules::default()
        }
    }

    fn ada() -> Json {
        json!({
            "id": "u1",
            "userName": "Ada@Example.com",
            "displayName": "Ada Byron",
            "name": { "formatted": "Lady Ada" },
            "active": true,
            "userType": "Employee",
            "emails": [
                { "value": "ada@home.example", "type": "recovery", "primary": false },
                { "value": "ada@example.com", "type": "work", "primary": true }
            ]
        })
    }

    fn with(mut doc: Json, changes: &Json) -> Json {
        for (key, value) in changes.as_object().unwrap() {
            doc[key] = value.clone();
        }
        doc
    }

    fn compute(rules: &Rules, doc: &Json, groups: &[SourceGroup]) -> Desired {
        desired(
            rules,
            &SourceUser {
                doc: doc.as_object().unwrap(),
                deleted: false,
                granted: true,
                new_account: false,
                given: &[],
            },
            groups,
        )
    }

    fn group(id: &str, name: &str) -> SourceGroup {
        SourceGroup {
            id: id.to_owned(),
            name: name.to_owned(),
            alias: None,
            via: None,
        }
    }

    fn names(desired: &Desired) -> Vec<&str> {
        desired.groups.iter().map(|g| g.name.as_str()).collect()
    }

    #[test]
    fn the_defaults_give_an_account_and_say_why() {
        let desired = compute(
            &rules(UserRules::default(), GroupRules::default()),
            &ada(),
            &[],
        );
        assert_eq!(
            desired,
            Desired {
                presence: Presence::Active,
                account: Ok(DesiredAccount {
                    username: "ada@example.com".to_owned(),
                    display_name: "Ada Byron".to_owned(),
                    email: Some("ada@example.com".to_owned()),
                }),
                groups: Vec::new(),
                bindings: Vec::new(),
                because: vec![
                    "in scope: everyone is".to_owned(),
                    "username = \"userName | lower\" gives \"ada@example.com\"".to_owned(),
                    "display_name = \"displayName or name.formatted or userName\" gives \"Ada Byron\""
                        .to_owned(),
                    "email = \"primary_email\" gives \"ada@example.com\"".to_owned(),
                ],
                rules: AccountRules {
                    presence: "in scope: everyone is".to_owned(),
                    username: "username = \"userName | lower\" gives \"ada@example.com\"".to_owned(),
                    display_name:
                        "display_name = \"displayName or name.formatted or userName\" gives \"Ada Byron\""
                            .to_owned(),
                    email: "email = \"primary_email\" gives \"ada@example.com\"".to_owned(),
                },
            }
        );
    }

    #[test]
    fn missing_attributes_fall_through() {
        let rules = rules(UserRules::default(), GroupRules::default());
        let account = |doc: Json| compute(&rules, &doc, &[]).account;
        let names = |doc: Json| account(doc).unwrap().display_name;
        assert_eq!(
            names(json!({ "userName": "ada", "name": { "formatted": "Ada" } })),
            "Ada"
        );
        assert_eq!(
            names(json!({ "userName": "ada", "displayName": "" })),
            "ada"
        );
        assert_eq!(
            names(json!({ "userName": "ada", "displayName": null, "name": null })),
            "ada"
        );
        assert_eq!(
            names(json!({ "userName": "ada", "displayName": "\tAda\n Byron " })),
            "Ada  Byron"
        );
        assert_eq!(names(json!({ "USERNAME": "ada" })), "ada");
        assert_eq!(account(json!({ "userName": "ada" })).unwrap().email, None);
        assert_eq!(
            account(json!({})).unwrap_err(),
            "username = \"userName | lower\" gives nothing"
        );
        // `null | lower` must not become somebody called "none".
        assert!(account(json!({ "userName": null })).is_err());
        assert_eq!(
            account(json!({ "userName": 4711 })).unwrap().username,
            "4711"
        );
        assert!(
            account(json!({ "userName": "a\nb" }))
                .unwrap_err()
                .contains("control character")
        );
        assert!(
            account(json!({ "userName": "a".repeat(256) }))
                .unwrap_err()
                .contains("255")
        );
        assert_eq!(
            account(json!({ "userName": "ä".repeat(255) }))
                .unwrap()
                .username
                .chars()
                .count(),
            255
        );
    }

    #[test]
    fn an_empty_display_name_falls_back_to_the_user_name() {
        let users = UserRules {
            display_name: "title".to_owned(),
            ..UserRules::default()
        };
        let desired = compute(&rules(users, GroupRules::default()), &ada(), &[]);
        assert_eq!(desired.account.unwrap().display_name, "ada@example.com");
        assert!(
            desired
                .because
                .iter()
                .any(|b| b == "display_name is empty: the user name stands in")
        );
    }

    #[test]
    fn an_expression_that_fails_costs_the_account_and_says_so() {
        let users = UserRules {
            username: "name.givenName | ascii".to_owned(),
            ..UserRules::default()
        };
        let doc = json!({ "userName": "ivan", "name": { "givenName": "Иван" } });
        let desired = compute(&rules(users, GroupRules::default()), &doc, &[]);
        let text = desired.account.unwrap_err();
        assert_eq!(
            text,
            "username = \"name.givenName | ascii\" fails: invalid operation: \"И\" has no ASCII spelling"
        );
        assert!(desired.because.contains(&text));
    }

    #[test]
    fn extensions_are_reached_by_urn_and_enterprise_by_its_short_name() {
        let doc = with(
            ada(),
            &json!({
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "employeeNumber": "1815" },
                "urn:ietf:params:scim:schemas:idcs:extension:custom:User": { "login": "byron" },
                "enterprise": "not this one"
            }),
        );
        for (expression, expected) in [
            ("enterprise.employeeNumber", "1815"),
            (
                "user[\"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User\"].employeeNumber",
                "1815",
            ),
            (
                "user[\"urn:ietf:params:scim:schemas:idcs:extension:custom:User\"].login",
                "byron",
            ),
            ("user[\"urn:none\"].x or userName | before('@')", "Ada"),
        ] {
            let users = UserRules {
                username: expression.to_owned(),
                ..UserRules::default()
            };
            let desired = compute(&rules(users, GroupRules::default()), &doc, &[]);
            assert_eq!(desired.account.unwrap().username, expected, "{expression}");
        }
    }

    #[test]
    fn presence_follows_deletion_then_scope_then_active() {
        let users = UserRules {
            scope: Some("userType ne \"Service\"".to_owned()),
            ..UserRules::default()
        };
        let rules = rules(users, on_the_fly());
        let groups = [group("g1", "jira-users")];
        let service = json!({ IDCS_USER: { "serviceUser": true } });
        let of = |changes: Json| {
            let desired = compute(&rules, &with(ada(), &changes), &groups);
            (
                desired.presence,
                desired.groups.len(),
                desired.because[0].clone(),
            )
        };
        let line = |text: &str| text.to_owned();
        assert_eq!(
            of(json!({})),
            (
                Presence::Active,
                1,
                line("in scope: \"userType ne \"Service\"\" matches")
            )
        );
        assert_eq!(of(json!({ "active": false })).0, Presence::Inactive);
        assert_eq!(of(json!({ "active": false })).1, 1);
        assert_eq!(of(json!({ "active": null })).0, Presence::Active);
        assert_eq!(
            of(json!({ "userType": "service", "active": false })),
            (
                Presence::OutOfScope,
                0,
                line("out of scope: \"userType ne \"Service\"\" does not match")
            )
        );
        assert_eq!(
            of(service),
            (
                Presence::OutOfScope,
                0,
                line("out of scope: service users are skipped (serviceUser is true)")
            )
        );
        assert_eq!(
            of(json!({ "deleteInProgress": true, "userType": "Service" })),
            (
                Presence::Deleted,
                0,
                line("deleted: the source is deleting the user (deleteInProgress)")
            )
        );
        let doc = ada();
        let ungranted = SourceUser {
            doc: doc.as_object().unwrap(),
            deleted: false,
            granted: false,
            new_account: false,
            given: &[],
        };
        let ungranted = desired(&rules, &ungranted, &groups);
        assert_eq!(ungranted.presence, Presence::OutOfScope);
        assert!(ungranted.groups.is_empty());
        let gone = SourceUser {
            doc: doc.as_object().unwrap(),
            deleted: true,
            granted: true,
            new_account: false,
            given: &[],
        };
        let gone = desired(&rules, &gone, &groups);
        assert_eq!(gone.presence, Presence::Deleted);
        assert!(gone.groups.is_empty());
        // Still computed, so that the account can be found.
        assert_eq!(gone.account.unwrap().username, "ada@example.com");
    }

    #[test]
    fn a_scope_that_speaks_of_service_users_decides_about_them() {
        let scope = format!("{IDCS_USER}:serviceUser eq true");
        let rules = rules(
            UserRules {
                scope: Some(scope),
                ..UserRules::default()
            },
            GroupRules::default(),
        );
        let robot = with(ada(), &json!({ IDCS_USER: { "serviceUser": true } }));
        assert_eq!(compute(&rules, &robot, &[]).presence, Presence::Active);
        assert_eq!(compute(&rules, &ada(), &[]).presence, Presence::OutOfScope);
    }

    #[test]
    fn groups_are_allowed_denied_and_protected() {
        let groups = GroupRules {
            allow: vec!["jira-*".to_owned(), "all-*".to_owned()],
            deny: vec!["jira-secret?".to_owned(), "All-Domain-Users".to_owned()],
            ..on_the_fly()
        };
        let desired = compute(
            &rules(UserRules::default(), groups),
            &ada(),
            &[
                group("1", "jira-users"),
                group("2", "Jira-Administrators"),
                group("3", "jira-secrets"),
                group("4", "staff"),
                group("5", "All-Domain-Users"),
                group("6", " "),
                group("7", "JIRA-Devs"),
                group("8", "jira-a\nb"),
            ],
        );
        assert_eq!(names(&desired), ["JIRA-Devs", "jira-users"]);
        assert_eq!(
            desired.groups[1],
            DesiredGroup {
                name: "jira-users".to_owned(),
                because: "in group \"jira-users\": on-the-fly group of the same name".to_owned(),
                source_group_id: Some("1".to_owned()),
                express: false,
            }
        );
        assert_eq!(
            desired.because[4..],
            [
                "in group \" \": left out, it has no name",
                "in group \"All-Domain-Users\": left out, denied by \"All-Domain-Users\"",
                "in group \"jira-a\nb\": left out, its name contains a control character",
                "in group \"Jira-Administrators\": left out, \"Jira-Administrators\" is protected by \"jira-administrators\"",
                "in group \"JIRA-Devs\": on-the-fly group of the same name",
                "in group \"jira-secrets\": left out, denied by \"jira-secret?\"",
                "in group \"jira-users\": on-the-fly group of the same name",
                "in group \"staff\": left out, not in allow",
            ]
        );
    }

    #[test]
    fn a_renamed_group_keeps_its_target_group_and_cannot_reach_a_protected_one() {
        let rules = rules(UserRules::default(), on_the_fly());
        let renamed = SourceGroup {
            alias: Some("developers".to_owned()),
            ..group("1", "Engineering")
        };
        let desired = compute(&rules, &ada(), &[renamed]);
        assert_eq!(names(&desired), ["developers"]);
        assert_eq!(
            desired.groups[0].because,
            "in group \"Engineering\": it already stands for \"developers\""
        );
        let sly = SourceGroup {
            alias: Some("jira-administrators".to_owned()),
            ..group("1", "harmless")
        };
        assert!(compute(&rules, &ada(), &[sly]).groups.is_empty());
    }

    #[test]
    fn several_ways_to_one_group_are_one_membership() {
        let rules = rules(UserRules::default(), on_the_fly());
        let nested = SourceGroup {
            via: Some("squad".to_owned()),
            ..group("1", "jira-users")
        };
        let direct = group("1", "jira-users");
        let other = group("0", "JIRA-USERS");
        let stands = SourceGroup {
            alias: Some("jira-users".to_owned()),
            ..group("9", "Users")
        };
        let one = |groups: &[SourceGroup]| {
            let desired = compute(&rules, &ada(), groups);
            assert_eq!(desired.groups.len(), 1);
            desired.groups[0].because.clone()
        };
        assert_eq!(
            one(std::slice::from_ref(&nested)),
            "in group \"jira-users\" through \"squad\": on-the-fly group of the same name"
        );
        assert_eq!(
            one(&[nested.clone(), direct.clone()]),
            "in group \"jira-users\": on-the-fly group of the same name"
        );
        assert_eq!(
            one(&[nested, direct, other, stands]),
            "in group \"Users\": it already stands for \"jira-users\""
        );
    }

    #[test]
    fn groups_are_left_alone_unless_they_are_made_on_the_fly() {
        let rules = rules(UserRules::default(), GroupRules::default());
        let desired = compute(&rules, &ada(), &[group("1", "jira-users")]);
        assert!(desired.groups.is_empty());
        assert_eq!(
            desired.because.last().map(String::as_str),
            Some("groups: none, on-the-fly groups are off")
        );
    }

    #[test]
    fn manual_rules_and_names_meet_in_one_group_and_say_so() {
        let groups = GroupRules {
            manual: vec![
                manual("Engineering", &["developers", "jira-users"]),
                manual("Research", &["developers"]),
            ],
            ..on_the_fly()
        };
        let desired = compute(
            &rules(UserRules::default(), groups),
            &ada(),
            &[
                group("1", "Engineering"),
                group("2", "research"),
                group("3", "developers"),
            ],
        );
        assert_eq!(names(&desired), ["developers", "jira-users"]);
        assert_eq!(
            desired.because[4..],
            [
                "in group \"Engineering\": manual rule from \"Engineering\" to \"developers\"",
                "in group \"research\": \"developers\" is wanted already",
                "in group \"developers\": \"developers\" is wanted already",
                "in group \"Engineering\": manual rule from \"Engineering\" to \"jira-users\"",
            ]
        );
        assert!(desired.groups.iter().all(|g| g.express));
        // Whoever takes part keeps its name, should it be renamed.
        let bound: Vec<_> = desired
            .bindings
            .iter()
            .map(|b| (b.source_group_id.as_str(), b.known_as.as_str()))
            .collect();
        assert_eq!(
            bound,
            [
                ("1", "Engineering"),
                ("2", "research"),
                ("3", "developers"),
                ("1", "Engineering")
            ]
        );
    }

    #[test]
    fn values_of_attributes_count_as_names_of_groups() {
        let groups = GroupRules {
            only: vec!["R*".to_owned(), "sec".to_owned()],
            manual: vec![manual("R&D", &["research"])],
            deny: vec!["Rest".to_owned()],
            group_attributes: vec![crate::domain::GroupAttribute {
                path: "title".to_owned(),
                split: ",".to_owned(),
            }],
            ..on_the_fly()
        };
        let rules = rules(UserRules::default(), groups);
        let doc = with(ada(), &json!({ "title": "R&D, Red, Rest, sec, other" }));
        let desired = compute(&rules, &doc, &[group("1", "red")]);
        assert_eq!(names(&desired), ["red", "research", "sec"]);
        assert_eq!(
            desired.because[4..],
            [
                "title is \"other\": left out, not in only",
                "in group \"red\": on-the-fly group of the same name",
                "title is \"Red\": \"red\" is wanted already",
                "title is \"R&D\": manual rule from \"R&D\" to \"research\"",
                "title is \"Rest\": left out, denied by \"Rest\"",
                "title is \"sec\": on-the-fly group of the same name",
            ]
        );
        assert_eq!(desired.bindings.len(), 1);
    }

    #[test]
    fn default_groups_are_for_everyone_or_for_the_new() {
        let groups = GroupRules {
            for_all: vec!["jira-software-users".to_owned()],
            for_new: vec!["newcomers".to_owned()],
            ..GroupRules::default()
        };
        let rules = rules(UserRules::default(), groups);
        let doc = ada();
        let of = |new_account, given: &[String], active| {
            let doc = with(doc.clone(), &json!({ "active": active }));
            let user = SourceUser {
                doc: doc.as_object().unwrap(),
                deleted: false,
                granted: true,
                new_account,
                given,
            };
            let desired = desired(&rules, &user, &[]);
            assert!(desired.groups.iter().all(|g| g.express));
            (
                names(&desired).join(" "),
                desired.because.last().unwrap().clone(),
            )
        };
        assert_eq!(
            of(false, &[], true),
            (
                "jira-software-users".to_owned(),
                "\"jira-software-users\" for everyone: default group (for_all)".to_owned()
            )
        );
        assert_eq!(of(true, &[], true).0, "jira-software-users newcomers");
        // What was given stays, also when the rule names other groups by now.
        assert_eq!(
            of(false, &["veterans".to_owned()], false),
            (
                "jira-software-users veterans".to_owned(),
                "\"veterans\" since the account was made: default group of new accounts (for_new)"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_protected_user_name_is_told() {
        let desired = compute(
            &rules(UserRules::default(), GroupRules::default()),
            &json!({ "userName": "Admin" }),
            &[],
        );
        assert_eq!(
            desired.because.last().map(String::as_str),
            Some("user name \"admin\" is protected by \"admin\"")
        );
    }

    fn arbitrary_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            ".{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::vec((arbitrary_key(), inner), 0..4)
                    .prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn arbitrary_key() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "userName",
                "displayName",
                "name",
                "formatted",
                "emails",
                "value",
                "type",
                "primary",
                "active",
                "groups",
                "userType",
                "deleteInProgress",
                IDCS_USER,
                "serviceUser",
                "user",
                "enterprise",
            ])
            .prop_map(str::to_owned),
            ".{0,6}",
        ]
    }

    fn arbitrary_group() -> impl Strategy<Value = SourceGroup> {
        (
            "[a-c]",
            "[aAbB ]{0,2}",
            prop::option::of("[aAbB]{0,2}"),
            prop::option::of("[ab]"),
        )
            .prop_map(|(id, name, alias, via)| SourceGroup {
                id,
                name,
                alias,
                via,
            })
    }

    proptest! {
        #[test]
        fn any_document_gives_a_result(
            fields in prop::collection::vec((arbitrary_key(), arbitrary_json()), 0..8),
            deleted: bool,
        ) {
            let users = UserRules {
                scope: Some("userType ne \"x\" and emails.value pr".to_owned()),
                display_name: "(displayName | split(' ') | last) or emails[0].value or name.formatted"
                    .to_owned(),
                ..UserRules::default()
            };
            let rules = rules(users, on_the_fly());
            let doc: Doc = fields.into_iter().collect();
            let result = desired(&rules, &SourceUser { doc: &doc, deleted, granted: true, new_account: false, given: &[] }, &[]);
            if let Ok(account) = result.account {
                prop_assert!(!account.username.is_empty() && account.username.chars().count() <= 255);
                prop_assert!(!account.display_name.is_empty());
                prop_assert_ne!(account.email.as_deref(), Some(""));
            }
        }

        #[test]
        fn the_order_of_groups_does_not_matter(
            (groups, shuffled) in prop::collection::vec(arbitrary_group(), 0..8)
                .prop_map(|mut groups| {
                    // A source has one group of each id.
                    let mut seen = std::collections::BTreeSet::new();
                    groups.retain(|group| seen.insert(group.id.clone()));
                    groups
                })
                .prop_flat_map(|groups| (Just(groups.clone()), Just(groups).prop_shuffle())),
        ) {
            let rules = rules(UserRules::default(), GroupRules {
                deny: vec!["bb".to_owned()],
                ..on_the_fly()
            });
            let one = compute(&rules, &ada(), &groups);
            prop_assert_eq!(&one, &compute(&rules, &ada(), &shuffled));
            let folded: Vec<_> = one.groups.iter().map(|g| g.name.to_lowercase()).collect();
            let mut sorted = folded.clone();
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(folded, sorted);
        }
    }
}
