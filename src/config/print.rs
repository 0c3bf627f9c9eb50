//! Writes a configuration file: the inverse of reading one.
//!
//! Every key that has a value is written, defaults included, so that an export keeps its meaning
//! when a later version changes a default.

use std::fmt::Write;

use super::file::ConfigFile;
use super::section::span_text;
use super::shape::{
    self, CONNECTION_KINDS, EXISTING_GROUPS, MATCH_KEYS, MODES, ON_DELETE, OPERATIONS, TARGET_KINDS,
};
use crate::domain::{
    GroupAttribute, GroupRules, ManualRule, SecretRef, SourceNames, TargetAuth, TargetSettings,
    UserRules,
};

/// The file in its usual form; [`super::parse`] reads it back to the same settings.
pub fn print(file: &ConfigFile) -> String {
    let mut out = Output(String::new());
    for connection in &file.connections {
        out.header("[[connection]]");
        out.text("name", &connection.name);
        out.text("kind", shape::word(CONNECTION_KINDS, &connection.kind));
        out.group_attributes(&connection.group_attributes);
    }
    for target in &file.targets {
        out.header("[[target]]");
        out.target(target);
    }
    for mapping in &file.mappings {
        out.header("[[mapping]]");
        out.text("connection", &mapping.connection);
        out.text("target", &mapping.target);
        out.text("mode", shape::word(MODES, &mapping.settings.mode));
        out.header("[mapping.users]");
        out.users(&mapping.settings.users);
        out.header("[mapping.groups]");
        out.groups(&mapping.settings.groups);
    }
    out.0
}

/// Manual rules as the file writes them, to be pasted below `[mapping.groups]`. `note` says something about each.
pub fn print_manual(rules: &[ManualRule], note: impl Fn(&ManualRule) -> String) -> String {
    let mut out = Output(String::new());
    out.manual(rules, note);
    out.0
}

struct Output(String);

impl Output {
    fn header(&mut self, header: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.line(format_args!("{gap}{header}"));
    }

    fn text(&mut self, key: &str, text: &str) {
        self.line(format_args!("{key} = {}", quoted(text)));
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn flag(&mut self, key: &str, flag: bool) {
        self.line(format_args!("{key} = {flag}"));
    }

    fn list<'a>(&mut self, key: &str, entries: impl Iterator<Item = &'a str>) {
        let entries = entries.map(quoted).collect::<Vec<_>>().join(", ");
        self.line(format_args!("{key} = [{entries}]"));
    }

    /// A list of tables, each on a line of its own.
    fn tables(&mut self, key: &str, entries: impl ExactSizeIterator<Item = String>) {
        if entries.len() == 0 {
            self.line(format_args!("{key} = []"));
            return;
        }
        self.line(format_args!("{key} = ["));
        for entry in entries {
            self.line(format_args!("    {entry}"));
        }
        self.line(format_args!("]"));
    }

    fn manual(&mut self, rules: &[ManualRule], note: impl Fn(&ManualRule) -> String) {
        let entries = rules.iter().map(|rule| {
            let (key, source) = match &rule.source {
                SourceNames::From(name) => ("from", name),
                SourceNames::Matching(pattern) => ("matching", pattern),
            };
            let to = rule.to.iter().map(|name| quoted(name)).collect::<Vec<_>>();
            format!(
                "{{ {key} = {}, to = [{}], keep_members = {}, also_on_the_fly = {} }},{}",
                quoted(source),
                to.join(", "),
                rule.keep_members,
                rule.also_on_the_fly,
                note(rule)
            )
        });
        self.tables("manual", entries);
    }

    fn group_attributes(&mut self, attributes: &[GroupAttribute]) {
        let entries = attributes.iter().map(|attribute| {
            let path = quoted(&attribute.path);
            if attribute.split.is_empty() {
                format!("{path},")
            } else {
                format!("{{ path = {path}, split = {} }},", quoted(&attribute.split))
            }
        });
        self.tables("group_attributes", entries);
    }

    fn secret(&mut self, key: &str, secret: &SecretRef) {
        let (kind, place) = match secret {
            SecretRef::Env(name) => ("env", name.as_str().into()),
            SecretRef::File(path) => ("file", path.to_string_lossy()),
        };
        self.line(format_args!("{key} = {{ {kind} = {} }}", quoted(&place)));
    }

    fn target(&mut self, target: &TargetSettings) {
        self.text("name", &target.name);
        self.text("kind", shape::word(TARGET_KINDS, &target.kind));
        self.text("base_url", &target.base_url);
        match &target.auth {
            TargetAuth::Token(token) => {
                self.secret("token", token);
                let expires = target.token_expires.map(|date| date.to_string());
                self.optional("token_expires", expires.as_deref());
            }
            TargetAuth::Basic { username, password } => {
                self.text("username", username);
                self.secret("password", password);
            }
        }
        self.line(format_args!("concurrency = {}", target.concurrency));
        if let Some(rate) = target.requests_per_second {
            self.line(format_args!("requests_per_second = {rate}"));
        }
        self.text("timeout", &format!("{}s", target.timeout_s));
    }

    fn users(&mut self, users: &UserRules) {
        self.optional("scope", users.scope.as_deref());
        self.text("username", &users.username);
        self.text("display_name", &users.display_name);
        self.text("email", &users.email);
        self.list(
            "match_by",
            users
                .match_by
                .iter()
                .map(|key| shape::word(MATCH_KEYS, key)),
        );
        self.flag("adopt", users.adopt);
        self.list(
            "operations",
            users.operations.iter().map(|o| shape::word(OPERATIONS, o)),
        );
        self.text("on_delete", shape::word(ON_DELETE, &users.on_delete));
        if let Some(seconds) = users.delete_after_s {
            self.text("delete_after", &span_text(seconds));
        }
        self.list("protect", users.protect.iter().map(String::as_str));
        self.optional(
            "default_project_lead",
            users.default_project_lead.as_deref(),
        );
        self.optional(
            "default_component_lead",
            users.default_component_lead.as_deref(),
        );
    }

    fn groups(&mut self, groups: &GroupRules) {
        let names = |out: &mut Self, key, list: &[String]| {
            out.list(key, list.iter().map(String::as_str));
        };
        names(self, "only", &groups.only);
        self.manual(&groups.manual, |_| String::new());
        self.flag("on_the_fly", groups.on_the_fly);
        self.flag("create_missing", groups.create_missing);
        self.text(
            "existing_groups",
            shape::word(EXISTING_GROUPS, &groups.existing_groups),
        );
        names(self, "allow", &groups.allow);
        names(self, "deny", &groups.deny);
        let rewrite = groups.rewrite.iter().map(|rule| {
            let (from, to) = (quoted(&rule.from), quoted(&rule.to));
            format!("{{ from = {from}, to = {to} }},")
        });
        self.tables("rewrite", rewrite);
        self.flag("keep_existing", groups.keep_existing);
        names(self, "protect", &groups.protect);
        names(self, "for_all", &groups.for_all);
        names(self, "for_new", &groups.for_new);
        self.group_attributes(&groups.group_attributes);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
