//! Users of the mirror.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::filter_sql::{Page, PageQuery};
use super::groups::MemberType;
use super::schema::{membership, scim_group, scim_user, user_email};
use crate::clock::Micros;
use crate::domain::{ConnectionId, UserId};
use crate::scim::{self, Doc, ResourceType};

/// A user or a group as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// SCIM `id`.
    pub id: String,
    /// What the source stated (see `scim::resource`).
    pub doc: Doc,
    /// Counts changes, from 1.
    pub version: i64,
    /// `meta.created`.
    pub created_at: Micros,
    /// `meta.lastModified`.
    pub modified_at: Micros,
    /// Set on a tombstone.
    pub deleted_at: Option<Micros>,
}

/// A group that somebody is in, or a member that a group has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The one at the near end.
    pub from: String,
    /// SCIM `id` of the one at the far end.
    pub id: String,
    /// Its name for people: of groups only. Names of members would cost a look-up each, and RFC 7643 does not
    /// ask for them.
    pub display: Option<String>,
    /// What the far end is.
    pub member_type: MemberType,
}

/// How many ids one statement names: SQLite has a limit of placeholders.
pub(super) const CHUNK: usize = 500;

type Row = (String, String, i64, i64, i64, Option<i64>);
type Columns = (
    scim_user::id,
    scim_user::doc,
    scim_user::version,
    scim_user::created_at,
    scim_user::modified_at,
    scim_user::deleted_at,
);
const COLUMNS: Columns = (
    scim_user::id,
    scim_user::doc,
    scim_user::version,
    scim_user::created_at,
    scim_user::modified_at,
    scim_user::deleted_at,
);

fn stored((id, doc, version, created_at, modified_at, deleted_at): Row) -> Result<Stored, Error> {
    Ok(Stored {
        doc: read_doc(&id, &doc)?,
        id,
        version,
        created_at,
        modified_at,
        deleted_at,
    })
}

/// Reads a document column.
pub(super) fn read_doc(id: &str, text: &str) -> Result<Doc, Error> {
    serde_json::from_str(text).map_err(|e| Error::Corrupt(format!("document of {id}: {e}")))
}

/// The folded form for filters.
pub(super) fn search_text(rt: ResourceType, doc: &Doc) -> String {
    scim::fold::fold(rt, doc).to_string()
}

/// Stores a new user.
pub fn insert(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    doc: &Doc,
    now: Micros,
) -> Result<Stored, Error> {
    let keys = scim::resource::keys(ResourceType::User, doc);
    let id = UserId::new();
    let text = serde_json::to_string(doc).map_err(|e| Error::Corrupt(e.to_string()))?;
    diesel::insert_into(scim_user::table)
        .values((
            scim_user::id.eq(id.as_str()),
            scim_user::connection_id.eq(connection.as_str()),
            scim_user::user_name.eq(&keys.name),
            scim_user::user_name_ci.eq(scim::fold::fold_text(&keys.name)),
            scim_user::external_id.eq(keys.external_id.as_deref()),
            scim_user::display_name_ci.eq(keys.display_name.as_deref().map(scim::fold::fold_text)),
            scim_user::active.eq(keys.active),
            scim_user::doc.eq(text),
            scim_user::search.eq(search_text(ResourceType::User, doc)),
            scim_user::version.eq(1),
            scim_user::created_at.eq(now),
            scim_user::modified_at.eq(now),
        ))
        .execute(tx.conn())?;
    insert_emails(tx.conn(), id.as_str(), &keys.emails)?;
    Ok(Stored {
        id: id.0,
        doc: doc.clone(),
        version: 1,
        created_at: now,
        modified_at: now,
        deleted_at: None,
    })
}

/// Reads a user and keeps everyone else from changing it until the transaction ends: the same text locks
/// the row on PostgreSQL and needs no lock on SQLite, where one thread writes. The version goes up by one,
/// so a caller who finds nothing to change must discard the transaction.
pub fn lock(tx: &mut Tx<'_>, connection: &ConnectionId, id: &str) -> Result<Option<Stored>, Error> {
    let row: Option<Row> = diesel::update(
        scim_user::table
            .filter(scim_user::id.eq(id))
            .filter(scim_user::connection_id.eq(connection.as_str()))
            .filter(scim_user::deleted_at.is_null()),
    )
    .set(scim_user::version.eq(scim_user::version + 1))
    .returning(COLUMNS)
    .get_result(tx.conn())
    .optional()?;
    row.map(stored).transpose()
}

