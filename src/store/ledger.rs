//! The ledger: what each target has for each user, and whose every part of it is.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::{
    account, given_group, group_alias, scim_user, target_group, target_membership,
};
use super::users::CHUNK;
use crate::clock::Micros;
use crate::domain::{Account, ConnectionId, Owner, Standing, TargetId, UserId, new_id};
use crate::scim::fold::fold_text;

/// A membership at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Name of the group, as the target writes it.
    pub group: String,
    /// Whose it is.
    pub owner: Owner,
}

type Row = (
    String,
    String,
    String,
    Option<String>,
    String,
    String,
    String,
    bool,
    String,
    String,
    bool,
    Option<String>,
);
type Columns = (
    account::id,
    account::target_id,
    account::user_id,
    account::remote_id,
    account::username,
    account::display_name,
    account::email,
    account::active,
    account::owner,
    account::standing,
    account::in_flight,
    account::taken,
);
const COLUMNS: Columns = (
    account::id,
    account::target_id,
    account::user_id,
    account::remote_id,
    account::username,
    account::display_name,
    account::email,
    account::active,
    account::owner,
    account::standing,
    account::in_flight,
    account::taken,
);

fn read(row: Row) -> Result<Account, Error> {
    let (
        id,
        target_id,
        user_id,
        remote_id,
        username,
        display_name,
        email,
        active,
        owner,
        standing,
        in_flight,
        taken,
    ) = row;
    let taken = match taken.as_deref().map(serde_json::from_str) {
        None => None,
        Some(Ok(taken)) => Some(taken),
        Some(Err(error)) => {
            return Err(Error::Corrupt(format!(
                "what was taken from account {id}: {error}"
            )));
        }
    };
    Ok(Account {
        owner: owner_of(&owner)?,
        standing: match standing.as_str() {
            "expected" => Standing::Expected,
            "present" => Standing::Present,
            "absent" => Standing::Absent,
            other => {
                return Err(Error::Corrupt(format!(
                    "standing {other:?} of account {id}"
                )));
            }
        },
        id,
        target_id: TargetId(target_id),
        user_id: UserId(user_id),
        remote_id,
        username,
        display_name,
        email,
        active,
        in_flight,
        taken,
    })
}

fn owner_of(text: &str) -> Result<Owner, Error> {
    match text {
        "created" => Ok(Owner::Created),
        "adopted" => Ok(Owner::Adopted),
        "foreign" => Ok(Owner::Foreign),
        other => Err(Error::Corrupt(format!("owner {other:?}"))),
    }
}

fn standing_text(standing: Standing) -> &'static str {
    match standing {
        Standing::Expected => "expected",
        Standing::Present => "present",
        Standing::Absent => "absent",
    }
}

/// The account of a user at a target.
pub fn account(
    conn: &mut AnyConn,
    target: &TargetId,
    user: &UserId,
) -> Result<Option<Account>, Error> {
    account::table
        .filter(account::target_id.eq(target.as_str()))
        .filter(account::user_id.eq(user.as_str()))
        .select(COLUMNS)
        .first::<Row>(conn)
        .optional()?
        .map(read)
        .transpose()
}

/// All accounts of a user.
pub fn accounts_of(conn: &mut AnyConn, user: &UserId) -> Result<Vec<Account>, Error> {
    account::table
        .filter(account::user_id.eq(user.as_str()))
        .order(account::target_id)
        .select(COLUMNS)
        .load::<Row>(conn)?
        .into_iter()
        .map(read)
        .collect()
}

/// The ledger's account for something found at the target, and whether its user is a tombstone.
pub fn by_remote(
    conn: &mut AnyConn,
    target: &TargetId,
    remote_id: &str,
) -> Result<Option<(Account, bool)>, Error> {
    let row: Option<(Row, Option<i64>)> = account::table
        .inner_join(scim_user::table)
        .filter(account::target_id.eq(target.as_str()))
        .filter(account::remote_id.eq(remote_id))
        .select((COLUMNS, scim_user::deleted_at))
        .first(conn)
        .optional()?;
    row.map(|(row, deleted)| Ok((read(row)?, deleted.is_some())))
        .transpose()
}

