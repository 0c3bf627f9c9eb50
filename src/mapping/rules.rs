//! The rules of a mapping, compiled once: filter, expressions and wildcards.

use std::sync::Arc;

use super::attribute::Attribute;
use super::expression::Expression;
use super::groups::{Candidate, GroupWay, Groups, SourceGroup};
use super::pattern::Patterns;
use super::pilot::Pilot;
use super::scope;
use crate::domain::{Connection, GroupAttribute, Mapping, MappingSettings, Mode};
use crate::scim::filter;

/// The compiled rules of one mapping. Cloning is cheap.
#[derive(Clone)]
pub struct Rules(Arc<Compiled>);

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {text}")]
pub struct RuleError {
    /// The rule, as the configuration file calls it within a mapping: `users.scope`, `groups.allow[0]`.
    pub key: String,
    /// What is wrong with it, in words.
    pub text: String,
}

impl RuleError {
    pub(super) fn in_list(key: &str, index: usize, text: String) -> Self {
        Self {
            key: format!("{key}[{index}]"),
            text,
        }
    }
}

/// What [`Rules`] share. The fields are used by `desired` alone.
pub(super) struct Compiled {
    settings: MappingSettings,
    pub(super) scope: Option<filter::Compiled>,
    /// Whether accounts of machines (IDCS) are left out without being asked.
    pub(super) skip_service_users: bool,
    pub(super) username: Expression,
    pub(super) display_name: Expression,
    pub(super) email: Expression,
    pub(super) groups: Groups,
    protected_users: Patterns,
    protected_groups: Patterns,
    pilot: Pilot,
}

impl Rules {
    /// Compiles the rules; the error is the first one of [`Rules::problems`].
    pub fn compile(settings: &MappingSettings) -> Result<Self, RuleError> {
        Self::compile_all(settings, &[]).map_err(|(first, _)| first)
    }

    /// Compiles the rules of a stored mapping, with what its connection says for all of its mappings.
    pub fn of(mapping: &Mapping, connections: &[Connection]) -> Result<Self, RuleError> {
        let attributes = connections
            .iter()
            .find(|connection| connection.id == mapping.connection_id)
            .map_or(&[][..], |c| &c.settings.group_attributes);
        Self::compile_all(&mapping.settings, attributes).map_err(|(first, _)| first)
    }

    /// Everything that is wrong with the rules; empty if they can be used.
    pub fn problems(settings: &MappingSettings) -> Vec<RuleError> {
        match Self::compile_all(settings, &[]) {
            Ok(_) => Vec::new(),
            Err((first, mut rest)) => {
                rest.insert(0, first);
                rest
            }
        }
    }

    /// Everything that is wrong with the group attributes of a connection.
    pub fn attribute_problems(attributes: &[GroupAttribute]) -> Vec<RuleError> {
        let all = attributes.iter().enumerate();
        all.filter_map(|(index, settings)| {
            let text = Attribute::compile(settings).err()?;
            Some(RuleError::in_list("group_attributes", index, text))
        })
        .collect()
    }

    /// What the rules were compiled from.
    pub fn settings(&self) -> &MappingSettings {
        &self.0.settings
    }

    /// What the rules make of a group of the source, whoever is in it; never nothing.
    pub fn group_ways(&self, group: &SourceGroup) -> Vec<GroupWay> {
        let candidate = Candidate {
            name: &group.name,
            alias: group.alias.as_deref(),
        };
        let ways = self.0.groups.ways(self, &candidate);
        ways.into_iter()
            .map(|way| match way.because {
                Ok(because) => GroupWay {
                    target: Some(way.target),
                    because,
                },
                Err(because) => GroupWay {
                    target: None,
                    because,
                },
            })
            .collect()
    }

    /// Whether people may be in the target group `name` for another reason than a group of the source.
    pub fn gives_to_anyone(&self, name: &str) -> bool {
        let groups = &self.0.groups;
        let folded = name.to_lowercase();
        !groups.attributes.is_empty()
            || groups
                .for_all
                .iter()
                .chain(&groups.for_new)
                .any(|given| given.to_lowercase() == folded)
    }

    /// The pattern that protects the user `name` at the target, if one does.
    pub fn protects_user(&self, name: &str) -> Option<String> {
        self.0.protected_users.matching(name).map(str::to_owned)
    }

    /// The pattern that protects the group `name` at the target, if one does.
    pub fn protects_group(&self, name: &str) -> Option<String> {
        self.0.protected_groups.matching(name).map(str::to_owned)
    }

