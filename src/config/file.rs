//! The configuration file: connections, targets and the mappings between them.
//!
//! All mistakes are reported at once, each with its place. Lists replace their defaults: a
//! `protect` in the file stands for exactly what it says, and `deny = []` denies nothing. What a
//! target protects by itself (the account it connects with, the administrators' groups) stays
//! protected whatever the file says.

use std::collections::HashMap;
use std::ops::Range;

use toml::de::DeTable;

use super::problem::{Position, Problem};
use super::section::{At, Reader, Section, TextOrTable, nearest, shown};
use super::shape;
use crate::domain::{
    AlertSettings, Brake, Brakes, ConnectionKind, ConnectionSettings, GroupAttribute, GroupRules,
    ManualRule, MappingSettings, OnDelete, Operation, RewriteRule, Share, SourceNames, TargetAuth,
    TargetKind, TargetSettings, UserRules,
};

/// Longest name of a connection or target, in characters.
const MAX_NAME: usize = 100;

/// Longest grace period, in seconds: ten years.
const MAX_DELETE_AFTER_S: u64 = 3650 * 86_400;

const DEFAULT_CONCURRENCY: u32 = 4;
const DEFAULT_TIMEOUT_S: u64 = 20;
/// The longest window of a brake: removals are remembered a little longer than that.
const WEEK_S: u64 = 7 * 24 * 60 * 60;

/// A mapping as the file states it, between names of the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingEntry {
    /// Name of the connection.
    pub connection: String,
    /// Name of the target.
    pub target: String,
    /// Rules.
    pub settings: MappingSettings,
}

/// A configuration file without mistakes of its own. Whether the rules compile is for
/// `mapping::Rules` to say; [`ConfigFile::locate`] finds the place of what it complains about.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    /// Connections, by unique names.
    pub connections: Vec<ConnectionSettings>,
    /// Targets, by unique names.
    pub targets: Vec<TargetSettings>,
    /// Mappings, at most one for a pair.
    pub mappings: Vec<MappingEntry>,
    /// Of what administrators are told, if the file says so.
    pub alerts: Option<AlertSettings>,
    places: Vec<HashMap<String, Position>>,
    connection_places: Vec<HashMap<String, Position>>,
}

/// Places are no part of what a file says.
impl PartialEq for ConfigFile {
    fn eq(&self, other: &Self) -> bool {
        self.connections == other.connections
            && self.targets == other.targets
            && self.mappings == other.mappings
            && self.alerts == other.alerts
    }
}

impl ConfigFile {
    /// A file made of stored settings, to be printed.
    pub fn new(
        connections: Vec<ConnectionSettings>,
        targets: Vec<TargetSettings>,
        mappings: Vec<MappingEntry>,
    ) -> Self {
        Self {
            connections,
            targets,
            mappings,
            alerts: None,
            places: Vec::new(),
            connection_places: Vec::new(),
        }
    }

    /// The same, with what administrators are told of.
    #[must_use]
    pub fn with_alerts(mut self, alerts: Option<AlertSettings>) -> Self {
        self.alerts = alerts;
        self
    }

    /// Where `key` of a mapping is stated, such as `users.scope` or `groups.allow[0]`. Where it is
    /// left out, the place of its table, and in the end that of the mapping.
    pub fn locate(&self, mapping_index: usize, key: &str) -> Position {
        locate(self.places.get(mapping_index), key)
    }

    /// The same for a key of a connection.
    pub fn locate_in_connection(&self, connection_index: usize, key: &str) -> Position {
        locate(self.connection_places.get(connection_index), key)
    }
}

fn locate(places: Option<&HashMap<String, Position>>, key: &str) -> Position {
    let list = key.split_once('[').map_or(key, |(list, _)| list);
    let table = key.split_once('.').map_or("", |(table, _)| table);
    [key, list, table, ""]
        .iter()
        .find_map(|key| places?.get(*key))
        .copied()
        .unwrap_or(Position { line: 1, column: 1 })
}

/// Reads a configuration file, or tells everything that is wrong with it, in the file's order.
pub fn parse(text: &str) -> Result<ConfigFile, Vec<Problem>> {
    let mut reader = Reader::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            // Not its `Display`, which shows the line, and with it perhaps a secret.
            let at = error.span().map_or(text.len(), |span| span.start);
            reader.problem(at, "", error.message());
        }
        return Err(reader.into_problems());
    }
    let file = read(&mut reader, table.get_ref());
    let problems = reader.into_problems();
    if problems.is_empty() {
        Ok(file)
    } else {
        Err(problems)
    }
}

