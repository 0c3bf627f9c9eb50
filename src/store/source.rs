//! What a pull knows about the domain of a connection: which user and group is which, and what was seen when.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::{
    membership, pull, scim_group, scim_user, source_grant, source_group, source_user,
};
use super::users::CHUNK;
use crate::clock::Micros;
use crate::domain::{ConnectionId, UserId};

/// A user of the mirror as a pull has to see it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Mirrored {
    /// SCIM id.
    pub id: String,
    /// Folded user name.
    pub name_ci: String,
    /// `externalId`
    pub external_id: Option<String>,
    /// Version of the document.
    pub version: i64,
    /// When it changed last.
    pub modified_at: Micros,
    /// Set on a tombstone.
    pub deleted_at: Option<Micros>,
    /// Whether a push made it.
    pub pushed: bool,
    /// Whether a push took it away.
    pub revoked: bool,
}

type Columns = (
    scim_user::id,
    scim_user::user_name_ci,
    scim_user::external_id,
    scim_user::version,
    scim_user::modified_at,
    scim_user::deleted_at,
    scim_user::pushed,
    scim_user::revoked,
);
const COLUMNS: Columns = (
    scim_user::id,
    scim_user::user_name_ci,
    scim_user::external_id,
    scim_user::version,
    scim_user::modified_at,
    scim_user::deleted_at,
    scim_user::pushed,
    scim_user::revoked,
);

/// A user of the domain whom the mirror has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// Its id in the domain.
    pub source_id: String,
    /// What was read last.
    pub digest: String,
    /// The names of the attributes that were in it.
    pub stated: String,
    /// The version that `digest` stands for.
    pub version: i64,
    /// The user here.
    pub mirrored: Mirrored,
}

/// Those of these users of the domain that are known.
pub fn users(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    source_ids: &[String],
) -> Result<Vec<KnownUser>, Error> {
    let mut found = Vec::with_capacity(source_ids.len());
    for some in source_ids.chunks(CHUNK) {
        let rows: Vec<(String, String, String, i64, Mirrored)> = source_user::table
            .inner_join(scim_user::table)
            .filter(source_user::connection_id.eq(connection.as_str()))
            .filter(source_user::source_id.eq_any(some))
            .select((
                source_user::source_id,
                source_user::digest,
                source_user::stated,
                source_user::version,
                COLUMNS,
            ))
            .load(conn)?;
        found.extend(
            rows.into_iter()
                .map(|(source_id, digest, stated, version, mirrored)| KnownUser {
                    source_id,
                    digest,
                    stated,
                    version,
                    mirrored,
                }),
        );
    }
    Ok(found)
}

/// Users of the mirror by folded names, tombstones included, and living ones by `externalId`.
pub fn candidates(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    names_ci: &[String],
    external_ids: &[String],
) -> Result<Vec<Mirrored>, Error> {
    let mut found: Vec<Mirrored> = Vec::new();
    for some in names_ci.chunks(CHUNK) {
        // Two queries, because there are two indexes: of the living and of tombstones.
        let living = scim_user::table
            .filter(scim_user::connection_id.eq(connection.as_str()))
            .filter(scim_user::user_name_ci.eq_any(some))
            .filter(scim_user::deleted_at.is_null())
            .select(COLUMNS);
        found.extend(living.load::<Mirrored>(conn)?);
        let gone = scim_user::table
            .filter(scim_user::connection_id.eq(connection.as_str()))
            .filter(scim_user::user_name_ci.eq_any(some))
            .filter(scim_user::deleted_at.is_not_null())
            .select(COLUMNS);
        found.extend(gone.load::<Mirrored>(conn)?);
    }
    for some in external_ids.chunks(CHUNK) {
        let rows = scim_user::table
            .filter(scim_user::connection_id.eq(connection.as_str()))
            .filter(scim_user::external_id.eq_any(some))
            .filter(scim_user::deleted_at.is_null())
            .select(COLUMNS);
        found.extend(rows.load::<Mirrored>(conn)?);
    }
    Ok(found)
}