    /// The mode for one person, who goes by these names and is in these groups of the source.
    pub fn mode_for<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        groups: impl Iterator<Item = &'a str>,
    ) -> Mode {
        match self.settings().mode {
            Mode::Shadow if self.0.pilot.includes(names, groups) => Mode::Live,
            mode => mode,
        }
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.0
    }

    fn compile_all(
        settings: &MappingSettings,
        of_connection: &[GroupAttribute],
    ) -> Result<Self, (RuleError, Vec<RuleError>)> {
        let users = &settings.users;
        let mut problems = Vec::new();
        let scope = note(
            &mut problems,
            "users.scope",
            users.scope.as_deref().map(scope::compile).transpose(),
        );
        let username = note(
            &mut problems,
            "users.username",
            Expression::compile(&users.username),
        );
        let display_name = note(
            &mut problems,
            "users.display_name",
            Expression::compile(&users.display_name),
        );
        let email = note(
            &mut problems,
            "users.email",
            Expression::compile(&users.email),
        );
        let mut patterns = |key, list: &[String]| {
            Patterns::compile(list).unwrap_or_else(|(index, text)| {
                problems.push(RuleError::in_list(key, index, text));
                Patterns::default()
            })
        };
        let protected_users = patterns("users.protect", &users.protect);
        let protected_groups = patterns("groups.protect", &settings.groups.protect);
        let groups = Groups::compile(
            &settings.groups,
            of_connection,
            &protected_groups,
            &mut problems,
        );
        let pilot = note(
            &mut problems,
            "live_for",
            Pilot::compile(settings.mode, &settings.live_for),
        );
        let skip_service_users = !users
            .scope
            .as_deref()
            .is_some_and(|scope| scope.to_ascii_lowercase().contains("serviceuser"));
        if problems.is_empty()
            && let (Some(scope), Some(username), Some(display_name), Some(email), Some(pilot)) =
                (scope, username, display_name, email, pilot)
        {
            return Ok(Self(Arc::new(Compiled {
                settings: settings.clone(),
                scope,
                skip_service_users,
                username,
                display_name,
                email,
                groups,
                protected_users,
                protected_groups,
                pilot,
            })));
        }
        let first = problems.remove(0);
        Err((first, problems))
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rules").field(self.settings()).finish()
    }
}