/// Writes an account down, new or changed.
pub fn put_account(tx: &mut Tx<'_>, row: &Account, now: Micros) -> Result<(), Error> {
    // Names and words: nothing in it cannot be written.
    let taken = row
        .taken
        .as_ref()
        .map(|taken| serde_json::json!(taken).to_string());
    on_each!(tx.conn(), |c| diesel::insert_into(account::table)
        .values((
            account::id.eq(&row.id),
            account::target_id.eq(row.target_id.as_str()),
            account::user_id.eq(row.user_id.as_str()),
            account::remote_id.eq(row.remote_id.as_deref()),
            account::username.eq(&row.username),
            account::username_ci.eq(fold_text(&row.username)),
            account::display_name.eq(&row.display_name),
            account::email.eq(&row.email),
            account::active.eq(row.active),
            account::owner.eq(row.owner.as_str()),
            account::standing.eq(standing_text(row.standing)),
            account::in_flight.eq(row.in_flight),
            account::updated_at.eq(now),
            account::taken.eq(taken.as_deref()),
        ))
        .on_conflict(account::id)
        .do_update()
        .set((
            account::remote_id.eq(row.remote_id.as_deref()),
            account::username.eq(&row.username),
            account::username_ci.eq(fold_text(&row.username)),
            account::display_name.eq(&row.display_name),
            account::email.eq(&row.email),
            account::active.eq(row.active),
            account::owner.eq(row.owner.as_str()),
            account::standing.eq(standing_text(row.standing)),
            account::in_flight.eq(row.in_flight),
            account::updated_at.eq(now),
            account::taken.eq(taken.as_deref()),
        ))
        .execute(c))?;
    Ok(())
}

/// Since when an account is in flight: what was begun and never recorded was begun by then. `None`: it is not.
pub fn in_flight_since(conn: &mut AnyConn, id: &str) -> Result<Option<Micros>, Error> {
    Ok(account::table
        .find(id)
        .filter(account::in_flight.eq(true))
        .select(account::updated_at)
        .first(conn)
        .optional()?)
}

/// Since when the person of an account is not wanted at its target. `None`: the person is wanted.
pub fn unwanted_since(conn: &mut AnyConn, id: &str) -> Result<Option<Micros>, Error> {
    let since: Option<Option<i64>> = account::table
        .find(id)
        .select(account::unwanted_since)
        .first(conn)
        .optional()?;
    Ok(since.flatten())
}

/// Writes down since when the person of an account is not wanted.
pub fn set_unwanted_since(tx: &mut Tx<'_>, id: &str, since: Option<Micros>) -> Result<(), Error> {
    diesel::update(account::table.find(id))
        .set(account::unwanted_since.eq(since))
        .execute(tx.conn())?;
    Ok(())
}

/// The default groups that an account was given when it was made.
pub fn given_groups(conn: &mut AnyConn, account_id: &str) -> Result<Vec<String>, Error> {
    Ok(given_group::table
        .filter(given_group::account_id.eq(account_id))
        .order(given_group::group_ci)
        .select(given_group::group_name)
        .load(conn)?)
}