/// Stores a changed document of a locked user.
pub fn save(tx: &mut Tx<'_>, locked: &Stored, doc: &Doc, now: Micros) -> Result<Stored, Error> {
    let keys = scim::resource::keys(ResourceType::User, doc);
    let text = serde_json::to_string(doc).map_err(|e| Error::Corrupt(e.to_string()))?;
    diesel::update(scim_user::table.find(&locked.id))
        .set((
            scim_user::user_name.eq(&keys.name),
            scim_user::user_name_ci.eq(scim::fold::fold_text(&keys.name)),
            scim_user::external_id.eq(keys.external_id.as_deref()),
            scim_user::display_name_ci.eq(keys.display_name.as_deref().map(scim::fold::fold_text)),
            scim_user::active.eq(keys.active),
            scim_user::doc.eq(text),
            scim_user::search.eq(search_text(ResourceType::User, doc)),
            scim_user::modified_at.eq(now),
        ))
        .execute(tx.conn())?;
    let before = scim::resource::keys(ResourceType::User, &locked.doc).emails;
    if before != keys.emails {
        diesel::delete(user_email::table.filter(user_email::user_id.eq(&locked.id)))
            .execute(tx.conn())?;
        insert_emails(tx.conn(), &locked.id, &keys.emails)?;
    }
    Ok(Stored {
        doc: doc.clone(),
        modified_at: now,
        ..locked.clone()
    })
}

/// Turns a locked user into a tombstone and takes it out of its groups.
pub fn bury(tx: &mut Tx<'_>, locked: &Stored, now: Micros) -> Result<(), Error> {
    diesel::update(scim_user::table.find(&locked.id))
        .set((
            scim_user::deleted_at.eq(now),
            scim_user::modified_at.eq(now),
            scim_user::external_id.eq(None::<String>),
        ))
        .execute(tx.conn())?;
    diesel::delete(user_email::table.filter(user_email::user_id.eq(&locked.id)))
        .execute(tx.conn())?;
    super::groups::leave_all(tx, &locked.id)
}

fn insert_emails(conn: &mut AnyConn, id: &str, emails: &[String]) -> Result<(), Error> {
    let mut folded: Vec<String> = emails.iter().map(|e| scim::fold::fold_text(e)).collect();
    folded.sort();
    folded.dedup();
    for value in folded {
        diesel::insert_into(user_email::table)
            .values((user_email::user_id.eq(id), user_email::value_ci.eq(value)))
            .execute(conn)?;
    }
    Ok(())
}

/// Reads a living user of this connection.
pub fn get(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    id: &str,
) -> Result<Option<Stored>, Error> {
    scim_user::table
        .filter(scim_user::id.eq(id))
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(scim_user::deleted_at.is_null())
        .select(COLUMNS)
        .first::<Row>(conn)
        .optional()?
        .map(stored)
        .transpose()
}

/// Reads a user of any connection, tombstones included, with the connection it belongs to.
pub fn find(conn: &mut AnyConn, id: &UserId) -> Result<Option<(ConnectionId, Stored)>, Error> {
    let row = scim_user::table
        .find(id.as_str())
        .select((scim_user::connection_id, COLUMNS))
        .first::<(String, Row)>(conn)
        .optional()?;
    row.map(|(connection, row)| Ok((ConnectionId(connection), stored(row)?)))
        .transpose()
}

/// The ids of the users, tombstones included, that an administrator may mean: by id, user name or e-mail.
pub fn named(conn: &mut AnyConn, name: &str) -> Result<Vec<UserId>, Error> {
    let folded = scim::fold::fold_text(name);
    let with_email = user_email::table
        .filter(user_email::user_id.eq(scim_user::id))
        .filter(user_email::value_ci.eq(&folded));
    let ids: Vec<String> = scim_user::table
        .filter(
            scim_user::id
                .eq(name)
                .or(scim_user::user_name_ci.eq(&folded))
                .or(exists(with_email)),
        )
        .order(scim_user::id.desc())
        .limit(20)
        .select(scim_user::id)
        .load(conn)?;
    Ok(ids.into_iter().map(UserId).collect())
}