/// What could be read; only good for use if nothing was noted on the way.
fn read(reader: &mut Reader<'_>, table: &DeTable<'_>) -> ConfigFile {
    let root = Section::open(reader, String::new(), 0, table, &shape::FILE);
    let mut file = ConfigFile::default();

    let mut connections = Names::new("connection");
    for section in root.tables(reader, "connection", &shape::CONNECTION) {
        let name = connections.add(reader, &section);
        if let Some(connection) = connection(reader, &section, name) {
            file.connections.push(connection);
            let mut places = HashMap::from([(String::new(), reader.position(section.at))]);
            note_places(reader, &section, "", &mut places);
            file.connection_places.push(places);
        }
    }
    let mut targets = Names::new("target");
    for section in root.tables(reader, "target", &shape::TARGET) {
        let name = targets.add(reader, &section);
        file.targets.extend(target(reader, &section, name));
    }
    let mut pairs = HashMap::new();
    for section in root.tables(reader, "mapping", &shape::MAPPING) {
        let connection = connections.refer(reader, &section);
        let target = targets.refer(reader, &section);
        let (settings, places) = mapping(reader, &section);
        let (Some(connection), Some(target)) = (connection, target) else {
            continue;
        };
        let line = reader.position(section.at).line;
        if let Some(first) = pairs.insert((connection.clone(), target.clone()), line) {
            let message = format!(
                "there is a mapping from `{}` to `{}` in line {first} already",
                shown(&connection),
                shown(&target)
            );
            reader.problem(section.at, "mapping", message);
        }
        file.mappings.push(MappingEntry {
            connection,
            target,
            settings,
        });
        file.places.push(places);
    }
    if let Some(section) = root.table(reader, "alerts", &shape::ALERTS) {
        file.alerts = Some(super::alerts::read(reader, &section));
    }
    file
}

/// The names of one kind of table, to be unique and to be referred to.
struct Names {
    kind: &'static str,
    /// Folded name, name, line.
    known: Vec<(String, String, usize)>,
}

