//! People across connections, as somebody at the seat looks for them.

use diesel::prelude::*;

use super::conn::AnyConn;
use super::error::Error;
use super::schema::{connection, scim_user, user_email};
use crate::clock::Micros;
use crate::domain::ConnectionId;
use crate::scim::fold::fold_text;

/// A person in a list.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Person {
    /// SCIM id.
    pub id: String,
    /// Name of the connection.
    pub connection: String,
    /// User name at the source.
    pub user_name: String,
    /// As it is compared and sorted.
    pub user_name_ci: String,
    /// Whether the source says that they are active.
    pub active: bool,
    /// When the mirror changed last.
    pub modified_at: Micros,
    /// When the source deleted them, if it did.
    pub deleted_at: Option<Micros>,
    /// Since when nothing is written for them because somebody stopped it.
    pub paused_at: Option<Micros>,
}

/// Which people. What is empty does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Part of the user name, the display name or an e-mail address, whatever its case.
    pub text: String,
    /// From this source.
    pub connection: Option<ConnectionId>,
    /// Only those for whom nothing is written because somebody stopped it.
    pub paused: bool,
    /// Beyond this one: folded user name and id.
    pub after: Option<(String, String)>,
}

/// A page of people by user name; tombstones are among them while Usher knows accounts of theirs.
pub fn page(conn: &mut AnyConn, query: &Query, limit: i64) -> Result<Vec<Person>, Error> {
    let mut people = scim_user::table
        .inner_join(connection::table)
        .order((scim_user::user_name_ci, scim_user::id))
        .limit(limit)
        .select((
            scim_user::id,
            connection::name,
            scim_user::user_name,
            scim_user::user_name_ci,
            scim_user::active,
            scim_user::modified_at,
            scim_user::deleted_at,
            scim_user::paused_at,
        ))
        .into_boxed();
    let text = fold_text(query.text.trim());
    if !text.is_empty() {
        let part = format!("%{}%", escaped(&text));
        let with_email = user_email::table
            .filter(user_email::user_id.eq(scim_user::id))
            .filter(user_email::value_ci.like(part.clone()).escape('\\'));
        people = people.filter(
            scim_user::user_name_ci
                .like(part.clone())
                .escape('\\')
                .or(scim_user::display_name_ci
                    .assume_not_null()
                    .like(part)
                    .escape('\\'))
                .or(diesel::dsl::exists(with_email)),
        );
    }
    if query.paused {
        people = people.filter(scim_user::paused_at.is_not_null());
    }
    if let Some(connection) = &query.connection {
        people = people.filter(scim_user::connection_id.eq(connection.as_str().to_owned()));
    }
    if let Some((name, id)) = query.after.clone() {
        people = people.filter(
            scim_user::user_name_ci
                .gt(name.clone())
                .or(scim_user::user_name_ci.eq(name).and(scim_user::id.gt(id))),
        );
    }
    Ok(people.load(conn)?)
}

/// Text in a pattern of LIKE.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
