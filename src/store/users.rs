//! Users of the mirror.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::filter_sql::{Page, PageQuery};
use super::groups::MemberType;
use super::pause::Pause;
use super::schema::{membership, scim_group, scim_user, user_email};
use crate::clock::Micros;
use crate::domain::{ConnectionId, TargetId, UserId};
use crate::scim::{self, Doc, ResourceType};

/// A user or a group as stored. Whoever only shows it needs its document as nothing but text.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<D = Doc> {
    /// SCIM `id`.
    pub id: String,
    /// What the source stated (see `scim::resource`).
    pub doc: D,
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

fn stored((id, doc, version, created_at, modified_at, deleted_at): Row) -> Stored<String> {
    Stored {
        id,
        doc,
        version,
        created_at,
        modified_at,
        deleted_at,
    }
}

impl<D> Stored<D> {
    /// The same with another form of its document.
    fn with_doc<E>(self, doc: E) -> Stored<E> {
        Stored {
            doc,
            id: self.id,
            version: self.version,
            created_at: self.created_at,
            modified_at: self.modified_at,
            deleted_at: self.deleted_at,
        }
    }
}

impl Stored {
    /// Makes the document text again.
    pub fn into_text(self) -> Result<Stored<String>, Error> {
        let text = doc_text(&self.doc)?;
        Ok(self.with_doc(text))
    }
}

impl Stored<String> {
    /// Takes the document apart.
    pub fn parsed(self) -> Result<Stored, Error> {
        let doc = serde_json::from_str(&self.doc)
            .map_err(|e| Error::Corrupt(format!("document of {}: {e}", self.id)))?;
        Ok(self.with_doc(doc))
    }
}

/// A document as it is stored.
pub(super) fn doc_text(doc: &Doc) -> Result<String, Error> {
    serde_json::to_string(doc).map_err(|e| Error::Corrupt(e.to_string()))
}

/// The folded form for filters.
pub(super) fn search_text(rt: ResourceType, doc: &Doc) -> Result<String, Error> {
    scim::fold::fold_to_text(rt, doc).map_err(|e| Error::Corrupt(e.to_string()))
}

/// What a document becomes in the table. Making it takes longer than storing it, and needs no transaction.
#[derive(Debug, Clone)]
pub struct Prepared {
    user_name: String,
    user_name_ci: String,
    external_id: Option<String>,
    display_name_ci: Option<String>,
    active: bool,
    doc: String,
    search: String,
    emails_ci: Vec<String>,
}

/// Makes the columns of a document.
pub fn prepare(doc: &Doc) -> Result<Prepared, Error> {
    let keys = scim::resource::keys(ResourceType::User, doc);
    Ok(Prepared {
        user_name_ci: scim::fold::fold_text(&keys.name),
        user_name: keys.name,
        external_id: keys.external_id,
        display_name_ci: keys.display_name.as_deref().map(scim::fold::fold_text),
        active: keys.active,
        doc: doc_text(doc)?,
        search: search_text(ResourceType::User, doc)?,
        emails_ci: folded(&keys.emails),
    })
}