impl Names {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            known: Vec::new(),
        }
    }

    fn add(&mut self, reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<String> {
        let At { value: name, at } = required(reader, section, "name", "name = \"corp\"")?;
        let key = section.path_of("name");
        if name.trim() != name
            || name.contains(char::is_control)
            || name.chars().nth(MAX_NAME).is_some()
        {
            let message = format!(
                "a name has at most {MAX_NAME} characters, no space at its ends and no control characters"
            );
            reader.problem(at, key, message);
            return None;
        }
        let folded = name.to_lowercase();
        if let Some((_, _, line)) = self.known.iter().find(|(known, _, _)| *known == folded) {
            let message = format!("{} `{}` is in line {line} already", self.kind, shown(&name));
            reader.problem(at, key, message);
        } else {
            self.known
                .push((folded, name.clone(), reader.position(at).line));
        }
        Some(name)
    }

    /// The name that a mapping refers to.
    fn refer(&self, reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<String> {
        let kind = self.kind;
        let example = format!("{kind} = \"name\"");
        let At { value: name, at } = required(reader, section, kind, &example)?;
        let names = || self.known.iter().map(|(_, name, _)| name.as_str());
        if names().any(|known| known == name) {
            return Some(name);
        }
        let shown_name = shown(&name);
        let message = if let Some(right) = nearest(&name, names()) {
            format!(
                "there is no {kind} `{shown_name}` in this file; did you mean `{}`?",
                shown(right)
            )
        } else if self.known.is_empty() {
            format!("there is no {kind} `{shown_name}` in this file: add [[{kind}]] for it")
        } else {
            let all = names().map(shown).collect::<Vec<_>>().join(", ");
            format!("there is no {kind} `{shown_name}` in this file; there are {all}")
        };
        reader.problem(at, section.path_of(kind), message);
        None
    }
}

pub(super) fn required(
    reader: &mut Reader<'_>,
    section: &Section<'_, '_>,
    key: &str,
    example: &str,
) -> Option<At<String>> {
    if !section.has(key) {
        section.missing(reader, key, example);
    }
    section.text(reader, key)
}

fn connection(
    reader: &mut Reader<'_>,
    section: &Section<'_, '_>,
    name: Option<String>,
) -> Option<ConnectionSettings> {
    if !section.has("kind") {
        section.missing(reader, "kind", "kind = \"oracle-idcs\"");
    }
    let kind: Option<ConnectionKind> = section.word(reader, "kind", shape::CONNECTION_KINDS);
    let group_attributes = group_attributes(reader, section);
    let pull = super::pull::read(reader, section, kind);
    let login = super::login::read(reader, section);
    let precedence = section.number(reader, "precedence", 1..1001);
    Some(ConnectionSettings {
        name: name?,
        kind: kind?,
        group_attributes,
        pull,
        login,
        precedence,
    })
}

fn target(
    reader: &mut Reader<'_>,
    section: &Section<'_, '_>,
    name: Option<String>,
) -> Option<TargetSettings> {
    if !section.has("kind") {
        section.missing(reader, "kind", "kind = \"jira-dc\"");
    }
    let kind: Option<TargetKind> = section.word(reader, "kind", shape::TARGET_KINDS);
    let address = required(
        reader,
        section,
        "base_url",
        "base_url = \"https://jira.example.com\"",
    );
    let base_url = address.and_then(|At { value, at }| {
        base_url(&value)
            .map_err(|text| reader.problem(at, section.path_of("base_url"), text))
            .ok()
    });
    let auth = auth(reader, section);
    let token_expires = section.date(reader, "token_expires");
    if token_expires.is_some() && matches!(auth, Some(TargetAuth::Basic { .. })) {
        let message = "`token_expires` is about a `token`, and there is none";
        let at = section.place_of("token_expires");
        reader.problem(at, section.path_of("token_expires"), message);
    }
    let concurrency = section
        .number(reader, "concurrency", 1..33)
        .unwrap_or(DEFAULT_CONCURRENCY);
    let requests_per_second = section.number(reader, "requests_per_second", 1..1001);
    let timeout_s = section
        .seconds(reader, "timeout", 1..121)
        .unwrap_or(DEFAULT_TIMEOUT_S);
    Some(TargetSettings {
        name: name?,
        kind: kind?,
        base_url: base_url?,
        auth: auth?,
        token_expires,
        concurrency,
        requests_per_second,
        timeout_s,
    })
}

fn auth(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<TargetAuth> {
    let token = section.secret(reader, "token");
    let username = section.text(reader, "username");
    let password = section.secret(reader, "password");
    let has = |key| section.has(key);
    let (at, key, message) = match (has("token"), has("username"), has("password")) {
        (true, false, false) => return token.map(TargetAuth::Token),
        (false, true, true) => {
            return Some(TargetAuth::Basic {
                username: username?.value,
                password: password?,
            });
        }
        (true, _, _) => (
            "token",
            "token",
            "give either `token`, or `username` and `password`, not both",
        ),
        (false, true, false) => (
            "username",
            "password",
            "`password` is missing: `username` needs one",
        ),
        (false, false, true) => (
            "password",
            "username",
            "`username` is missing: `password` needs one",
        ),
        (false, false, false) => (
            "",
            "token",
            "credentials are missing: add token = { env = \"JIRA_TOKEN\" }, or `username` and `password`",
        ),
    };
    reader.problem(section.place_of(at), section.path_of(key), message);
    None
}

fn mapping(
    reader: &mut Reader<'_>,
    section: &Section<'_, '_>,
) -> (MappingSettings, HashMap<String, Position>) {
    let mut places = HashMap::from([(String::new(), reader.position(section.at))]);
    note_places(reader, section, "", &mut places);
    let mut settings = MappingSettings::default();
    if let Some(mode) = section.word(reader, "mode", shape::MODES) {
        settings.mode = mode;
    }
    settings.live_for = names(reader, section, "live_for").unwrap_or_default();
    if let Some(drift) = section.word(reader, "drift", shape::ON_DRIFT) {
        settings.drift = drift;
    }
    if let Some(table) = section.table(reader, "users", &shape::USERS) {
        note_places(reader, &table, "users.", &mut places);
        settings.users = users(reader, &table);
    }
    if let Some(table) = section.table(reader, "groups", &shape::GROUPS) {
        note_places(reader, &table, "groups.", &mut places);
        settings.groups = groups(reader, &table);
    }
    if let Some(table) = section.table(reader, "brakes", &shape::BRAKES) {
        note_places(reader, &table, "brakes.", &mut places);
        settings.brakes = brakes(reader, &table);
    }
    (settings, places)
}

fn note_places(
    reader: &Reader<'_>,
    section: &Section<'_, '_>,
    prefix: &str,
    places: &mut HashMap<String, Position>,
) {
    for (key, at) in section.keys() {
        places.insert(format!("{prefix}{key}"), reader.position(at));
        for (index, at) in section.entries(key).into_iter().enumerate() {
            places.insert(format!("{prefix}{key}[{index}]"), reader.position(at));
        }
    }
}

fn users(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> UserRules {
    let default = UserRules::default();
    let mut text = |key| section.text(reader, key).map(|text| text.value);
    let mut rules = UserRules {
        scope: text("scope"),
        username: text("username").unwrap_or(default.username),
        display_name: text("display_name").unwrap_or(default.display_name),
        email: text("email").unwrap_or(default.email),
        default_project_lead: text("default_project_lead"),
        default_component_lead: text("default_component_lead"),
        ..UserRules::default()
    };
    if let Some(keys) = section.words(reader, "match_by", shape::MATCH_KEYS) {
        rules.match_by = keys;
    }
    rules.adopt = section.flag(reader, "adopt").unwrap_or(default.adopt);
    if let Some(operations) = section.words(reader, "operations", shape::OPERATIONS) {
        rules.operations = operations;
    }
    if let Some(on_delete) = section.word(reader, "on_delete", shape::ON_DELETE) {
        rules.on_delete = on_delete;
    }
    if rules.on_delete == OnDelete::Delete && !rules.operations.contains(&Operation::Delete) {
        let message = "`on_delete = \"delete\"` needs \"delete\" in `operations`";
        reader.problem(
            section.place_of("on_delete"),
            section.path_of("on_delete"),
            message,
        );
    }
    rules.delete_after_s = section.seconds(reader, "delete_after", 60..MAX_DELETE_AFTER_S + 1);
    if section.has("delete_after") && rules.on_delete != OnDelete::Delete {
        let message = "`delete_after` needs `on_delete = \"delete\"`";
        reader.problem(
            section.place_of("delete_after"),
            section.path_of("delete_after"),
            message,
        );
    }
    rules.protect = names(reader, section, "protect").unwrap_or(default.protect);
    rules
}

fn groups(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> GroupRules {
    let default = GroupRules::default();
    let mut flag = |key, default| section.flag(reader, key).unwrap_or(default);
    GroupRules {
        on_the_fly: flag("on_the_fly", default.on_the_fly),
        create_missing: flag("create_missing", default.create_missing),
        keep_existing: flag("keep_existing", default.keep_existing),
        existing_groups: section
            .word(reader, "existing_groups", shape::EXISTING_GROUPS)
            .unwrap_or(default.existing_groups),
        only: names(reader, section, "only").unwrap_or(default.only),
        allow: names(reader, section, "allow").unwrap_or(default.allow),
        deny: names(reader, section, "deny").unwrap_or(default.deny),
        protect: names(reader, section, "protect").unwrap_or(default.protect),
        for_all: names(reader, section, "for_all").unwrap_or(default.for_all),
        for_new: names(reader, section, "for_new").unwrap_or(default.for_new),
        manual: section
            .tables(reader, "manual", &shape::MANUAL)
            .iter()
            .filter_map(|entry| manual(reader, entry))
            .collect(),
        rewrite: section
            .tables(reader, "rewrite", &shape::REWRITE)
            .iter()
            .filter_map(|entry| {
                let from = required(reader, entry, "from", "from = \"^idcs-(.+)$\"")?.value;
                // Empty takes the match out of the name.
                if !entry.has("to") {
                    entry.missing(reader, "to", "to = \"$1\"");
                }
                let to = entry.any_text(reader, "to")?;
                Some(RewriteRule { from, to })
            })
            .collect(),
        group_attributes: group_attributes(reader, section),
    }
}

fn brakes(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Brakes {
    let default = Brakes::default();
    let mut brake = |key, shape, default| brake(reader, section, key, shape, default);
    Brakes {
        deactivations: brake("deactivations", &shape::BRAKE, default.deactivations),
        deletions: brake("deletions", &shape::BRAKE, default.deletions),
        membership_removals: brake(
            "membership_removals",
            &shape::MEMBERSHIP_BRAKE,
            default.membership_removals,
        ),
    }
}

/// One brake; what it leaves out is as by default.
fn brake(
    reader: &mut Reader<'_>,
    section: &Section<'_, '_>,
    key: &str,
    shape: &shape::Shape,
    default: Option<Brake>,
) -> Option<Brake> {
    const MANY: Range<u32> = 0..1_000_001;
    if section.is_text(key) {
        section.word(reader, key, shape::OFF);
        return None;
    }
    let mut brake = default?;
    let Some(table) = section.table(reader, key, shape) else {
        return Some(brake);
    };
    brake.count = table.number(reader, "count", MANY).unwrap_or(brake.count);
    brake.at_least = table
        .number(reader, "at_least", MANY)
        .unwrap_or(brake.at_least);
    brake.share = table.share(reader, "share").map_or(brake.share, Share::new);
    brake.window_s = table
        .seconds(reader, "window", 60..WEEK_S + 1)
        .unwrap_or(brake.window_s);
    brake.group_size = table
        .number(reader, "group_size", 1..1_000_001)
        .unwrap_or(brake.group_size);
    Some(brake)
}

fn manual(reader: &mut Reader<'_>, entry: &Section<'_, '_>) -> Option<ManualRule> {
    if !entry.has("to") {
        entry.missing(reader, "to", "to = [\"developers\"]");
    }
    let to = names(reader, entry, "to");
    let keep_members = entry.flag(reader, "keep_members").unwrap_or(true);
    let also_on_the_fly = entry.flag(reader, "also_on_the_fly").unwrap_or(false);
    let source = match (entry.has("from"), entry.has("matching")) {
        (true, true) => {
            let message =
                "give either `from`, the name of a group, or `matching`, a pattern, not both";
            reader.problem(
                entry.place_of("matching"),
                entry.path_of("matching"),
                message,
            );
            return None;
        }
        (false, true) => SourceNames::Matching(entry.text(reader, "matching")?.value),
        _ => SourceNames::From(required(reader, entry, "from", "from = \"Engineering\"")?.value),
    };
    Some(ManualRule {
        source,
        to: to?,
        keep_members,
        also_on_the_fly,
    })
}

fn group_attributes(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Vec<GroupAttribute> {
    let entries = section.texts_or_tables(reader, "group_attributes", &shape::GROUP_ATTRIBUTE);
    let mut attributes = Vec::new();
    for entry in entries.unwrap_or_default() {
        match entry {
            TextOrTable::Text(path) => attributes.push(GroupAttribute {
                path,
                split: String::new(),
            }),
            TextOrTable::Table(entry) => {
                let path = required(reader, &entry, "path", "path = \"userType\"");
                // Not `text`: a space separates, too.
                let split = entry.any_text(reader, "split").unwrap_or_default();
                if let Some(At { value: path, .. }) = path {
                    attributes.push(GroupAttribute { path, split });
                }
            }
        }
    }
    attributes
}

/// A list of names or patterns.
fn names(reader: &mut Reader<'_>, section: &Section<'_, '_>, key: &str) -> Option<Vec<String>> {
    Some(
        section
            .texts(reader, key)?
            .into_iter()
            .map(|entry| entry.value)
            .collect(),
    )
}

/// An absolute http address without query, user or final slash. The error does not repeat it:
/// people put passwords into addresses.
pub(super) fn base_url(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("`base_url` should begin with https:// (or http://)")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return Err("`base_url` should begin with https:// (or http://)");
    }
    if rest.contains(['?', '#']) {
        return Err("`base_url` should end before `?` and `#`");
    }
    if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("`base_url` contains a character that no address has");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("`base_url` should hold no user name and password: use the keys for them");
    }
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|v6| v6.split_once(']'))
    {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("none"))),
        None => authority
            .split_once(':')
            .map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let v6 = authority.starts_with('[');
    let fits = |c: char| {
        if v6 {
            c.is_ascii_hexdigit() || ":.".contains(c)
        } else {
            c.is_alphanumeric() || "-._".contains(c)
        }
    };
    if host.is_empty() || !host.chars().all(fits) {
        return Err("`base_url` has no valid host name");
    }
    let all_digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if port.is_some_and(|p| {
        !all_digits(p) || p.parse::<u16>().is_ok_and(|p| p == 0) || p.parse::<u16>().is_err()
    }) {
        return Err("`base_url` has no valid port");
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

#[cfg(test)]
mod tests;