/// The id in the domain of a user here.
pub fn of_user(conn: &mut AnyConn, user: &UserId) -> Result<Option<String>, Error> {
    Ok(source_user::table
        .filter(source_user::user_id.eq(user.as_str()))
        .select(source_user::source_id)
        .first(conn)
        .optional()?)
}

/// What was read of a user, to be remembered.
#[derive(Debug, Clone)]
pub struct Read<'a> {
    /// Its id in the domain.
    pub source_id: &'a str,
    /// The user here.
    pub user_id: &'a str,
    /// What was read.
    pub digest: &'a str,
    /// The names of the attributes in it.
    pub stated: &'a str,
    /// The version that this stands for.
    pub version: i64,
}

/// Remembers what was read of a user. Returns whether it was not known before, or as another one.
pub fn remember_user(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    read: &Read<'_>,
    run: i64,
) -> Result<bool, Error> {
    let before: Option<String> = source_user::table
        .find((connection.as_str(), read.source_id))
        .select(source_user::user_id)
        .first(tx.conn())
        .optional()?;
    if before.as_deref() == Some(read.user_id) {
        diesel::update(source_user::table.find((connection.as_str(), read.source_id)))
            .set((
                source_user::digest.eq(read.digest),
                source_user::stated.eq(read.stated),
                source_user::version.eq(read.version),
                source_user::seen_run.eq(run),
            ))
            .execute(tx.conn())?;
        return Ok(false);
    }
    // A user here stands for one in the domain.
    diesel::delete(source_user::table.filter(source_user::user_id.eq(read.user_id)))
        .execute(tx.conn())?;
    diesel::delete(source_user::table.find((connection.as_str(), read.source_id)))
        .execute(tx.conn())?;
    diesel::insert_into(source_user::table)
        .values((
            source_user::connection_id.eq(connection.as_str()),
            source_user::source_id.eq(read.source_id),
            source_user::user_id.eq(read.user_id),
            source_user::digest.eq(read.digest),
            source_user::stated.eq(read.stated),
            source_user::version.eq(read.version),
            source_user::seen_run.eq(run),
        ))
        .execute(tx.conn())?;
    diesel::update(pull::table.find(connection.as_str()))
        .set(pull::newest_user_run.eq(run))
        .execute(tx.conn())?;
    Ok(true)
}

/// Says that a pull made this user, not a push.
pub fn set_pulled(tx: &mut Tx<'_>, user: &str, granted: bool) -> Result<(), Error> {
    diesel::update(scim_user::table.find(user))
        .set((scim_user::pushed.eq(false), scim_user::granted.eq(granted)))
        .execute(tx.conn())?;
    Ok(())
}

/// Says whether the application is granted to a user.
pub fn set_granted(tx: &mut Tx<'_>, user: &str, granted: bool) -> Result<(), Error> {
    diesel::update(scim_user::table.find(user))
        .set(scim_user::granted.eq(granted))
        .execute(tx.conn())?;
    Ok(())
}

/// Notes on a tombstone that a push took the user away, if the connection is read too.
pub fn revoke(tx: &mut Tx<'_>, connection: &ConnectionId, user: &str) -> Result<(), Error> {
    const SQL: &str = "UPDATE scim_user SET revoked = TRUE WHERE id = $1 \
        AND EXISTS (SELECT 1 FROM pull p WHERE p.connection_id = $2)";
    on_each!(tx.conn(), |c| diesel::sql_query(SQL)
        .bind::<Text, _>(user)
        .bind::<Text, _>(connection.as_str())
        .execute(c))?;
    Ok(())
}

/// Lets tombstones with this name go: a push brought the user back, or the domain has it no more.
pub fn clear_revoked(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    name_ci: &str,
) -> Result<(), Error> {
    diesel::update(
        scim_user::table
            .filter(scim_user::connection_id.eq(connection.as_str()))
            .filter(scim_user::user_name_ci.eq(name_ci))
            .filter(scim_user::deleted_at.is_not_null())
            .filter(scim_user::revoked.eq(true)),
    )
    .set(scim_user::revoked.eq(false))
    .execute(tx.conn())?;
    Ok(())
}

