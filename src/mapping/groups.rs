//! The rules for groups: from a group of the source to the groups of the target that it leads to.
//!
//! `only` says which source groups are considered at all. A manual rule comes before the on-the-fly
//! rules, and a group that one names is not mapped on the fly as well unless the rule says so. A
//! group that was renamed at the source goes on under the name that the rules first knew it by: no
//! Data Center product can rename a group, and a new name must not cost anybody the access.

use regex::Regex;

use super::attribute::Attribute;
use super::expression::MAX_LENGTH;
use super::pattern::{Patterns, regular_expression};
use super::rules::{RuleError, Rules};
use crate::domain::{GroupAttribute, GroupRules, ManualRule, RewriteRule, SourceNames};
use crate::scim::fold::fold_text;

/// A group of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceGroup {
    /// Its identifier in the mirror.
    pub id: String,
    /// Its present name.
    pub name: String,
    /// The name that the rules first knew it by at this target, if it was used there.
    pub alias: Option<String>,
    /// The group through which the membership comes, if groups are nested.
    pub via: Option<String>,
}

/// What the rules make of a source group, one target group at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWay {
    /// Name of the target group. `None`: it leads nowhere.
    pub target: Option<String>,
    /// Which rule says so, in words.
    pub because: String,
}

/// The compiled `[mapping.groups]`, but for what protects.
pub(super) struct Groups {
    on_the_fly: bool,
    only: Patterns,
    manual: Vec<Manual>,
    allow: Patterns,
    deny: Patterns,
    rewrite: Vec<Rewrite>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) for_all: Vec<String>,
    pub(super) for_new: Vec<String>,
}

struct Manual {
    /// As in "manual rule from …".
    text: String,
    source: ManualSource,
    to: Vec<String>,
    also_on_the_fly: bool,
}

enum ManualSource {
    /// Folded.
    Name(String),
    Pattern(Patterns),
}

struct Rewrite {
    source: String,
    from: Regex,
    to: String,
}

/// Something whose name goes through the rules: a source group, or a value of an attribute.
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    /// The name that it goes on under.
    pub(super) alias: Option<&'a str>,
}

/// What the rules make of a candidate.
pub(super) struct Way {
    /// The target group; of what leads nowhere, the name by which it is sorted.
    pub(super) target: String,
    /// `Err`: it leads nowhere, and why.
    pub(super) because: Result<String, String>,
    /// A rule names the target group.
    pub(super) express: bool,
}

impl Groups {
    /// Whether no rule looks at the names of source groups.
    pub(super) fn ignores_the_source(&self) -> bool {
        !self.on_the_fly && self.manual.is_empty()
    }

    /// Compiles; what is wrong is added to `problems`. `protected`: target groups that are never changed.
    pub(super) fn compile(
        rules: &GroupRules,
        of_connection: &[GroupAttribute],
        protected: &Patterns,
        problems: &mut Vec<RuleError>,
    ) -> Self {
        let mut patterns = |key, list: &[String]| {
            Patterns::compile(list).unwrap_or_else(|(index, text)| {
                problems.push(RuleError::in_list(key, index, text));
                Patterns::default()
            })
        };
        let only = patterns("groups.only", &rules.only);
        let allow = patterns("groups.allow", &rules.allow);
        let deny = patterns("groups.deny", &rules.deny);
        let mut attributes = Vec::new();
        let own = rules.group_attributes.iter().enumerate();
        for (index, settings) in own {
            match Attribute::compile(settings) {
                Ok(attribute) => attributes.push(attribute),
                Err(text) => {
                    problems.push(RuleError::in_list("groups.group_attributes", index, text));
                }
            }
        }
        for settings in of_connection {
            match Attribute::compile(settings) {
                Ok(attribute) => attributes.push(attribute),
                Err(text) => problems.push(RuleError {
                    key: "connection.group_attributes".to_owned(),
                    text,
                }),
            }
        }
        let mut manual = Vec::new();
        for (index, rule) in rules.manual.iter().enumerate() {
            match Manual::compile(rule, protected) {
                Ok(rule) => manual.push(rule),
                Err(text) => problems.push(RuleError::in_list("groups.manual", index, text)),
            }
        }
        let mut rewrite = Vec::new();
        for (index, rule) in rules.rewrite.iter().enumerate() {
            match Rewrite::compile(rule) {
                Ok(rule) => rewrite.push(rule),
                Err(text) => problems.push(RuleError::in_list("groups.rewrite", index, text)),
            }
        }
        let mut names = |key, list: &[String]| {
            let mut names = Vec::new();
            for (index, name) in list.iter().enumerate() {
                match usable(name, protected) {
                    Ok(name) => names.push(name),
                    Err(text) => problems.push(RuleError::in_list(key, index, text)),
                }
            }
            names
        };
        Self {
            on_the_fly: rules.on_the_fly,
            only,
            manual,
            allow,
            deny,
            rewrite,
            attributes,
            for_all: names("groups.for_all", &rules.for_all),
            for_new: names("groups.for_new", &rules.for_new),
        }
    }

