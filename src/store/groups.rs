//! Groups of the mirror and their members, which are rows of their own.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::filter_sql::{Page, PageQuery};
use super::schema::{membership, scim_group};
use super::users::{CHUNK, Link, Stored, doc_text, search_text};
use crate::clock::Micros;
use crate::domain::{ConnectionId, GroupId};
use crate::scim::{self, Doc, ResourceType};

/// The type of a member whose id the connection has not got.
pub(super) const UNKNOWN: &str = "Unknown";

type Row = (String, String, i64, i64, i64);
type Columns = (
    scim_group::id,
    scim_group::doc,
    scim_group::version,
    scim_group::created_at,
    scim_group::modified_at,
);
const COLUMNS: Columns = (
    scim_group::id,
    scim_group::doc,
    scim_group::version,
    scim_group::created_at,
    scim_group::modified_at,
);

fn stored((id, doc, version, created_at, modified_at): Row) -> Stored<String> {
    Stored {
        id,
        doc,
        version,
        created_at,
        modified_at,
        deleted_at: None,
    }
}

/// Stores a new group without members.
pub fn insert(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    doc: &Doc,
    now: Micros,
) -> Result<Stored<String>, Error> {
    let keys = scim::resource::keys(ResourceType::Group, doc);
    let id = GroupId::new();
    let text = doc_text(doc)?;
    tx.population_changes();
    diesel::insert_into(scim_group::table)
        .values((
            scim_group::id.eq(id.as_str()),
            scim_group::connection_id.eq(connection.as_str()),
            scim_group::display_name.eq(&keys.name),
            scim_group::display_name_ci.eq(scim::fold::fold_text(&keys.name)),
            scim_group::external_id.eq(keys.external_id.as_deref()),
            scim_group::doc.eq(&text),
            scim_group::search.eq(search_text(ResourceType::Group, doc)?),
            scim_group::version.eq(1),
            scim_group::created_at.eq(now),
            scim_group::modified_at.eq(now),
        ))
        .execute(tx.conn())?;
    Ok(Stored {
        id: id.0,
        doc: text,
        version: 1,
        created_at: now,
        modified_at: now,
        deleted_at: None,
    })
}

/// As [`super::users::lock`].
pub fn lock(tx: &mut Tx<'_>, connection: &ConnectionId, id: &str) -> Result<Option<Stored>, Error> {
    let row: Option<Row> = on_each!(tx.conn(), |c| diesel::update(
        scim_group::table
            .filter(scim_group::id.eq(id))
            .filter(scim_group::connection_id.eq(connection.as_str())),
    )
    .set(scim_group::version.eq(scim_group::version + 1))
    .returning(COLUMNS)
    .get_result(c)
    .optional())?;
    row.map(|row| stored(row).parsed()).transpose()
}

/// Takes back what [`lock`] did, for a group that turned out to stay as it is.
pub fn unlock(tx: &mut Tx<'_>, locked: &Stored) -> Result<(), Error> {
    diesel::update(scim_group::table.find(&locked.id))
        .set(scim_group::version.eq(locked.version - 1))
        .execute(tx.conn())?;
    Ok(())
}

/// Stores a locked group after a change of its document or its members.
pub fn save(
    tx: &mut Tx<'_>,
    locked: &Stored,
    doc: &Doc,
    now: Micros,
) -> Result<Stored<String>, Error> {
    let text = doc_text(doc)?;
    if locked.doc == *doc {
        on_each!(tx.conn(), |c| diesel::update(
            scim_group::table.find(&locked.id)
        )
        .set(scim_group::modified_at.eq(now))
        .execute(c))?;
    } else {
        let keys = scim::resource::keys(ResourceType::Group, doc);
        diesel::update(scim_group::table.find(&locked.id))
            .set((
                scim_group::display_name.eq(&keys.name),
                scim_group::display_name_ci.eq(scim::fold::fold_text(&keys.name)),
                scim_group::external_id.eq(keys.external_id.as_deref()),
                scim_group::doc.eq(&text),
                scim_group::search.eq(search_text(ResourceType::Group, doc)?),
                scim_group::modified_at.eq(now),
            ))
            .execute(tx.conn())?;
    }
    Ok(Stored {
        id: locked.id.clone(),
        doc: text,
        version: locked.version,
        created_at: locked.created_at,
        modified_at: now,
        deleted_at: None,
    })
}

