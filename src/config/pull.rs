//! The keys of a connection that say how its domain is read.

use super::file::{base_url, required};
use super::schedule::Schedule;
use super::section::{At, Reader, Section};
use super::shape;
use crate::domain::{ClientAuth, ConnectionKind, PullSettings};

const KEYS: &[&str] = &[
    "base_url",
    "client_id",
    "client_secret",
    "private_key",
    "key_id",
    "grant",
    "app_id",
    "only_granted",
    "pull_users",
    "pull_groups",
    "schedule",
    "full_every",
    "requests_per_second",
];

/// Free domains allow 150 requests a minute, for everybody together.
const DEFAULT_REQUESTS_PER_SECOND: u32 = 2;
const DEFAULT_FULL_EVERY_S: u64 = 6 * 3600;

/// Reads them; `None` if the connection has none, or if they cannot be used.
pub(super) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_, '_>,
    kind: Option<ConnectionKind>,
) -> Option<PullSettings> {
    let first = KEYS.iter().find(|key| section.has(key))?;
    if kind.is_some_and(|kind| kind != ConnectionKind::OracleIdcs) {
        let message =
            format!("`{first}` is about reading an IDCS domain: it needs kind = \"oracle-idcs\"");
        reader.problem(section.place_of(first), section.path_of(first), message);
        return None;
    }
    let example = "base_url = \"https://idcs-example.identity.oraclecloud.com\"";
    let address = required(reader, section, "base_url", example);
    let base_url = address.and_then(|At { value, at }| {
        base_url(&value)
            .map_err(|text| reader.problem(at, section.path_of("base_url"), text))
            .ok()
    });
    let client_id = required(reader, section, "client_id", "client_id = \"...\"");
    let auth = auth(reader, section);
    let grant = section.word(reader, "grant", shape::GRANTS);
    let app_id = section.text(reader, "app_id").map(|it| it.value);
    let only_granted = section.flag(reader, "only_granted").unwrap_or(false);
    if only_granted && app_id.is_none() {
        let message = "`only_granted` needs `app_id`: the id of the application whose grants count";
        reader.problem(
            section.place_of("only_granted"),
            section.path_of("only_granted"),
            message,
        );
    }
    let schedule = section.text(reader, "schedule").map(|At { value, at }| {
        if let Err(text) = value.parse::<Schedule>() {
            reader.problem(at, section.path_of("schedule"), text);
        }
        value
    });
    let users = section.word(reader, "pull_users", shape::PULL_USERS);
    let groups = section.text(reader, "pull_groups").map(|it| it.value);
    let full_every_s = section
        .seconds(reader, "full_every", 0..31 * 24 * 3600)
        .unwrap_or(DEFAULT_FULL_EVERY_S);
    let requests_per_second = section
        .number(reader, "requests_per_second", 1..10_001)
        .unwrap_or(DEFAULT_REQUESTS_PER_SECOND);
    Some(PullSettings {
        base_url: base_url?,
        client_id: client_id?.value,
        auth: auth?,
        grant: grant.unwrap_or_default(),
        app_id,
        only_granted,
        users: users.unwrap_or_default(),
        groups,
        schedule,
        full_every_s,
        requests_per_second,
    })
}

fn auth(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<ClientAuth> {
    let secret = section.secret(reader, "client_secret");
    let key = section.secret(reader, "private_key");
    let key_id = section.text(reader, "key_id").map(|it| it.value);
    let (at, message) = match (section.has("client_secret"), section.has("private_key")) {
        (true, false) if key_id.is_none() => return secret.map(ClientAuth::Secret),
        (false, true) => return key.map(|key| ClientAuth::PrivateKey { key, key_id }),
        (true, false) => ("key_id", "`key_id` belongs to `private_key`"),
        (true, true) => (
            "private_key",
            "give either `client_secret` or `private_key`, not both",
        ),
        (false, false) => (
            "",
            "credentials are missing: add client_secret = { env = \"IDCS_SECRET\" }, or `private_key`",
        ),
    };
    let path = section.path_of("client_secret");
    reader.problem(section.place_of(at), path, message);
    None
}