    /// What the rules make of a candidate; never nothing.
    pub(super) fn ways(&self, rules: &Rules, candidate: &Candidate<'_>) -> Vec<Way> {
        let present = candidate.name.trim();
        let known = candidate
            .alias
            .map(str::trim)
            .filter(|alias| !alias.is_empty())
            .unwrap_or(present);
        let nowhere = |why: &str| Way {
            target: known.to_owned(),
            because: Err(why.to_owned()),
            express: false,
        };
        if known.is_empty() {
            return vec![nowhere("it has no name")];
        }
        let either = |patterns: &Patterns| {
            patterns
                .matching(present)
                .or_else(|| patterns.matching(known))
                .map(str::to_owned)
        };
        if !self.only.is_empty() && either(&self.only).is_none() {
            return vec![nowhere("not in only")];
        }
        // A rule for the present name is the newer word.
        let mut named: Vec<&Manual> = self.manual.iter().filter(|m| m.names(present)).collect();
        if named.is_empty() {
            named = self.manual.iter().filter(|m| m.names(known)).collect();
        }
        let mut ways: Vec<Way> = named
            .iter()
            .flat_map(|rule| {
                rule.to.iter().map(|to| Way {
                    target: to.clone(),
                    because: Ok(format!("{} to \"{to}\"", rule.text)),
                    express: true,
                })
            })
            .collect();
        let also = named.is_empty() || named.iter().any(|rule| rule.also_on_the_fly);
        if self.on_the_fly && also {
            ways.push(self.on_the_fly(rules, present, known, either));
        } else if named.is_empty() {
            ways.push(nowhere(
                "no manual rule names it, and on-the-fly groups are off",
            ));
        }
        ways
    }

    fn on_the_fly(
        &self,
        rules: &Rules,
        present: &str,
        known: &str,
        either: impl Fn(&Patterns) -> Option<String>,
    ) -> Way {
        let way = |target: String, because| Way {
            target,
            because,
            express: false,
        };
        let nowhere = |why: String| way(known.to_owned(), Err(why));
        if let Some(pattern) = either(&self.deny) {
            return nowhere(format!("denied by \"{pattern}\""));
        }
        if !self.allow.is_empty() && either(&self.allow).is_none() {
            return nowhere("not in allow".to_owned());
        }
        let rewritten = self
            .rewrite
            .iter()
            .find(|rule| rule.from.is_match(known))
            .map(|rule| (rule, rule.from.replace(known, rule.to.as_str())));
        let target = rewritten.as_ref().map_or(known, |(_, name)| name.trim());
        if let Err(why) = target_name(target) {
            return nowhere(why);
        }
        if let Some(pattern) = rules.protects_group(target) {
            return nowhere(format!("\"{target}\" is protected by \"{pattern}\""));
        }
        let because = if fold_text(known) != fold_text(present) {
            format!("it already stands for \"{target}\"")
        } else if let Some((rule, _)) = &rewritten {
            format!(
                "on-the-fly group \"{target}\", rewritten by \"{}\"",
                rule.source
            )
        } else {
            "on-the-fly group of the same name".to_owned()
        };
        way(target.to_owned(), Ok(because))
    }
}