/// Stores a new user.
pub fn insert(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    user: &Prepared,
    now: Micros,
) -> Result<Stored<String>, Error> {
    let id = UserId::new();
    tx.population_changes();
    on_each!(tx.conn(), |c| diesel::insert_into(scim_user::table)
        .values((
            scim_user::id.eq(id.as_str()),
            scim_user::connection_id.eq(connection.as_str()),
            scim_user::user_name.eq(&user.user_name),
            scim_user::user_name_ci.eq(&user.user_name_ci),
            scim_user::external_id.eq(user.external_id.as_deref()),
            scim_user::display_name_ci.eq(user.display_name_ci.as_deref()),
            scim_user::active.eq(user.active),
            scim_user::doc.eq(&user.doc),
            scim_user::search.eq(&user.search),
            scim_user::version.eq(1),
            scim_user::created_at.eq(now),
            scim_user::modified_at.eq(now),
        ))
        .execute(c))?;
    insert_emails(tx.conn(), id.as_str(), &user.emails_ci)?;
    Ok(Stored {
        id: id.0,
        doc: user.doc.clone(),
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
    let row: Option<Row> = on_each!(tx.conn(), |c| diesel::update(
        scim_user::table
            .filter(scim_user::id.eq(id))
            .filter(scim_user::connection_id.eq(connection.as_str()))
            .filter(scim_user::deleted_at.is_null()),
    )
    .set(scim_user::version.eq(scim_user::version + 1))
    .returning(COLUMNS)
    .get_result(c)
    .optional())?;
    row.map(|row| stored(row).parsed()).transpose()
}

/// Stores a changed document of a locked user.
pub fn save(
    tx: &mut Tx<'_>,
    locked: &Stored,
    doc: &Doc,
    now: Micros,
) -> Result<Stored<String>, Error> {
    let user = prepare(doc)?;
    on_each!(tx.conn(), |c| diesel::update(
        scim_user::table.find(&locked.id)
    )
    .set((
        scim_user::user_name.eq(&user.user_name),
        scim_user::user_name_ci.eq(&user.user_name_ci),
        scim_user::external_id.eq(user.external_id.as_deref()),
        scim_user::display_name_ci.eq(user.display_name_ci.as_deref()),
        scim_user::active.eq(user.active),
        scim_user::doc.eq(&user.doc),
        scim_user::search.eq(&user.search),
        scim_user::modified_at.eq(now),
    ))
    .execute(c))?;
    let before = scim::resource::keys(ResourceType::User, &locked.doc).emails;
    if folded(&before) != user.emails_ci {
        diesel::delete(user_email::table.filter(user_email::user_id.eq(&locked.id)))
            .execute(tx.conn())?;
        insert_emails(tx.conn(), &locked.id, &user.emails_ci)?;
    }
    Ok(Stored {
        id: locked.id.clone(),
        doc: user.doc,
        version: locked.version,
        created_at: locked.created_at,
        modified_at: now,
        deleted_at: locked.deleted_at,
    })
}

/// Turns a locked user into a tombstone and takes it out of its groups.
pub fn bury(tx: &mut Tx<'_>, locked: &Stored, now: Micros) -> Result<(), Error> {
    tx.population_changes();
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

/// E-mail addresses as they are looked up, each once.
fn folded(emails: &[String]) -> Vec<String> {
    let mut folded: Vec<String> = emails.iter().map(|e| scim::fold::fold_text(e)).collect();
    folded.sort();
    folded.dedup();
    folded
}

fn insert_emails(conn: &mut AnyConn, id: &str, emails_ci: &[String]) -> Result<(), Error> {
    for value in emails_ci {
        on_each!(conn, |c| diesel::insert_into(user_email::table)
            .values((user_email::user_id.eq(id), user_email::value_ci.eq(value)))
            .execute(c))?;
    }
    Ok(())
}

/// Reads a living user of this connection.
pub fn get(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    id: &str,
) -> Result<Option<Stored<String>>, Error> {
    let row = on_each!(conn, |c| scim_user::table
        .filter(scim_user::id.eq(id))
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(scim_user::deleted_at.is_null())
        .select(COLUMNS)
        .get_result::<Row>(c)
        .optional())?;
    Ok(row.map(stored))
}

/// A living user who wants to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Who it is.
    pub id: UserId,
    /// `active`
    pub active: bool,
    /// Whether the source grants the application to it, where only that counts.
    pub granted: bool,
}

/// How a user is called.
#[derive(Debug, Clone, Copy)]
pub enum Called<'a> {
    /// By its id here.
    Id(&'a UserId),
    /// By its login name.
    Name(&'a str),
}

/// Whether a user of this connection may come in.
pub fn admission(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    called: Called<'_>,
) -> Result<Option<Admission>, Error> {
    let living = scim_user::table
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(scim_user::deleted_at.is_null())
        .select((scim_user::id, scim_user::active, scim_user::granted));
    let row: Option<(String, bool, bool)> = match called {
        Called::Id(id) => living.filter(scim_user::id.eq(id.as_str())).first(conn),
        Called::Name(name) => living
            .filter(scim_user::user_name_ci.eq(scim::fold::fold_text(name)))
            .first(conn),
    }
    .optional()?;
    Ok(row.map(|(id, active, granted)| Admission {
        id: UserId(id),
        active,
        granted,
    }))
}

/// Whether the source grants the application to a user, where only that counts.
pub fn is_granted(conn: &mut AnyConn, id: &UserId) -> Result<bool, Error> {
    Ok(apart(conn, id)?.0)
}

/// What the mirror knows of a user apart from its document: whether the application is granted to it, where only that
/// counts, and who stopped what is written for it.
pub fn apart(conn: &mut AnyConn, id: &UserId) -> Result<(bool, Option<Pause>), Error> {
    type Row = (bool, Option<Micros>, Option<String>, Option<String>);
    let row: Option<Row> = scim_user::table
        .find(id.as_str())
        .select((
            scim_user::granted,
            scim_user::paused_at,
            scim_user::paused_by,
            scim_user::pause_reason,
        ))
        .first(conn)
        .optional()?;
    let Some((granted, at, by, reason)) = row else {
        return Ok((true, None));
    };
    let by = by.unwrap_or_default();
    Ok((granted, at.map(|at| Pause { at, by, reason })))
}

/// Reads a user of any connection, tombstones included, with the connection it belongs to.
pub fn find(conn: &mut AnyConn, id: &UserId) -> Result<Option<(ConnectionId, Stored)>, Error> {
    let row = scim_user::table
        .find(id.as_str())
        .select((scim_user::connection_id, COLUMNS))
        .first::<(String, Row)>(conn)
        .optional()?;
    row.map(|(connection, row)| Ok((ConnectionId(connection), stored(row).parsed()?)))
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

/// One page of the ids of a connection's users, of the living or of the tombstones, in their order.
pub fn page_of_ids(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    deleted: bool,
    after: Option<&UserId>,
    limit: i64,
) -> Result<Vec<UserId>, Error> {
    let after = after.map_or("", UserId::as_str);
    let page = scim_user::table
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(scim_user::id.gt(after))
        .order(scim_user::id)
        .limit(limit)
        .select(scim_user::id)
        .into_boxed();
    // Each has an index of its own.
    let ids: Vec<String> = if deleted {
        page.filter(scim_user::deleted_at.is_not_null())
            .load(conn)?
    } else {
        page.filter(scim_user::deleted_at.is_null()).load(conn)?
    };
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

/// Living users of a connection after the one of id `after` who have no account at a target that is known to be
/// there; with a group only those below it, however deeply nested.
pub fn without_account(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    target: &TargetId,
    group: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<UserId>, Error> {
    const BELOW: &str = "\
        WITH RECURSIVE below (id) AS (\
            SELECT m.member_id FROM membership m WHERE m.group_id = $1 AND m.member_type <> 'Unknown' \
            UNION \
            SELECT m.member_id FROM membership m JOIN below b ON m.group_id = b.id \
            WHERE m.member_type <> 'Unknown'\
        ) ";
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = diesel::sql_types::Text)]
        id: String,
    }
    // Without a group, its placeholder is compared with nothing.
    let (with, of_group) = match group {
        Some(_) => (BELOW, "u.id IN (SELECT id FROM below)"),
        None => ("", "$1 = ''"),
    };
    let sql = format!(
        "{with}SELECT u.id AS id FROM scim_user u WHERE {of_group} AND u.connection_id = $2 AND u.id > $3 \
         AND u.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM account a WHERE a.target_id = $4 \
         AND a.user_id = u.id AND a.standing = 'present') ORDER BY u.id LIMIT $5"
    );
    let rows: Vec<Id> = on_each!(conn, |c| diesel::sql_query(sql)
        .bind::<diesel::sql_types::Text, _>(group.unwrap_or_default())
        .bind::<diesel::sql_types::Text, _>(connection.as_str())
        .bind::<diesel::sql_types::Text, _>(after)
        .bind::<diesel::sql_types::Text, _>(target.as_str())
        .bind::<diesel::sql_types::BigInt, _>(limit)
        .load(c))?;
    Ok(rows.into_iter().map(|row| UserId(row.id)).collect())
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
        [one] => on_each!(conn, |c| membership::table
            .inner_join(scim_group::table)
            .filter(membership::member_id.eq(one))
            .filter(membership::member_type.eq("User"))
            .select((
                membership::member_id,
                scim_group::id,
                scim_group::display_name,
            ))
            .order(scim_group::id)
            .load(c))?,
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

/// The living user of a connection who goes by the name that a tombstone had.
pub fn successor(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    user_name: &str,
) -> Result<Option<UserId>, Error> {
    let id: Option<String> = scim_user::table
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(scim_user::user_name_ci.eq(scim::fold::fold_text(user_name)))
        .filter(scim_user::deleted_at.is_null())
        .select(scim_user::id)
        .first(conn)
        .optional()?;
    Ok(id.map(UserId))
}

/// Removes tombstones that nothing waits for any more: no work, no account left to know about, and no pull that
/// would bring the user back. An account that is known to be gone is none; its row goes with the tombstone.
pub fn purge(tx: &mut Tx<'_>, before: Micros) -> Result<usize, Error> {
    const SQL: &str = "\
        DELETE FROM scim_user WHERE deleted_at IS NOT NULL AND deleted_at < $1 AND NOT revoked \
        AND NOT EXISTS (SELECT 1 FROM work_item w WHERE w.user_id = scim_user.id) \
        AND NOT EXISTS (SELECT 1 FROM account a WHERE a.user_id = scim_user.id \
            AND (a.standing <> 'absent' OR a.in_flight))";
    Ok(on_each!(tx.conn(), |c| diesel::sql_query(SQL)
        .bind::<diesel::sql_types::BigInt, _>(before)
        .execute(c))?)
}
