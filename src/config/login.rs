//! The keys of a connection that say what the login hook does, and which tokens of its domain are taken.

use super::section::{At, Reader, Section};
use super::shape;
use crate::domain::LoginSettings;

/// Reads them; what is not said is as it is by default.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> LoginSettings {
    let default = LoginSettings::default();
    let list = |reader: &mut Reader<'_>, key: &str| {
        let all = section.texts(reader, key).unwrap_or_default();
        all.into_iter().map(|At { value, .. }| value).collect()
    };
    let user_header = section
        .text(reader, "login_user_header")
        .map(|At { value, at }| {
            let is_name = value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if value.is_empty() || !is_name {
                let path = section.path_of("login_user_header");
                reader.problem(
                    at,
                    path,
                    "this is no name of a header, such as \"Remote-User\"",
                );
            }
            value
        });
    LoginSettings {
        deadline_ms: section
            .seconds(reader, "login_deadline", 1..61)
            .map_or(default.deadline_ms, |seconds| seconds * 1000),
        fallback: section
            .word(reader, "login_fallback", shape::LOGIN_FALLBACKS)
            .unwrap_or(default.fallback),
        user_header: user_header.unwrap_or(default.user_header),
        audiences: list(reader, "token_audiences"),
        tenant: section.text(reader, "token_tenant").map(|it| it.value),
        push_clients: list(reader, "push_clients"),
    }
}