impl Manual {
    fn compile(rule: &ManualRule, protected: &Patterns) -> Result<Self, String> {
        let (text, source) = match &rule.source {
            SourceNames::From(name) => (
                format!("manual rule from \"{}\"", name.trim()),
                ManualSource::Name(fold_text(name.trim())),
            ),
            SourceNames::Matching(pattern) => (
                format!("manual rule matching \"{pattern}\""),
                ManualSource::Pattern(
                    Patterns::compile(std::slice::from_ref(pattern)).map_err(|(_, text)| text)?,
                ),
            ),
        };
        if rule.to.is_empty() {
            return Err("`to` is empty: name at least one group of the target".to_owned());
        }
        Ok(Self {
            text,
            source,
            to: rule
                .to
                .iter()
                .map(|name| usable(name, protected))
                .collect::<Result<_, _>>()?,
            also_on_the_fly: rule.also_on_the_fly,
        })
    }

    fn names(&self, name: &str) -> bool {
        match &self.source {
            ManualSource::Name(folded) => *folded == fold_text(name),
            ManualSource::Pattern(pattern) => pattern.matching(name).is_some(),
        }
    }
}

impl Rewrite {
    fn compile(rule: &RewriteRule) -> Result<Self, String> {
        let from = regular_expression(&rule.from)?;
        check_references(&from, &rule.to)?;
        Ok(Self {
            source: rule.from.clone(),
            from,
            to: rule.to.clone(),
        })
    }
}

/// A reference to what is not captured would silently be nothing, and people would meet in one group.
fn check_references(from: &Regex, to: &str) -> Result<(), String> {
    let mut rest = to;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (name, tail) = match after.strip_prefix('{') {
            Some(braced) => braced
                .split_once('}')
                .ok_or("`to` has a `${` without a `}`")?,
            None => {
                let end = after
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(after.len());
                after.split_at(end)
            }
        };
        rest = tail;
        let there = match name.parse::<usize>() {
            Ok(number) => number < from.captures_len(),
            Err(_) => from.capture_names().flatten().any(|known| known == name),
        };
        if there {
            continue;
        }
        if name.is_empty() {
            return Err("`to` has a `$` without a name; `$$` is a dollar sign".to_owned());
        }
        let digits = name
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(name.len());
        return Err(match name.split_at(digits) {
            ("", _) | (_, "") => format!("`from` captures nothing that is called `${name}`"),
            (number, more) => format!(
                "`from` captures nothing that is called `${name}`; did you mean `${{{number}}}{more}`?"
            ),
        });
    }
    Ok(())
}

/// Whether a target can have a group of that name.
fn target_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("nothing is left of its name".to_owned());
    }
    if name.chars().nth(MAX_LENGTH).is_some() {
        return Err(format!("its name is longer than {MAX_LENGTH} characters"));
    }
    if name.contains(char::is_control) {
        return Err("its name contains a control character".to_owned());
    }
    Ok(())
}

