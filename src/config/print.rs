//! Writes a configuration file: the inverse of reading one.
//!
//! Every key that has a value is written, defaults included, so that an export keeps its meaning
//! when a later version changes a default.

use std::fmt::Write;

use super::file::ConfigFile;
use super::section::span_text;
use super::shape::{
    self, CONNECTION_KINDS, EXISTING_GROUPS, GRANTS, LOGIN_FALLBACKS, MAIL_TLS, MATCH_KEYS, MODES,
    ON_DELETE, ON_DRIFT, OPERATIONS, PULL_USERS, TARGET_KINDS,
};
use crate::domain::{
    AlertSettings, Brake, Brakes, ClientAuth, GroupAttribute, GroupRules, LoginSettings,
    ManualRule, PullSettings, SecretRef, SourceNames, TargetAuth, TargetSettings, UserRules,
};

/// The file in its usual form; [`super::parse`] reads it back to the same settings.
pub fn print(file: &ConfigFile) -> String {
    let mut out = Output(String::new());
    for connection in &file.connections {
        out.header("[[connection]]");
        out.text("name", &connection.name);
        out.text("kind", shape::word(CONNECTION_KINDS, &connection.kind));
        out.group_attributes(&connection.group_attributes);
        if let Some(pull) = &connection.pull {
            out.pull(pull);
        }
        out.login(&connection.login);
        if let Some(precedence) = connection.precedence {
            out.line(format_args!("precedence = {precedence}"));
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
        if !mapping.settings.live_for.is_empty() {
            out.list(
                "live_for",
                mapping.settings.live_for.iter().map(String::as_str),
            );
        }
        out.text("drift", shape::word(ON_DRIFT, &mapping.settings.drift));
        out.header("[mapping.users]");
        out.users(&mapping.settings.users);
        out.header("[mapping.groups]");
        out.groups(&mapping.settings.groups);
        out.header("[mapping.brakes]");
        out.brakes(&mapping.settings.brakes);
    }
    if let Some(alerts) = &file.alerts {
        out.alerts(alerts);
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
            SecretRef::Stored(secret) => ("stored", secret.name.as_str().into()),
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

    fn login(&mut self, login: &LoginSettings) {
        if *login == LoginSettings::default() {
            return;
        }
        self.text("login_deadline", &format!("{}s", login.deadline_ms / 1000));
        self.text(
            "login_fallback",
            shape::word(LOGIN_FALLBACKS, &login.fallback),
        );
        self.text("login_user_header", &login.user_header);
        self.list(
            "token_audiences",
            login.audiences.iter().map(String::as_str),
        );
        self.optional("token_tenant", login.tenant.as_deref());
        self.list(
            "push_clients",
            login.push_clients.iter().map(String::as_str),
        );
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

    fn alerts(&mut self, alerts: &AlertSettings) {
        self.header("[alerts]");
        let spans = [
            ("no_push", alerts.no_push_s),
            ("backlog", alerts.backlog_s),
            ("unreachable", alerts.unreachable_s),
        ];
        for (key, seconds) in spans {
            self.text(key, &seconds.map_or_else(|| "off".to_owned(), span_text));
        }
        if let Some(webhook) = &alerts.webhook {
            self.header("[alerts.webhook]");
            self.secret("url", &webhook.url);
            if let Some(token) = &webhook.token {
                self.secret("token", token);
            }
        }
        if let Some(mail) = &alerts.mail {
            self.header("[alerts.mail]");
            self.text("server", &mail.server);
            self.line(format_args!("port = {}", mail.port));
            self.text("tls", shape::word(MAIL_TLS, &mail.tls));
            if let Some((username, password)) = &mail.login {
                self.text("username", username);
                self.secret("password", password);
            }
            self.text("from", &mail.from);
            self.list("to", mail.to.iter().map(String::as_str));
        }
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
            "{key} = {{ count = {}, share = {}, at_least = {}, window = \"{}\"{group_size} }}",
            brake.count,
            brake.share,
            brake.at_least,
            span_text(brake.window_s)
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