/// Removes a locked group; its memberships go with it, and it leaves the groups it was nested in.
pub fn delete(tx: &mut Tx<'_>, locked: &Stored) -> Result<(), Error> {
    tx.population_changes();
    leave_all(tx, &locked.id)?;
    diesel::delete(scim_group::table.find(&locked.id)).execute(tx.conn())?;
    Ok(())
}

/// Takes a user or a group that ends out of the groups it is in. An unknown member of that id stays: it is
/// in a group of another connection, which must not learn from it that there was such a resource.
pub(super) fn leave_all(tx: &mut Tx<'_>, member: &str) -> Result<(), Error> {
    diesel::delete(
        membership::table
            .filter(membership::member_id.eq(member))
            .filter(membership::member_type.ne(UNKNOWN)),
    )
    .execute(tx.conn())?;
    Ok(())
}

/// Reads a group of this connection.
pub fn get(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    id: &str,
) -> Result<Option<Stored<String>>, Error> {
    let row = on_each!(conn, |c| scim_group::table
        .filter(scim_group::id.eq(id))
        .filter(scim_group::connection_id.eq(connection.as_str()))
        .select(COLUMNS)
        .get_result::<Row>(c)
        .optional())?;
    Ok(row.map(stored))
}

/// As [`super::users::hold`], for groups.
pub fn hold(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    ids: &[String],
) -> Result<Vec<String>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(CHUNK) {
        macro_rules! there {
            () => {
                scim_group::table
                    .filter(scim_group::id.eq_any(some))
                    .filter(scim_group::connection_id.eq(connection.as_str()))
                    .order(scim_group::id)
                    .select(scim_group::id)
            };
        }
        let there: Vec<String> = match tx.conn() {
            AnyConn::Postgres(c) => there!().for_share().load(c)?,
            AnyConn::Sqlite(c) => there!().load(c)?,
        };
        found.extend(there);
    }
    Ok(found)
}

/// Keeps everyone else from changing the members of any group below this one until the transaction ends: who
/// is marked here is read from rows, and somebody who joins a nested group at the same moment on PostgreSQL would
/// be marked by neither side in time. On SQLite one thread writes.
pub(super) fn hold_below(tx: &mut Tx<'_>, group: &str) -> Result<(), Error> {
    const BELOW: &str = "\
        WITH RECURSIVE below (id) AS (\
            SELECT member_id FROM membership WHERE group_id = $1 AND member_type = 'Group' \
            UNION \
            SELECT m.member_id FROM membership m JOIN below b ON m.group_id = b.id \
            WHERE m.member_type = 'Group'\
        ) SELECT id FROM below";
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = diesel::sql_types::Text)]
        id: String,
    }
    let AnyConn::Postgres(conn) = tx.conn() else {
        return Ok(());
    };
    let mut held = std::collections::BTreeSet::from([group.to_owned()]);
    let mut more = vec![group.to_owned()];
    // What is held cannot get further groups; what was waited for may have got some.
    while !more.is_empty() {
        for some in more.chunks(CHUNK) {
            let _: Vec<String> = scim_group::table
                .filter(scim_group::id.eq_any(some))
                .order(scim_group::id)
                .select(scim_group::id)
                .for_share()
                .load(conn)?;
        }
        let below: Vec<Id> = diesel::sql_query(BELOW)
            .bind::<diesel::sql_types::Text, _>(group)
            .load(conn)?;
        more = below
            .into_iter()
            .map(|row| row.id)
            .filter(|id| held.insert(id.clone()))
            .collect();
        more.sort();
    }
    Ok(())
}