/// Forgets a user of the domain.
pub fn forget_user(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    source_id: &str,
) -> Result<(), Error> {
    diesel::delete(source_user::table.find((connection.as_str(), source_id))).execute(tx.conn())?;
    Ok(())
}

/// Notes in `$table` that a run saw these as they are known.
macro_rules! see {
    ($table:ident, $tx:ident, $connection:ident, $source_ids:ident, $run:ident) => {{
        for some in $source_ids.chunks(CHUNK) {
            diesel::update(
                $table::table
                    .filter($table::connection_id.eq($connection.as_str()))
                    .filter($table::source_id.eq_any(some)),
            )
            .set($table::seen_run.eq($run))
            .execute($tx.conn())?;
        }
        Ok(())
    }};
}

/// Notes that a run saw these users as they are known.
pub fn see_users(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    source_ids: &[String],
    run: i64,
) -> Result<(), Error> {
    see!(source_user, tx, connection, source_ids, run)
}

/// How many users or groups are known, and how many of them a run saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// Known, tombstones left out.
    pub known: i64,
    /// Seen by the run.
    pub seen: i64,
}

/// Of users.
pub fn users_covered(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    run: i64,
) -> Result<Coverage, Error> {
    let mine =
        || source_user::table.filter(source_user::connection_id.eq(connection.as_str().to_owned()));
    // From the few that are gone, not through the documents of everybody: without the second column SQLite takes
    // another index than theirs.
    let gone = || {
        scim_user::table
            .inner_join(source_user::table)
            .filter(scim_user::connection_id.eq(connection.as_str().to_owned()))
            .filter(scim_user::id.gt(""))
            .filter(scim_user::deleted_at.is_not_null())
    };
    let seen = source_user::seen_run.eq(run);
    let known: i64 = mine().count().get_result(conn)?;
    let known_gone: i64 = gone().count().get_result(conn)?;
    let all_seen: i64 = mine().filter(seen).count().get_result(conn)?;
    let gone_seen: i64 = gone().filter(seen).count().get_result(conn)?;
    Ok(Coverage {
        known: known - known_gone,
        seen: all_seen - gone_seen,
    })
}

/// Of groups.
pub fn groups_covered(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    run: i64,
) -> Result<Coverage, Error> {
    let mine = || {
        source_group::table.filter(source_group::connection_id.eq(connection.as_str().to_owned()))
    };
    Ok(Coverage {
        known: mine().count().get_result(conn)?,
        seen: mine()
            .filter(source_group::seen_run.eq(run))
            .count()
            .get_result(conn)?,
    })
}

/// Users whom a run did not see, tombstones included, in the order of their ids in the domain.
pub fn users_unseen(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    run: i64,
    limit: i64,
) -> Result<Vec<String>, Error> {
    Ok(source_user::table
        .filter(source_user::connection_id.eq(connection.as_str()))
        .filter(source_user::seen_run.ne(run))
        .order(source_user::source_id)
        .limit(limit)
        .select(source_user::source_id)
        .load(conn)?)
}

/// A group of the domain that the mirror has.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct KnownGroup {
    /// Its id in the domain.
    pub source_id: String,
    /// The group here.
    pub group_id: String,
    /// `meta.lastModified` as it was read last.
    pub modified: String,
    /// Over its members as they were read last; empty if they have to be read again.
    pub digest: String,
    /// The version that `digest` stands for.
    pub digest_version: i64,
    /// Members that the mirror did not have then.
    pub unresolved: i64,
    /// The run that read them.
    pub digest_run: i64,
    /// The present version.
    pub version: i64,
    /// When it changed last.
    pub modified_at: Micros,
}

/// Those of these groups of the domain that are known.
pub fn groups(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    source_ids: &[String],
) -> Result<Vec<KnownGroup>, Error> {
    let mut found = Vec::with_capacity(source_ids.len());
    for some in source_ids.chunks(CHUNK) {
        let rows = source_group::table
            .inner_join(scim_group::table)
            .filter(source_group::connection_id.eq(connection.as_str()))
            .filter(source_group::source_id.eq_any(some))
            .select((
                source_group::source_id,
                source_group::group_id,
                source_group::modified,
                source_group::digest,
                source_group::version,
                source_group::unresolved,
                source_group::digest_run,
                scim_group::version,
                scim_group::modified_at,
            ));
        found.extend(rows.load::<KnownGroup>(conn)?);
    }
    Ok(found)
}