fn note<T>(problems: &mut Vec<RuleError>, key: &str, outcome: Result<T, String>) -> Option<T> {
    outcome
        .map_err(|text| {
            problems.push(RuleError {
                key: key.to_owned(),
                text,
            })
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{GroupRules, UserRules};

    fn username_error(expression: &str) -> String {
        let users = UserRules {
            username: expression.to_owned(),
            ..UserRules::default()
        };
        let error = Rules::compile(&MappingSettings {
            users,
            ..MappingSettings::default()
        });
        let error = error.expect_err(expression);
        assert_eq!(error.key, "users.username");
        error.text
    }

    fn username_compiles(expression: &str) {
        let users = UserRules {
            username: expression.to_owned(),
            ..UserRules::default()
        };
        Rules::compile(&MappingSettings {
            users,
            ..MappingSettings::default()
        })
        .unwrap_or_else(|error| panic!("{expression}: {error}"));
    }

    fn is_shareable<T: Send + Sync + Clone>() {}

    #[test]
    fn rules_are_shared_between_threads() {
        is_shareable::<Rules>();
    }

    #[test]
    fn the_defaults_compile() {
        assert_eq!(Rules::problems(&MappingSettings::default()), []);
    }

    #[test]
    fn mistakes_in_expressions_are_told_when_they_are_saved() {
        for (expression, text) in [
            (
                "userNam | lower",
                "there is no attribute `userNam`; did you mean `userName`?",
            ),
            (
                "username",
                "there is no attribute `username`; did you mean `userName`?",
            ),
            (
                "displayName or name.formated",
                "there is no part of `name` called `formated`; did you mean `formatted`?",
            ),
            (
                "enterprise.departement or userName",
                "there is no part of `enterprise` called `departement`; did you mean `department`?",
            ),
            (
                "userName | lowr",
                "there is no filter `lowr`; did you mean `lower`?",
            ),
            // Neither of these is on a path that the samples take.
            (
                "(nickName | lowr) if userType == 'Contractor' else userName",
                "there is no filter `lowr`; did you mean `lower`?",
            ),
            (
                "userName if userType is definde else nickName",
                "there is no test `definde`; did you mean `defined`?",
            ),
            (
                "(userName | string).split('@')",
                "there is no method `.split()`; use a filter, as in `userName | split(\"@\") | first`",
            ),
            (
                "userName.lower",
                "`userName` has no parts, so there is no `userName.lower`",
            ),
            (
                "emails.value",
                "`emails` is a list, so there is no `emails.value`; take one entry: `emails[0].value`",
            ),
            (
                "active",
                "on a sample user: the result is true or false, not text",
            ),
            (
                "userName | split('@')",
                "on a sample user: the result is a list (take one entry with `| first`), not text",
            ),
            (
                "user['urn:x']",
                "on a sample user: the result is several attributes (name one of them), not text",
            ),
            (
                "userName * 50",
                "on a sample user: the result is longer than 255 characters",
            ),
            (" ", "the expression is empty"),
        ] {
            assert_eq!(username_error(expression), text, "{expression}");
        }
        assert!(username_error("userName |").starts_with("syntax error: "));
        assert!(username_error("range(3) | join").starts_with("there is no attribute `range`"));
        assert!(username_error("userName | before").contains("missing argument"));
        assert!(
            username_error("nickName or (userName | replace('a'))").starts_with("missing argument"),
            "the other side of `or` is tried too"
        );
        assert!(username_error(&"a".repeat(5000)).contains("longer than 4096 bytes"));
    }

    #[test]
    fn an_endless_expression_runs_out_of_fuel() {
        let nested =
            "('x' * 50000) | list | map('upper') | join | list | map('upper') | join | length";
        assert_eq!(
            username_error(nested),
            "on a sample user: the expression does not come to an end in time"
        );
    }

    #[test]
    fn useful_expressions_compile() {
        for expression in [
            "userName | lower",
            "userName | before('@') | lower",
            "userName | split('@') | first",
            "(userName | split('@'))[0]",
            "primary_email or userName",
            "'a.lowr() | nosuch' ~ userName",
            "(name.givenName ~ '.' ~ name.familyName) | ascii('de') | lower | replace(' ', '')",
            "user['urn:ietf:params:scim:schemas:idcs:extension:custom:User'].login | split('-') | last",
            "user.badge",
            "enterprise.employeeNumber",
            "enterprise.manager.displayName",
            "emails | selectattr('type', 'eq', 'work') | map(attribute='value') | first",
            "userName if userType is not none and userType is defined else nickName",
            "userName[:20]",
            "ocid",
        ] {
            username_compiles(expression);
        }
    }

    #[test]
    fn every_wrong_rule_is_told_under_its_key() {
        let settings = MappingSettings {
            users: UserRules {
                scope: Some("userType xx \"a\"".to_owned()),
                username: "x".to_owned(),
                display_name: "x".to_owned(),
                email: "x".to_owned(),
                protect: vec![String::new()],
                ..UserRules::default()
            },
            groups: GroupRules {
                allow: vec![String::new()],
                deny: vec![String::new()],
                protect: vec![String::new()],
                ..GroupRules::default()
            },
            ..MappingSettings::default()
        };
        let keys: Vec<_> = Rules::problems(&settings)
            .into_iter()
            .map(|p| p.key)
            .collect();
        assert_eq!(
            keys,
            [
                "users.scope",
                "users.username",
                "users.display_name",
                "users.email",
                "users.protect[0]",
                "groups.protect[0]",
                "groups.allow[0]",
                "groups.deny[0]"
            ]
        );
        assert_eq!(Rules::compile(&settings).unwrap_err().key, "users.scope");
    }

    #[test]
    fn a_wrong_scope_is_told_in_the_words_of_the_filter_parser() {
        for wrong in ["userType ne", "userType xx \"a\"", "(active eq true", ""] {
            let users = UserRules {
                scope: Some(wrong.to_owned()),
                ..UserRules::default()
            };
            let settings = MappingSettings {
                users,
                ..MappingSettings::default()
            };
            let error = Rules::compile(&settings).expect_err(wrong);
            assert_eq!(error.key, "users.scope");
            assert_eq!(error.text, filter::parse(wrong).err().unwrap().detail());
            assert!(!error.text.is_empty());
        }
    }

    #[test]
    fn protection_names_its_pattern() {
        let users = UserRules {
            protect: vec!["admin".to_owned(), "svc-*".to_owned()],
            ..UserRules::default()
        };
        let rules = Rules::compile(&MappingSettings {
            users,
            ..MappingSettings::default()
        })
        .unwrap();
        assert_eq!(rules.protects_user("SVC-Backup").as_deref(), Some("svc-*"));
        assert_eq!(rules.protects_user("ada"), None);
        assert_eq!(
            rules.protects_group("Jira-Administrators").as_deref(),
            Some("jira-administrators")
        );
        assert_eq!(rules.protects_group("jira-users"), None);
    }
}