/// One page of groups, ordered by id.
pub fn list(conn: &mut AnyConn, query: &PageQuery) -> Result<Page, Error> {
    super::filter_sql::page(conn, ResourceType::Group, query)
}

/// The next groups of a connection after the one of id `after`: id and name.
pub fn names(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, String)>, Error> {
    Ok(scim_group::table
        .filter(scim_group::connection_id.eq(connection.as_str()))
        .filter(scim_group::id.gt(after))
        .order(scim_group::id)
        .limit(limit)
        .select((scim_group::id, scim_group::display_name))
        .load(conn)?)
}

/// How many direct members of each type each of these groups has.
pub fn member_counts(
    conn: &mut AnyConn,
    groups: &[String],
) -> Result<Vec<(String, MemberType, i64)>, Error> {
    let mut counts = Vec::new();
    for some in groups.chunks(CHUNK) {
        let rows: Vec<(String, String, i64)> = membership::table
            .filter(membership::group_id.eq_any(some))
            .group_by((membership::group_id, membership::member_type))
            .select((
                membership::group_id,
                membership::member_type,
                diesel::dsl::count_star(),
            ))
            .load(conn)?;
        counts.extend(
            rows.into_iter()
                .map(|(group, of, count)| (group, MemberType::read(&of), count)),
        );
    }
    Ok(counts)
}

/// The members of these groups, at most `limit`, ordered by group and member.
pub fn members_of(conn: &mut AnyConn, groups: &[String], limit: i64) -> Result<Vec<Link>, Error> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, String, String)> = membership::table
        .filter(membership::group_id.eq_any(groups))
        .order((membership::group_id, membership::member_id))
        .limit(limit)
        .select((
            membership::group_id,
            membership::member_id,
            membership::member_type,
        ))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(from, id, member_type)| Link {
            from,
            id,
            display: None,
            member_type: MemberType::read(&member_type),
        })
        .collect())
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberType {
    /// A user of the same connection.
    User,
    /// A group of the same connection.
    Group,
    /// An id that the connection has not got: kept and shown as stated, and never resolved, so that it can
    /// neither reach nor reveal what belongs to another connection.
    Unknown,
}

impl MemberType {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::Unknown => UNKNOWN,
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "User" => Self::User,
            "Group" => Self::Group,
            _ => Self::Unknown,
        }
    }
}

/// Adds one member. Returns whether it was not there before.
pub fn add_member(
    tx: &mut Tx<'_>,
    group: &str,
    member: &str,
    member_type: MemberType,
) -> Result<bool, Error> {
    let added = on_each!(tx.conn(), |c| diesel::insert_into(membership::table)
        .values((
            membership::group_id.eq(group),
            membership::member_id.eq(member),
            membership::member_type.eq(member_type.as_str()),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(added > 0)
}

/// Removes one member. Returns what it was, if it was there.
pub fn remove_member(
    tx: &mut Tx<'_>,
    group: &str,
    member: &str,
) -> Result<Option<MemberType>, Error> {
    let member_type: Option<String> = diesel::delete(membership::table.find((group, member)))
        .returning(membership::member_type)
        .get_result(tx.conn())
        .optional()?;
    Ok(member_type.map(|text| MemberType::read(&text)))
}

/// Which of these ids are direct members of a group.
pub fn which_are_members(
    conn: &mut AnyConn,
    group: &str,
    ids: &[String],
) -> Result<Vec<String>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(CHUNK) {
        let some: Vec<String> = membership::table
            .filter(membership::group_id.eq(group))
            .filter(membership::member_id.eq_any(some))
            .select(membership::member_id)
            .load(conn)?;
        found.extend(some);
    }
    Ok(found)
}

/// The ids of the direct members of a group.
pub fn member_ids(conn: &mut AnyConn, group: &str) -> Result<Vec<String>, Error> {
    Ok(membership::table
        .filter(membership::group_id.eq(group))
        .order(membership::member_id)
        .select(membership::member_id)
        .load(conn)?)
}