/// The group here of this folded name, with the group of the domain that it stands for, if it does.
pub fn group_named(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    name_ci: &str,
) -> Result<Option<(String, Option<String>)>, Error> {
    let id: Option<String> = scim_group::table
        .filter(scim_group::connection_id.eq(connection.as_str()))
        .filter(scim_group::display_name_ci.eq(name_ci))
        .select(scim_group::id)
        .first(conn)
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    let source = source_group::table
        .filter(source_group::group_id.eq(&id))
        .select(source_group::source_id)
        .first(conn)
        .optional()?;
    Ok(Some((id, source)))
}

/// Remembers which group is which, and that a run saw it.
pub fn remember_group(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    source_id: &str,
    group_id: &str,
    modified: &str,
    run: i64,
) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(source_group::table)
        .values((
            source_group::connection_id.eq(connection.as_str()),
            source_group::source_id.eq(source_id),
            source_group::group_id.eq(group_id),
            source_group::modified.eq(modified),
            source_group::digest.eq(""),
            source_group::version.eq(0),
            source_group::unresolved.eq(0),
            source_group::digest_run.eq(0),
            source_group::seen_run.eq(run),
        ))
        .on_conflict((source_group::connection_id, source_group::source_id))
        .do_update()
        .set((
            source_group::group_id.eq(group_id),
            source_group::modified.eq(modified),
            source_group::seen_run.eq(run),
        ))
        .execute(c))?;
    Ok(())
}

/// Notes that a run saw these groups as they are known.
pub fn see_groups(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    source_ids: &[String],
    run: i64,
) -> Result<(), Error> {
    see!(source_group, tx, connection, source_ids, run)
}

/// Remembers that the members of a group are what the domain lists.
pub fn remember_members(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    source_id: &str,
    digest: &str,
    unresolved: i64,
    run: i64,
) -> Result<(), Error> {
    const SQL: &str = "UPDATE source_group SET digest = $1, unresolved = $2, digest_run = $3, \
        version = (SELECT g.version FROM scim_group g WHERE g.id = source_group.group_id) \
        WHERE connection_id = $4 AND source_id = $5";
    on_each!(tx.conn(), |c| diesel::sql_query(SQL)
        .bind::<Text, _>(digest)
        .bind::<BigInt, _>(unresolved)
        .bind::<BigInt, _>(run)
        .bind::<Text, _>(connection.as_str())
        .bind::<Text, _>(source_id)
        .execute(c))?;
    Ok(())
}

/// Groups that a run did not see, of those after `after`, in the order of their ids in the domain.
pub fn groups_unseen(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    run: i64,
    limit: i64,
) -> Result<Vec<(String, String)>, Error> {
    Ok(source_group::table
        .filter(source_group::connection_id.eq(connection.as_str()))
        .filter(source_group::seen_run.ne(run))
        .order(source_group::source_id)
        .limit(limit)
        .select((source_group::source_id, source_group::group_id))
        .load(conn)?)
}