/// Which of these ids are living users of this connection. They stay so until the transaction ends: a user
/// who is deleted meanwhile on PostgreSQL would remain a member for ever. On SQLite one thread writes.
pub fn hold(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    ids: &[String],
) -> Result<Vec<String>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(CHUNK) {
        macro_rules! living {
            () => {
                scim_user::table
                    .filter(scim_user::id.eq_any(some))
                    .filter(scim_user::connection_id.eq(connection.as_str()))
                    .filter(scim_user::deleted_at.is_null())
                    .order(scim_user::id)
                    .select(scim_user::id)
            };
        }
        let living: Vec<String> = match tx.conn() {
            AnyConn::Postgres(c) => living!().for_share().load(c)?,
            AnyConn::Sqlite(c) => living!().load(c)?,
        };
        found.extend(living);
    }
    Ok(found)
}

/// One page of living users, ordered by id.
pub fn list(conn: &mut AnyConn, query: &PageQuery) -> Result<Page, Error> {
    super::filter_sql::page(conn, ResourceType::User, query)
}

/// The groups that these users are direct members of.
pub fn groups_of(conn: &mut AnyConn, users: &[String]) -> Result<Vec<Link>, Error> {
    let rows: Vec<(String, String, String)> = match users {
        [] => Vec::new(),
        // One id is the common case, and its statement is cached.
        [one] => membership::table
            .inner_join(scim_group::table)
            .filter(membership::member_id.eq(one))
            .filter(membership::member_type.eq("User"))
            .select((
                membership::member_id,
                scim_group::id,
                scim_group::display_name,
            ))
            .order(scim_group::id)
            .load(conn)?,
        many => membership::table
            .inner_join(scim_group::table)
            .filter(membership::member_id.eq_any(many))
            .filter(membership::member_type.eq("User"))
            .select((
                membership::member_id,
                scim_group::id,
                scim_group::display_name,
            ))
            .order(scim_group::id)
            .load(conn)?,
    };
    Ok(rows
        .into_iter()
        .map(|(from, id, display)| Link {
            from,
            id,
            display: Some(display),
            member_type: MemberType::Group,
        })
        .collect())
}

/// A group that a user is in, directly or through other groups.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Reached {
    /// The group.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub id: String,
    /// Its name.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub name: String,
    /// Whether the user is a direct member.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub direct: bool,
}

/// All groups that a user is in, nested ones followed upwards. `UNION` ends circles.
pub fn all_groups_of(conn: &mut AnyConn, user: &UserId) -> Result<Vec<Reached>, Error> {
    const SQL: &str = "\
        WITH RECURSIVE reached (id) AS (\
            SELECT group_id FROM membership WHERE member_id = $1 AND member_type = 'User' \
            UNION \
            SELECT m.group_id FROM membership m JOIN reached r ON m.member_id = r.id \
            WHERE m.member_type = 'Group'\
        ) \
        SELECT g.id AS id, g.display_name AS name, \
            EXISTS (SELECT 1 FROM membership d WHERE d.group_id = g.id AND d.member_id = $1) AS direct \
        FROM reached r JOIN scim_group g ON g.id = r.id ORDER BY g.id";
    Ok(on_each!(conn, |c| diesel::sql_query(SQL)
        .bind::<diesel::sql_types::Text, _>(user.as_str())
        .load(c))?)
}

/// Removes tombstones that nothing waits for any more: no work, and no account left to know about. An account
/// that is known to be gone is none; its row goes with the tombstone.
pub fn purge(tx: &mut Tx<'_>, before: Micros) -> Result<usize, Error> {
    const SQL: &str = "\
        DELETE FROM scim_user WHERE deleted_at IS NOT NULL AND deleted_at < $1 \
        AND NOT EXISTS (SELECT 1 FROM work_item w WHERE w.user_id = scim_user.id) \
        AND NOT EXISTS (SELECT 1 FROM account a WHERE a.user_id = scim_user.id \
            AND (a.standing <> 'absent' OR a.in_flight))";
    Ok(on_each!(tx.conn(), |c| diesel::sql_query(SQL)
        .bind::<diesel::sql_types::BigInt, _>(before)
        .execute(c))?)
}
