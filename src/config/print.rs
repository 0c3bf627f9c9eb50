//! Writes a configuration file: the inverse of reading one.
//!
//! Every key that has a value is written, defaults included, so that an export keeps its meaning
//! when a later version changes a default.

use std::fmt::Write;

use super::file::ConfigFile;
use super::shape::{
    self, CONNECTION_KINDS, GRANTS, MATCH_KEYS, MODES, ON_DELETE, OPERATIONS, PULL_USERS,
    TARGET_KINDS,
};
use crate::domain::{
    ClientAuth, GroupRules, PullSettings, SecretRef, TargetAuth, TargetSettings, UserRules,
};

/// The file in its usual form; [`super::parse`] reads it back to the same settings.
pub fn print(file: &ConfigFile) -> String {
    let mut out = Output(String::new());
    for connection in &file.connections {
        out.header("[[connection]]");
        out.text("name", &connection.name);
        out.text("kind", shape::word(CONNECTION_KINDS, &connection.kind));
        if !connection.group_attributes.is_empty() {
            let names = connection.group_attributes.iter();
            out.list("group_attributes", names.map(String::as_str));
        }
        if let Some(pull) = &connection.pull {
            out.pull(pull);
        }
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

    fn pull(&mut self, pull: &PullSettings) {
        self.text("base_url", &pull.base_url);
        self.text("client_id", &pull.client_id);
        match &pull.auth {
            ClientAuth::Secret(secret) => self.secret("client_secret", secret),
            ClientAuth::PrivateKey { key, key_id } => {
                self.secret("private_key", key);
                self.optional("key_id", key_id.as_deref());
            }
        }
        self.text("grant", shape::word(GRANTS, &pull.grant));
        self.optional("app_id", pull.app_id.as_deref());
        self.flag("only_granted", pull.only_granted);
        self.text("pull_users", shape::word(PULL_USERS, &pull.users));
        self.optional("pull_groups", pull.groups.as_deref());
        self.optional("schedule", pull.schedule.as_deref());
        self.text("full_every", &format!("{}s", pull.full_every_s));
        self.line(format_args!(
            "requests_per_second = {}",
            pull.requests_per_second
        ));
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

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