/// A target group that a rule names.
fn usable(name: &str, protected: &Patterns) -> Result<String, String> {
    let name = name.trim();
    target_name(name).map_err(|why| format!("\"{}\": {why}", name.escape_debug()))?;
    if let Some(pattern) = protected.matching(name) {
        return Err(format!(
            "\"{name}\" is protected by \"{pattern}\" (groups.protect), so nobody would ever be put into it"
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::MappingSettings;

    fn rules(groups: GroupRules) -> Rules {
        Rules::compile(&MappingSettings {
            groups,
            ..MappingSettings::default()
        })
        .unwrap()
    }

    fn on_the_fly() -> GroupRules {
        GroupRules {
            on_the_fly: true,
            deny: Vec::new(),
            ..GroupRules::default()
        }
    }

    pub(in crate::mapping) fn manual(from: &str, to: &[&str]) -> ManualRule {
        ManualRule {
            source: SourceNames::From(from.to_owned()),
            to: to.iter().map(|name| (*name).to_owned()).collect(),
            keep_members: true,
            also_on_the_fly: false,
        }
    }

    fn rewrite(from: &str, to: &str) -> RewriteRule {
        RewriteRule {
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    /// `target` or `-why`.
    fn ways(rules: &Rules, name: &str, alias: Option<&str>) -> Vec<String> {
        rules
            .group_ways(&SourceGroup {
                id: "1".to_owned(),
                name: name.to_owned(),
                alias: alias.map(str::to_owned),
                via: None,
            })
            .into_iter()
            .map(|way| way.target.unwrap_or_else(|| format!("-{}", way.because)))
            .collect()
    }

    fn problem(groups: GroupRules) -> String {
        Rules::compile(&MappingSettings {
            groups,
            ..MappingSettings::default()
        })
        .unwrap_err()
        .to_string()
    }

    #[test]
    fn manual_rules_lead_from_one_to_many_and_from_many_to_one() {
        let rules = rules(GroupRules {
            manual: vec![
                manual("Engineering", &["developers", "jira-users"]),
                manual("Research", &["developers"]),
            ],
            ..GroupRules::default()
        });
        assert_eq!(
            ways(&rules, "ENGINEERING", None),
            ["developers", "jira-users"]
        );
        assert_eq!(ways(&rules, "research", None), ["developers"]);
        assert_eq!(
            ways(&rules, "Engineering 2", None),
            ["-no manual rule names it, and on-the-fly groups are off"]
        );
    }

    #[test]
    fn manual_rules_match_patterns_only_when_they_say_so() {
        let matching = ManualRule {
            source: SourceNames::Matching("eng-*".to_owned()),
            ..manual("", &["developers"])
        };
        let rules = rules(GroupRules {
            manual: vec![matching, manual("ops-*", &["ops"])],
            ..GroupRules::default()
        });
        assert_eq!(ways(&rules, "Eng-1", None), ["developers"]);
        assert_eq!(ways(&rules, "ops-*", None), ["ops"]);
        assert!(ways(&rules, "ops-1", None)[0].starts_with('-'));
    }

    #[test]
    fn a_group_that_a_manual_rule_names_is_not_mapped_on_the_fly_unless_it_says_so() {
        let also = ManualRule {
            also_on_the_fly: true,
            ..manual("both", &["x"])
        };
        let rules = rules(GroupRules {
            manual: vec![manual("one", &["x"]), also],
            ..on_the_fly()
        });
        assert_eq!(ways(&rules, "one", None), ["x"]);
        assert_eq!(ways(&rules, "both", None), ["x", "both"]);
        assert_eq!(ways(&rules, "other", None), ["other"]);
    }

    #[test]
    fn only_limits_what_every_rule_looks_at() {
        let rules = rules(GroupRules {
            only: texts(&["jira-*", "/^eng$/"]),
            manual: vec![manual("eng", &["x"]), manual("hr", &["x"])],
            ..on_the_fly()
        });
        assert_eq!(ways(&rules, "eng", None), ["x"]);
        assert_eq!(ways(&rules, "hr", None), ["-not in only"]);
        assert_eq!(ways(&rules, "jira-a", None), ["jira-a"]);
        assert_eq!(ways(&rules, "conf-a", None), ["-not in only"]);
    }

    #[test]
    fn names_are_allowed_and_denied_by_wildcard_and_by_regular_expression() {
        let rules = rules(GroupRules {
            allow: texts(&["jira-*", "/^team-[0-9]+$/"]),
            deny: texts(&["/secret/"]),
            ..on_the_fly()
        });
        assert_eq!(ways(&rules, "team-7", None), ["team-7"]);
        assert_eq!(ways(&rules, "team-x", None), ["-not in allow"]);
        assert_eq!(
            ways(&rules, "jira-secrets", None),
            ["-denied by \"/secret/\""]
        );
    }

    #[test]
    fn the_first_rewrite_that_matches_gives_the_name() {
        let rules = rules(GroupRules {
            rewrite: vec![
                rewrite("^idcs-(.+)$", "$1"),
                rewrite("^(?P<a>[a-z]+) (?P<b>[a-z]+)$", "${b}_$a"),
                rewrite("^idcs", "never"),
                rewrite("price", "$$"),
            ],
            ..on_the_fly()
        });
        assert_eq!(ways(&rules, "IDCS-users", None), ["users"]);
        assert_eq!(ways(&rules, "red team", None), ["team_red"]);
        assert_eq!(ways(&rules, "a-price", None), ["a-$"]);
        assert_eq!(ways(&rules, "plain", None), ["plain"]);
        assert_eq!(
            ways(&rules, "idcs-jira-administrators", None),
            ["-\"jira-administrators\" is protected by \"jira-administrators\""]
        );
    }

    #[test]
    fn a_rewrite_to_nothing_leads_nowhere() {
        let rules = rules(GroupRules {
            rewrite: vec![rewrite("^x+$", " ")],
            ..on_the_fly()
        });
        assert_eq!(ways(&rules, "xx", None), ["-nothing is left of its name"]);
    }

    #[test]
    fn a_renamed_group_goes_on_under_the_name_that_the_rules_know() {
        let rules = rules(GroupRules {
            manual: vec![
                manual("eng", &["developers"]),
                manual("new", &["newcomers"]),
            ],
            allow: texts(&["idcs-*"]),
            deny: texts(&["idcs-bad"]),
            rewrite: vec![rewrite("^idcs-", "")],
            ..on_the_fly()
        });
        assert_eq!(ways(&rules, "Engineering", Some("eng")), ["developers"]);
        // A rule for the present name wins.
        assert_eq!(ways(&rules, "new", Some("eng")), ["newcomers"]);
        assert_eq!(ways(&rules, "whatever", Some("idcs-users")), ["users"]);
        assert_eq!(ways(&rules, "idcs-other", Some("idcs-users")), ["users"]);
        // A name that is denied is denied, old or new.
        assert!(ways(&rules, "idcs-bad", Some("idcs-users"))[0].starts_with("-denied"));
        assert!(ways(&rules, "x", Some("idcs-bad"))[0].starts_with("-denied"));
    }

    #[test]
    fn rules_that_can_never_act_are_refused() {
        let base = GroupRules::default;
        for (groups, told) in [
            (
                GroupRules {
                    manual: vec![manual("a", &["x"]), manual("b", &[])],
                    ..base()
                },
                "groups.manual[1]: `to` is empty: name at least one group of the target",
            ),
            (
                GroupRules {
                    manual: vec![manual("a", &["Jira-Administrators"])],
                    ..base()
                },
                "groups.manual[0]: \"Jira-Administrators\" is protected by \"jira-administrators\" \
                 (groups.protect), so nobody would ever be put into it",
            ),
            (
                GroupRules {
                    for_all: texts(&["a", "system-administrators"]),
                    ..base()
                },
                "groups.for_all[1]: \"system-administrators\" is protected by \"system-administrators\" \
                 (groups.protect), so nobody would ever be put into it",
            ),
            (
                GroupRules {
                    for_new: texts(&["a\u{7}"]),
                    ..base()
                },
                "groups.for_new[0]: \"a\\u{7}\": its name contains a control character",
            ),
            (
                GroupRules {
                    rewrite: vec![rewrite("a", "b"), rewrite("(a", "b")],
                    ..base()
                },
                "groups.rewrite[1]: not a regular expression: unclosed group",
            ),
            (
                GroupRules {
                    rewrite: vec![rewrite("(a)", "$2")],
                    ..base()
                },
                "groups.rewrite[0]: `from` captures nothing that is called `$2`",
            ),
            (
                GroupRules {
                    rewrite: vec![rewrite("(a)", "$1_x")],
                    ..base()
                },
                "groups.rewrite[0]: `from` captures nothing that is called `$1_x`; did you mean `${1}_x`?",
            ),
            (
                GroupRules {
                    rewrite: vec![rewrite("(a)", "${1")],
                    ..base()
                },
                "groups.rewrite[0]: `to` has a `${` without a `}`",
            ),
            (
                GroupRules {
                    rewrite: vec![rewrite("(a)", "5 $")],
                    ..base()
                },
                "groups.rewrite[0]: `to` has a `$` without a name; `$$` is a dollar sign",
            ),
            (
                GroupRules {
                    only: texts(&["ok", "/[/"]),
                    ..base()
                },
                "groups.only[1]: not a regular expression: unclosed character class",
            ),
        ] {
            assert_eq!(problem(groups), told);
        }
    }
}
