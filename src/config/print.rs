//! Writes a configuration file: the inverse of reading one.
//!
//! Every key that has a value is written, defaults included, so that an export keeps its meaning
//! when a later version changes a default.

use std::fmt::Write;

use super::file::ConfigFile;
use super::shape::{
    self, CONNECTION_KINDS, MATCH_KEYS, MODES, ON_DELETE, OPERATIONS, TARGET_KINDS,
};
use crate::domain::{Brake, Brakes, GroupRules, SecretRef, TargetAuth, TargetSettings, UserRules};

/// The file in its usual form; [`super::parse`] reads it back to the same settings.
pub fn print(file: &ConfigFile) -> String {
    let mut out = Output(String::new());
    for connection in &file.connections {
        out.header("[[connection]]");
        out.text("name", &connection.name);
        out.text("kind", shape::word(CONNECTION_KINDS, &connection.kind));
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
        if !mapping.settings.live_for.is_empty() {
            out.list(
                "live_for",
                mapping.settings.live_for.iter().map(String::as_str),
            );
        }
        out.header("[mapping.users]");
        out.users(&mapping.settings.users);
        out.header("[mapping.groups]");
        out.groups(&mapping.settings.groups);
        out.header("[mapping.brakes]");
        out.brakes(&mapping.settings.brakes);
    }
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
            TargetAuth::Token(token) => self.secret("token", token),
            TargetAuth::Basic { username, password } => {
                self.text("username", username);
                self.secret("password", password);
            }
        }
        self.line(format_args!("concurrency = {}", target.concurrency));
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
        self.flag("on_the_fly", groups.on_the_fly);
        self.flag("create_missing", groups.create_missing);
        self.list("allow", groups.allow.iter().map(String::as_str));
        self.list("deny", groups.deny.iter().map(String::as_str));
        self.flag("keep_existing", groups.keep_existing);
        self.list("protect", groups.protect.iter().map(String::as_str));
    }

    fn brakes(&mut self, brakes: &Brakes) {
        self.brake("deactivations", brakes.deactivations.as_ref());
        self.brake("deletions", brakes.deletions.as_ref());
        self.brake("membership_removals", brakes.membership_removals.as_ref());
    }

    fn brake(&mut self, key: &str, brake: Option<&Brake>) {
        let Some(brake) = brake else {
            return self.text(key, "off");
        };
        let group_size = match brake.group_size {
            0 => String::new(),
            size => format!(", group_size = {size}"),
        };
        self.line(format_args!(
            "{key} = {{ count = {}, share = {}, at_least = {}, window = \"{}s\"{group_size} }}",
            brake.count, brake.share, brake.at_least, brake.window_s
        ));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