/// The next groups in the order of their ids in the domain, of those that a run saw.
pub fn groups_after(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    run: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<KnownGroup>, Error> {
    let ids: Vec<String> = source_group::table
        .filter(source_group::connection_id.eq(connection.as_str()))
        .filter(source_group::seen_run.eq(run))
        .filter(source_group::source_id.gt(after))
        .order(source_group::source_id)
        .limit(limit)
        .select(source_group::source_id)
        .load(conn)?;
    let mut rows = groups(conn, connection, &ids)?;
    rows.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    Ok(rows)
}

/// Notes that a run saw these members (ids here) in a group.
pub fn see_members(
    tx: &mut Tx<'_>,
    group: &str,
    members: &[String],
    run: i64,
) -> Result<(), Error> {
    for some in members.chunks(CHUNK) {
        diesel::update(
            membership::table
                .filter(membership::group_id.eq(group))
                .filter(membership::member_id.eq_any(some)),
        )
        .set(membership::seen_run.eq(run))
        .execute(tx.conn())?;
    }
    Ok(())
}

/// Users (ids in the domain) that are members of a group here and that a run did not see in it.
pub fn members_unseen(
    conn: &mut AnyConn,
    group: &str,
    run: i64,
    limit: i64,
) -> Result<Vec<String>, Error> {
    const SQL: &str = "SELECT s.source_id AS id FROM membership m JOIN source_user s ON s.user_id = m.member_id \
        WHERE m.group_id = $1 AND m.member_type = 'User' AND m.seen_run <> $2 ORDER BY s.source_id LIMIT $3";
    let rows: Vec<Id> = on_each!(conn, |c| diesel::sql_query(SQL)
        .bind::<Text, _>(group)
        .bind::<BigInt, _>(run)
        .bind::<BigInt, _>(limit)
        .load(c))?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Groups (ids here) nested in a group that a run did not see in it.
pub fn nested_unseen(conn: &mut AnyConn, group: &str, run: i64) -> Result<Vec<String>, Error> {
    Ok(membership::table
        .filter(membership::group_id.eq(group))
        .filter(membership::member_type.eq("Group"))
        .filter(membership::seen_run.ne(run))
        .order(membership::member_id)
        .limit(1000)
        .select(membership::member_id)
        .load(conn)?)
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// The groups of the domain that a user here is a direct member of, with their versions.
pub fn groups_of(conn: &mut AnyConn, user: &str) -> Result<Vec<KnownGroup>, Error> {
    Ok(membership::table
        .inner_join(scim_group::table)
        .inner_join(source_group::table.on(source_group::group_id.eq(membership::group_id)))
        .filter(membership::member_id.eq(user))
        .filter(membership::member_type.eq("User"))
        .order(source_group::source_id)
        .select((
            source_group::source_id,
            source_group::group_id,
            source_group::modified,
            source_group::digest,
            source_group::version,
            source_group::unresolved,
            source_group::digest_run,
            scim_group::version,
            scim_group::modified_at,
        ))
        .load(conn)?)
}

/// Notes whom a run saw the application granted to.
pub fn see_grants(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    grantees: &[String],
    run: i64,
) -> Result<(), Error> {
    for grantee in grantees {
        on_each!(tx.conn(), |c| diesel::insert_into(source_grant::table)
            .values((
                source_grant::connection_id.eq(connection.as_str()),
                source_grant::grantee.eq(grantee),
                source_grant::seen_run.eq(run),
            ))
            .on_conflict((source_grant::connection_id, source_grant::grantee))
            .do_update()
            .set(source_grant::seen_run.eq(run))
            .execute(c))?;
    }
    Ok(())
}

/// Groups that were granted the application and that a run did not see so.
pub fn group_grants_unseen(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    run: i64,
) -> Result<Vec<String>, Error> {
    const SQL: &str = "SELECT g.grantee AS id FROM source_grant g \
        JOIN source_group s ON s.connection_id = g.connection_id AND s.source_id = g.grantee \
        WHERE g.connection_id = $1 AND g.seen_run <> $2 ORDER BY g.grantee";
    let rows: Vec<Id> = on_each!(conn, |c| diesel::sql_query(SQL)
        .bind::<Text, _>(connection.as_str())
        .bind::<BigInt, _>(run)
        .load(c))?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Forgets the grants that a complete reading did not see.
pub fn drop_grants(tx: &mut Tx<'_>, connection: &ConnectionId, run: i64) -> Result<(), Error> {
    diesel::delete(
        source_grant::table
            .filter(source_grant::connection_id.eq(connection.as_str()))
            .filter(source_grant::seen_run.ne(run)),
    )
    .execute(tx.conn())?;
    Ok(())
}

/// How many grants are known, and how many of them a run saw.
pub fn grants_covered(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    run: i64,
) -> Result<Coverage, Error> {
    let mine = || {
        source_grant::table.filter(source_grant::connection_id.eq(connection.as_str().to_owned()))
    };
    Ok(Coverage {
        known: mine().count().get_result(conn)?,
        seen: mine()
            .filter(source_grant::seen_run.eq(run))
            .count()
            .get_result(conn)?,
    })
}

/// Whether a user or group of the domain is granted the application itself.
pub fn is_grantee(conn: &mut AnyConn, connection: &ConnectionId, id: &str) -> Result<bool, Error> {
    let found: i64 = source_grant::table
        .filter(source_grant::connection_id.eq(connection.as_str()))
        .filter(source_grant::grantee.eq(id))
        .count()
        .get_result(conn)?;
    Ok(found > 0)
}

/// Somebody whose `granted` is not what grants and memberships say.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct GrantChange {
    /// The user here.
    #[diesel(sql_type = Text)]
    pub user_id: String,
    /// The same in the domain.
    #[diesel(sql_type = Text)]
    pub source_id: String,
    /// User name.
    #[diesel(sql_type = Text)]
    pub user_name: String,
    /// What it should be.
    #[diesel(sql_type = Bool)]
    pub granted: bool,
    /// Whether a push made the user.
    #[diesel(sql_type = Bool)]
    pub pushed: bool,
}

/// The next users whose `granted` has to change, in the order of ids, after `after`.
pub fn grant_changes(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    after: &str,
    limit: i64,
) -> Result<Vec<GrantChange>, Error> {
    const SQL: &str = "\
        WITH RECURSIVE below (id) AS (\
            SELECT m.member_id FROM source_grant g \
            JOIN source_group sg ON sg.connection_id = g.connection_id AND sg.source_id = g.grantee \
            JOIN membership m ON m.group_id = sg.group_id WHERE g.connection_id = $1 \
            UNION \
            SELECT m.member_id FROM membership m JOIN below b ON m.group_id = b.id WHERE m.member_type = 'Group'\
        ), wanted (user_id, source_id, user_name, granted, pushed, is_granted) AS (\
            SELECT u.id, s.source_id, u.user_name, u.granted, u.pushed, \
                (EXISTS (SELECT 1 FROM source_grant g WHERE g.connection_id = $1 AND g.grantee = s.source_id) \
                 OR u.id IN (SELECT id FROM below)) \
            FROM source_user s JOIN scim_user u ON u.id = s.user_id \
            WHERE s.connection_id = $1 AND u.deleted_at IS NULL AND u.id > $2\
        ) \
        SELECT user_id, source_id, user_name, is_granted AS granted, pushed FROM wanted \
        WHERE granted <> is_granted ORDER BY user_id LIMIT $3";
    Ok(on_each!(conn, |c| diesel::sql_query(SQL)
        .bind::<Text, _>(connection.as_str())
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(limit)
        .load(c))?)
}

/// Living users of a connection that are noted as not granted, at most `limit`, each to be granted again.
pub fn not_granted(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    limit: i64,
) -> Result<Vec<GrantChange>, Error> {
    let rows: Vec<(String, String, bool)> = scim_user::table
        .filter(scim_user::connection_id.eq(connection.as_str()))
        // As the index has it, which is of these few only.
        .filter(diesel::dsl::not(scim_user::granted))
        .filter(scim_user::deleted_at.is_null())
        .order(scim_user::id)
        .limit(limit)
        .select((scim_user::id, scim_user::user_name, scim_user::pushed))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(user_id, user_name, pushed)| GrantChange {
            user_id,
            source_id: String::new(),
            user_name,
            granted: true,
            pushed,
        })
        .collect())
}

/// Whether a push made this user.
pub fn is_pushed(conn: &mut AnyConn, user: &UserId) -> Result<bool, Error> {
    let pushed = scim_user::table
        .find(user.as_str())
        .select(scim_user::pushed)
        .first(conn)
        .optional()?;
    Ok(pushed.unwrap_or(false))
}

/// Whether a push ever made a user of this connection who is still here.
pub fn is_pushed_to(conn: &mut AnyConn, connection: &ConnectionId) -> Result<bool, Error> {
    let one: Option<String> = scim_user::table
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(scim_user::pushed.eq(true))
        .filter(scim_user::deleted_at.is_null())
        .select(scim_user::id)
        .first(conn)
        .optional()?;
    Ok(one.is_some())
}