/// Writes down that a new account is given a default group.
pub fn give_group(tx: &mut Tx<'_>, account_id: &str, group: &str) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(given_group::table)
        .values((
            given_group::account_id.eq(account_id),
            given_group::group_ci.eq(fold_text(group)),
            given_group::group_name.eq(group),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(())
}

/// The accounts of other users than `except` that were about to be made under this name, and whether their users are
/// tombstones. Whether they were made is unknown, so what is found there may be one of them.
pub fn expected_by_others(
    conn: &mut AnyConn,
    target: &TargetId,
    username: &str,
    except: &UserId,
) -> Result<Vec<(Account, bool)>, Error> {
    let rows: Vec<(Row, Option<i64>)> = account::table
        .inner_join(scim_user::table)
        .filter(account::target_id.eq(target.as_str()))
        .filter(account::username_ci.eq(fold_text(username)))
        .filter(account::standing.eq(standing_text(Standing::Expected)))
        .filter(account::user_id.ne(except.as_str()))
        .select((COLUMNS, scim_user::deleted_at))
        .order(account::id)
        .load(conn)?;
    rows.into_iter()
        .map(|(row, deleted)| Ok((read(row)?, deleted.is_some())))
        .collect()
}

/// Another user than `except` whose account has this name, as far as is known.
pub fn holder_of_name(
    conn: &mut AnyConn,
    target: &TargetId,
    username: &str,
    except: &UserId,
) -> Result<Option<UserId>, Error> {
    let id: Option<String> = account::table
        .filter(account::target_id.eq(target.as_str()))
        .filter(account::username_ci.eq(fold_text(username)))
        .filter(account::standing.ne(standing_text(Standing::Absent)))
        .filter(account::user_id.ne(except.as_str()))
        .select(account::user_id)
        .first(conn)
        .optional()?;
    Ok(id.map(UserId))
}

/// Takes back what is believed about an account: something was done to it that nobody could record, so the
/// target is read before the row is trusted again.
pub fn doubt(tx: &mut Tx<'_>, target: &TargetId, user: &UserId, now: Micros) -> Result<(), Error> {
    diesel::update(
        account::table
            .filter(account::target_id.eq(target.as_str()))
            .filter(account::user_id.eq(user.as_str())),
    )
    .set((account::in_flight.eq(true), account::updated_at.eq(now)))
    .execute(tx.conn())?;
    Ok(())
}

/// Has an account read at its target before the row is trusted again: somebody else may have changed it. When it was
/// written last stays, as nothing of Usher's is under way.
pub fn look_again(tx: &mut Tx<'_>, target: &TargetId, user: &UserId) -> Result<(), Error> {
    diesel::update(
        account::table
            .filter(account::target_id.eq(target.as_str()))
            .filter(account::user_id.eq(user.as_str())),
    )
    .set(account::in_flight.eq(true))
    .execute(tx.conn())?;
    Ok(())
}

/// Accounts of a connection's people that are there and settled, in the order of their ids, after `after`.
pub fn settled(
    conn: &mut AnyConn,
    target: &TargetId,
    connection: &ConnectionId,
    after: &str,
    limit: i64,
) -> Result<Vec<Account>, Error> {
    account::table
        .inner_join(scim_user::table)
        .filter(account::target_id.eq(target.as_str()))
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(account::standing.eq(standing_text(Standing::Present)))
        .filter(account::in_flight.eq(false))
        .filter(account::id.gt(after))
        .order(account::id)
        .limit(limit)
        .select(COLUMNS)
        .load::<Row>(conn)?
        .into_iter()
        .map(read)
        .collect()
}

/// The same, of those with these keys.
pub fn settled_by_remote(
    conn: &mut AnyConn,
    target: &TargetId,
    connection: &ConnectionId,
    remote_ids: &[String],
) -> Result<Vec<Account>, Error> {
    let mut found = Vec::new();
    for some in remote_ids.chunks(CHUNK) {
        let rows = account::table
            .inner_join(scim_user::table)
            .filter(account::target_id.eq(target.as_str()))
            .filter(account::remote_id.eq_any(some))
            .filter(scim_user::connection_id.eq(connection.as_str()))
            .filter(account::standing.eq(standing_text(Standing::Present)))
            .filter(account::in_flight.eq(false))
            .select(COLUMNS)
            .load::<Row>(conn)?;
        for row in rows {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

/// The groups at a target that Usher keeps people of a connection in, in the order of folded names, after `after`:
/// folded name and name.
pub fn groups_kept(
    conn: &mut AnyConn,
    target: &TargetId,
    connection: &ConnectionId,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, String)>, Error> {
    Ok(target_membership::table
        .inner_join(account::table.inner_join(scim_user::table))
        .filter(account::target_id.eq(target.as_str()))
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(account::standing.eq(standing_text(Standing::Present)))
        .filter(target_membership::owner.ne(Owner::Foreign.as_str()))
        .filter(target_membership::group_ci.gt(after))
        .group_by(target_membership::group_ci)
        .order(target_membership::group_ci)
        .limit(limit)
        .select((
            target_membership::group_ci,
            diesel::dsl::min(target_membership::group_name).assume_not_null(),
        ))
        .load(conn)?)
}

/// Somebody whom Usher keeps in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The account.
    pub account_id: String,
    /// The person.
    pub user_id: UserId,
    /// The product's own stable key.
    pub remote_id: Option<String>,
    /// User name at the target.
    pub username: String,
}

/// People of a connection whom Usher keeps in a group, in the order of their accounts, after `after`.
pub fn kept_in(
    conn: &mut AnyConn,
    target: &TargetId,
    connection: &ConnectionId,
    group_ci: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Kept>, Error> {
    let rows: Vec<(String, String, Option<String>, String)> = target_membership::table
        .inner_join(account::table.inner_join(scim_user::table))
        .filter(account::target_id.eq(target.as_str()))
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .filter(account::standing.eq(standing_text(Standing::Present)))
        .filter(account::in_flight.eq(false))
        .filter(target_membership::group_ci.eq(group_ci))
        .filter(target_membership::owner.ne(Owner::Foreign.as_str()))
        .filter(account::id.gt(after))
        .order(account::id)
        .limit(limit)
        .select((
            account::id,
            account::user_id,
            account::remote_id,
            account::username,
        ))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(account_id, user, remote_id, username)| Kept {
            account_id,
            user_id: UserId(user),
            remote_id,
            username,
        })
        .collect())
}

/// Marks an account as being worked on. False: it is not this user's any more.
pub fn set_in_flight(tx: &mut Tx<'_>, id: &str, user: &UserId) -> Result<bool, Error> {
    Ok(diesel::update(
        account::table
            .filter(account::id.eq(id))
            .filter(account::user_id.eq(user.as_str())),
    )
    .set(account::in_flight.eq(true))
    .execute(tx.conn())?
        > 0)
}

/// Gives the account of a tombstone to the user who came back under another SCIM id; one in flight stays so.
/// The caller makes sure that no worker is at it (`work::lock_idle`). False: it has changed hands already, or
/// the user has an account.
pub fn hand_over(tx: &mut Tx<'_>, id: &str, from: &UserId, to: &UserId) -> Result<bool, Error> {
    let Some(target) = account::table
        .find(id)
        .filter(account::user_id.eq(from.as_str()))
        .select(account::target_id)
        .first::<String>(tx.conn())
        .optional()?
    else {
        return Ok(false);
    };
    // A user has one row for each target; one that never led to an account makes way.
    let own = account::table
        .filter(account::target_id.eq(&target))
        .filter(account::user_id.eq(to.as_str()));
    diesel::delete(own.filter(account::remote_id.is_null())).execute(tx.conn())?;
    if own.count().get_result::<i64>(tx.conn())? > 0 {
        return Ok(false);
    }
    Ok(diesel::update(
        account::table
            .filter(account::id.eq(id))
            .filter(account::user_id.eq(from.as_str())),
    )
    .set(account::user_id.eq(to.as_str()))
    .execute(tx.conn())?
        > 0)
}

/// Forgets an account and its memberships.
pub fn remove_account(tx: &mut Tx<'_>, id: &str) -> Result<(), Error> {
    diesel::delete(account::table.find(id)).execute(tx.conn())?;
    Ok(())
}

/// A ledger row for an account that is not known yet.
pub fn new_account(target: &TargetId, user: &UserId, username: &str) -> Account {
    Account {
        id: new_id(),
        target_id: target.clone(),
        user_id: user.clone(),
        remote_id: None,
        username: username.to_owned(),
        display_name: String::new(),
        email: String::new(),
        active: false,
        owner: Owner::Created,
        standing: Standing::Expected,
        in_flight: true,
        taken: None,
    }
}

/// The memberships of an account.
pub fn memberships(conn: &mut AnyConn, account_id: &str) -> Result<Vec<Membership>, Error> {
    target_membership::table
        .filter(target_membership::account_id.eq(account_id))
        .order(target_membership::group_ci)
        .select((target_membership::group_name, target_membership::owner))
        .load::<(String, String)>(conn)?
        .into_iter()
        .map(|(group, owner)| {
            Ok(Membership {
                group,
                owner: owner_of(&owner)?,
            })
        })
        .collect()
}

/// Writes a membership down.
pub fn put_membership(
    tx: &mut Tx<'_>,
    account_id: &str,
    group: &str,
    owner: Owner,
) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(target_membership::table)
        .values((
            target_membership::account_id.eq(account_id),
            target_membership::group_ci.eq(fold_text(group)),
            target_membership::group_name.eq(group),
            target_membership::owner.eq(owner.as_str()),
        ))
        .on_conflict((target_membership::account_id, target_membership::group_ci))
        .do_update()
        .set((
            target_membership::group_name.eq(group),
            target_membership::owner.eq(owner.as_str()),
        ))
        .execute(c))?;
    Ok(())
}

/// Writes down that somebody was seen in a group who was not put there by Usher. What is known already stays.
pub fn put_foreign_membership(tx: &mut Tx<'_>, account_id: &str, group: &str) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(target_membership::table)
        .values((
            target_membership::account_id.eq(account_id),
            target_membership::group_ci.eq(fold_text(group)),
            target_membership::group_name.eq(group),
            target_membership::owner.eq(Owner::Foreign.as_str()),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(())
}

/// How many members of a target group are Usher's according to the ledger.
pub fn count_members(conn: &mut AnyConn, target: &TargetId, group: &str) -> Result<i64, Error> {
    Ok(target_membership::table
        .inner_join(account::table)
        .filter(account::target_id.eq(target.as_str()))
        .filter(account::standing.eq(standing_text(Standing::Present)))
        .filter(target_membership::group_ci.eq(fold_text(group)))
        .filter(target_membership::owner.ne(Owner::Foreign.as_str()))
        .count()
        .get_result(conn)?)
}

/// Whose account somebody in a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The account.
    pub account_id: String,
    /// The person.
    pub user_id: UserId,
    /// What is believed about the account.
    pub standing: Standing,
    /// Whose the membership is, if the ledger knows it.
    pub owner: Option<Owner>,
}

/// The ledger's account for a member of a group: by its key, or by its name where a listing does not tell keys
/// or the account was about to be made.
pub fn seat(
    conn: &mut AnyConn,
    target: &TargetId,
    group: &str,
    remote_id: &str,
    username: &str,
) -> Result<Option<Seat>, Error> {
    let of_target = || account::table.filter(account::target_id.eq(target.as_str()));
    let by_key: Option<Row> = of_target()
        .filter(account::remote_id.eq(remote_id))
        .select(COLUMNS)
        .first(conn)
        .optional()?;
    let row = match by_key {
        Some(row) => Some(row),
        None if username.is_empty() => None,
        None => of_target()
            .filter(account::username_ci.eq(fold_text(username)))
            .filter(account::standing.ne(standing_text(Standing::Absent)))
            .select(COLUMNS)
            .first(conn)
            .optional()?,
    };
    let Some(account) = row.map(read).transpose()? else {
        return Ok(None);
    };
    let owner: Option<String> = target_membership::table
        .find((&account.id, fold_text(group)))
        .select(target_membership::owner)
        .first(conn)
        .optional()?;
    Ok(Some(Seat {
        account_id: account.id,
        user_id: account.user_id,
        standing: account.standing,
        owner: owner.as_deref().map(owner_of).transpose()?,
    }))
}

/// Groups that Usher made or took over and keeps nobody in any more: they stay, as groups are never deleted.
pub fn parked_groups(conn: &mut AnyConn, target: &TargetId) -> Result<Vec<String>, Error> {
    let ours = target_membership::table
        .inner_join(account::table)
        .filter(account::target_id.eq(target_group::target_id))
        .filter(target_membership::group_ci.eq(target_group::name_ci))
        .filter(target_membership::owner.ne(Owner::Foreign.as_str()));
    Ok(target_group::table
        .filter(target_group::target_id.eq(target.as_str()))
        .filter(target_group::owner.ne(Owner::Foreign.as_str()))
        .filter(diesel::dsl::not(diesel::dsl::exists(ours)))
        .order(target_group::name_ci)
        .select(target_group::name)
        .load(conn)?)
}

/// Strikes a membership out.
pub fn remove_membership(tx: &mut Tx<'_>, account_id: &str, group: &str) -> Result<(), Error> {
    diesel::delete(target_membership::table.find((account_id, fold_text(group))))
        .execute(tx.conn())?;
    Ok(())
}

/// Whose the target group of that name is, if it has been met.
pub fn group_owner(
    conn: &mut AnyConn,
    target: &TargetId,
    name: &str,
) -> Result<Option<Owner>, Error> {
    let owner: Option<String> = target_group::table
        .find((target.as_str(), fold_text(name)))
        .select(target_group::owner)
        .first(conn)
        .optional()?;
    owner.as_deref().map(owner_of).transpose()
}

/// Writes a target group down. A group that is known keeps its owner, except that only Usher itself can know
/// that it made one: of several workers that need a new group at once, those who come second find it there
/// and may be the first to write it down. A foreign one may be adopted later.
pub fn put_group(
    tx: &mut Tx<'_>,
    target: &TargetId,
    name: &str,
    owner: Owner,
) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(target_group::table)
        .values((
            target_group::target_id.eq(target.as_str()),
            target_group::name_ci.eq(fold_text(name)),
            target_group::name.eq(name),
            target_group::owner.eq(owner.as_str()),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    let weaker: &[Owner] = match owner {
        Owner::Created => &[Owner::Adopted, Owner::Foreign],
        Owner::Adopted => &[Owner::Foreign],
        Owner::Foreign => &[],
    };
    if !weaker.is_empty() {
        let weaker = weaker.iter().map(|owner| owner.as_str());
        diesel::update(
            target_group::table
                .find((target.as_str(), fold_text(name)))
                .filter(target_group::owner.eq_any(weaker)),
        )
        .set(target_group::owner.eq(owner.as_str()))
        .execute(tx.conn())?;
    }
    Ok(())
}

/// Strikes a target group out: it was found missing.
pub fn remove_group(tx: &mut Tx<'_>, target: &TargetId, name: &str) -> Result<(), Error> {
    diesel::delete(target_group::table.find((target.as_str(), fold_text(name))))
        .execute(tx.conn())?;
    Ok(())
}

/// Strikes out every membership in a group that the target does not have any more, but for one account's.
pub fn strike_memberships(
    tx: &mut Tx<'_>,
    target: &TargetId,
    group: &str,
    except: &UserId,
) -> Result<(), Error> {
    const SQL: &str = "\
        DELETE FROM target_membership WHERE group_ci = $1 \
        AND account_id IN (SELECT id FROM account WHERE target_id = $2 AND user_id <> $3)";
    on_each!(tx.conn(), |c| diesel::sql_query(SQL)
        .bind::<diesel::sql_types::Text, _>(fold_text(group))
        .bind::<diesel::sql_types::Text, _>(target.as_str())
        .bind::<diesel::sql_types::Text, _>(except.as_str())
        .execute(c))?;
    Ok(())
}

/// The names that the rules know these source groups by, of those that were used at the target.
pub fn aliases(
    conn: &mut AnyConn,
    target: &TargetId,
    source_groups: &[String],
) -> Result<Vec<(String, String)>, Error> {
    if source_groups.is_empty() {
        return Ok(Vec::new());
    }
    Ok(group_alias::table
        .filter(group_alias::target_id.eq(target.as_str()))
        .filter(group_alias::source_group_id.eq_any(source_groups))
        .select((group_alias::source_group_id, group_alias::name))
        .load(conn)?)
}

/// Binds a source group to the name under which it was first used at the target, for good.
pub fn put_alias(
    tx: &mut Tx<'_>,
    target: &TargetId,
    source_group: &str,
    name: &str,
) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(group_alias::table)
        .values((
            group_alias::target_id.eq(target.as_str()),
            group_alias::source_group_id.eq(source_group),
            group_alias::name.eq(name),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::DatabaseUrl;
    use crate::domain::{SecretRef, TargetAuth, TargetKind, TargetSettings};
    use crate::store::{Store, settings};

    #[tokio::test(flavor = "multi_thread")]
    async fn who_made_a_group_owns_it_whoever_writes_it_down_first() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("usher.db"));
        let store = Store::open(&url).unwrap();
        let jira = TargetSettings {
            name: "jira".to_owned(),
            kind: TargetKind::JiraDc,
            base_url: "http://127.0.0.1:1".to_owned(),
            auth: TargetAuth::Token(SecretRef::Env("NONE".to_owned())),
            token_expires: None,
            concurrency: 4,
            requests_per_second: None,
            timeout_s: 20,
        };
        let groups = store
            .write(move |tx| -> Result<Vec<(String, String)>, Error> {
                let (id, _) = settings::put_target(tx, &jira, 0)?;
                for (name, owner) in [
                    ("second first", Owner::Foreign),
                    ("second first", Owner::Created),
                    ("maker first", Owner::Created),
                    ("maker first", Owner::Foreign),
                    ("not ours", Owner::Foreign),
                    ("taken over", Owner::Foreign),
                    ("taken over", Owner::Adopted),
                    ("taken over", Owner::Foreign),
                ] {
                    put_group(tx, &id, name, owner)?;
                }
                let rows = target_group::table.order(target_group::name);
                let columns = (target_group::name, target_group::owner);
                Ok(rows.select(columns).load(tx.conn())?)
            })
            .await
            .unwrap();
        let created = Owner::Created.as_str().to_owned();
        let foreign = Owner::Foreign.as_str().to_owned();
        assert_eq!(
            groups,
            [
                ("maker first".to_owned(), created.clone()),
                ("not ours".to_owned(), foreign),
                ("second first".to_owned(), created),
                ("taken over".to_owned(), Owner::Adopted.as_str().to_owned()),
            ]
        );
    }
}
