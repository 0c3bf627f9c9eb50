//! Who may use the seat: administrators, their sessions, tokens of programs, failed sign-ins.
//!
//! No password and no token is here: `auth::seat` makes hashes and digests of them.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::{admin, api_token, lockout, session, setup_code};
use super::settings;
use crate::clock::Micros;
use crate::domain::{Connection, Role, new_id};
use crate::scim::fold::fold_text;

/// Somebody who may use the seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Identifier.
    pub id: String,
    /// Unique name, whatever its case.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may sign in with a password.
    pub has_password: bool,
    /// The domain that may sign them in, and who they are there.
    pub domain: Option<DomainLogin>,
    /// Kept, but may not sign in.
    pub disabled: bool,
    /// When they were made.
    pub created_at: Micros,
    /// When they signed in last.
    pub signed_in_at: Option<Micros>,
}

impl Admin {
    /// Whether the domain of that connection signs them in.
    pub fn is_of(&self, connection: &str) -> bool {
        let domain = self.domain.as_ref();
        domain.is_some_and(|domain| domain.connection == connection)
    }
}

/// Somebody to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAdmin {
    /// Unique name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Argon2id hash in PHC form.
    pub password: Option<String>,
    /// The domain that may sign them in, and who they are there.
    pub domain: Option<DomainLogin>,
}

/// Somebody in the domain that a connection reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainLogin {
    /// Name of the connection.
    pub connection: String,
    /// Login name there, whatever its case.
    pub login: String,
}

/// Why an administrator was not made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody else has it.
    #[error("there is an administrator of that name already")]
    NameTaken,
    /// Somebody else signs in with it.
    #[error("another administrator signs in with this login name already")]
    LoginTaken,
    /// Nobody can be signed in there.
    #[error(
        "there is no connection {0:?} whose domain Usher may ask: it needs a base_url and a client id"
    )]
    NoDomain(String),
    /// There is none.
    #[error("there is no such administrator")]
    Unknown,
    /// Nobody could administer any more.
    #[error("this is the last administrator who can sign in: make another one first")]
    Last,
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<diesel::result::Error> for Refused {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

type Row = (
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    bool,
    i64,
    Option<i64>,
);
type Columns = (
    admin::id,
    admin::name,
    admin::role,
    admin::password,
    admin::domain,
    admin::login,
    admin::disabled,
    admin::created_at,
    admin::signed_in_at,
);
const COLUMNS: Columns = (
    admin::id,
    admin::name,
    admin::role,
    admin::password,
    admin::domain,
    admin::login,
    admin::disabled,
    admin::created_at,
    admin::signed_in_at,
);

fn read(row: Row) -> Result<(Admin, Option<String>), Error> {
    let (id, name, role, password, connection, login, disabled, created_at, signed_in_at) = row;
    let admin = Admin {
        role: role_of(&role)?,
        has_password: password.is_some(),
        id,
        name,
        domain: connection
            .zip(login)
            .map(|(connection, login)| DomainLogin { connection, login }),
        disabled,
        created_at,
        signed_in_at,
    };
    Ok((admin, password))
}

fn role_of(text: &str) -> Result<Role, Error> {
    text.parse().map_err(Error::Corrupt)
}

/// Whether there is anybody at all.
pub fn any(conn: &mut AnyConn) -> Result<bool, Error> {
    Ok(admin::table.count().get_result::<i64>(conn)? > 0)
}

/// Everybody, by name.
pub fn list(conn: &mut AnyConn) -> Result<Vec<Admin>, Error> {
    admin::table
        .order(admin::name_ci)
        .select(COLUMNS)
        .load::<Row>(conn)?
        .into_iter()
        .map(|row| read(row).map(|(admin, _)| admin))
        .collect()
}

/// Somebody by name, with the hash of the password.
pub fn named(conn: &mut AnyConn, name: &str) -> Result<Option<(Admin, Option<String>)>, Error> {
    admin::table
        .filter(admin::name_ci.eq(fold_text(name)))
        .select(COLUMNS)
        .first::<Row>(conn)
        .optional()?
        .map(read)
        .transpose()
}

/// Somebody by who they are in a domain, with the id there that the first sign-in left.
pub fn in_domain(
    conn: &mut AnyConn,
    who: &DomainLogin,
) -> Result<Option<(Admin, Option<String>)>, Error> {
    let found: Option<(Row, Option<String>)> = admin::table
        .filter(admin::domain.eq(&who.connection))
        .filter(admin::login.eq(fold_text(&who.login)))
        .select((COLUMNS, admin::domain_id))
        .first(conn)
        .optional()?;
    found.map(|(row, id)| Ok((read(row)?.0, id))).transpose()
}

/// From now on the login name is good for this one of the domain alone: names are given again, ids are not.
pub fn bind(tx: &mut Tx<'_>, admin_id: &str, domain_id: &str) -> Result<(), Error> {
    diesel::update(admin::table.find(admin_id))
        .set(admin::domain_id.eq(domain_id))
        .execute(tx.conn())?;
    Ok(())
}

/// The connections whose domains sign somebody in, by name.
pub fn domains(conn: &mut AnyConn) -> Result<Vec<String>, Error> {
    let names: Vec<Option<String>> = admin::table
        .filter(admin::domain.is_not_null())
        .filter(admin::disabled.eq(false))
        .select(admin::domain)
        .distinct()
        .order(admin::domain)
        .load(conn)?;
    Ok(names.into_iter().flatten().collect())
}

/// Whether the domain can be asked, and nobody else signs in as this one there.
fn is_free(tx: &mut Tx<'_>, who: &DomainLogin, id: Option<&str>) -> Result<(), Refused> {
    let configuration = settings::load(tx.conn())?;
    let mut connections = configuration.connections.iter();
    let reads = |it: &Connection| it.settings.name == who.connection && it.settings.pull.is_some();
    if !connections.any(reads) {
        return Err(Refused::NoDomain(who.connection.clone()));
    }
    match in_domain(tx.conn(), who)? {
        Some((admin, _)) if Some(admin.id.as_str()) != id => Err(Refused::LoginTaken),
        _ => Ok(()),
    }
}

/// Makes somebody.
pub fn insert(tx: &mut Tx<'_>, new: &NewAdmin, now: Micros) -> Result<String, Refused> {
    if let Some(who) = &new.domain {
        is_free(tx, who, None)?;
    }
    let (domain, login) = columns_of(new.domain.as_ref());
    let id = new_id();
    let made = on_each!(tx.conn(), |c| diesel::insert_into(admin::table)
        .values((
            admin::id.eq(&id),
            admin::name.eq(&new.name),
            admin::name_ci.eq(fold_text(&new.name)),
            admin::role.eq(new.role.as_str()),
            admin::password.eq(new.password.as_deref()),
            admin::domain.eq(domain),
            admin::login.eq(login),
            admin::disabled.eq(false),
            admin::created_at.eq(now),
        ))
        .on_conflict(admin::name_ci)
        .do_nothing()
        .execute(c))?;
    if made == 0 {
        return Err(Refused::NameTaken);
    }
    Ok(id)
}

/// A change of somebody; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// What they may do.
    pub role: Option<Role>,
    /// Argon2id hash in PHC form. Ends all sessions.
    pub password: Option<String>,
    /// Whether they may sign in. `Some(true)` ends all sessions.
    pub disabled: Option<bool>,
    /// The domain that may sign them in, and who they are there; `Some(None)`: none. Ends all sessions.
    pub domain: Option<Option<DomainLogin>>,
}

/// Domain and login name as they are stored.
fn columns_of(who: Option<&DomainLogin>) -> (Option<&str>, Option<String>) {
    who.map(|who| (who.connection.as_str(), fold_text(&who.login)))
        .unzip()
}

/// Changes somebody, unless nobody could administer any more.
pub fn change(tx: &mut Tx<'_>, id: &str, change: &Change) -> Result<(), Refused> {
    lock(tx)?;
    let target = admin::table.find(id);
    let mut found = 0;
    if let Some(role) = change.role {
        found += diesel::update(target)
            .set(admin::role.eq(role.as_str()))
            .execute(tx.conn())?;
    }
    if let Some(password) = &change.password {
        found += diesel::update(target)
            .set(admin::password.eq(password))
            .execute(tx.conn())?;
    }
    if let Some(disabled) = change.disabled {
        found += diesel::update(target)
            .set(admin::disabled.eq(disabled))
            .execute(tx.conn())?;
    }
    if let Some(who) = &change.domain {
        if let Some(who) = who {
            is_free(tx, who, Some(id))?;
        }
        let (domain, login) = columns_of(who.as_ref());
        found += diesel::update(target)
            .set((
                admin::domain.eq(domain),
                admin::login.eq(login),
                admin::domain_id.eq(None::<String>),
            ))
            .execute(tx.conn())?;
    }
    if found == 0 {
        return Err(Refused::Unknown);
    }
    if change.password.is_some() || change.disabled == Some(true) || change.domain.is_some() {
        end_sessions_of(tx, id)?;
    }
    somebody_is_left(tx)
}

/// Removes somebody and their sessions, unless nobody could administer any more.
pub fn remove(tx: &mut Tx<'_>, id: &str) -> Result<(), Refused> {
    lock(tx)?;
    if diesel::delete(admin::table.find(id)).execute(tx.conn())? == 0 {
        return Err(Refused::Unknown);
    }
    somebody_is_left(tx)
}

/// Two who take the last rights from each other at the same moment must see each other.
fn lock(tx: &mut Tx<'_>) -> Result<(), Error> {
    diesel::update(admin::table.filter(admin::role.eq(Role::Administrator.as_str())))
        .set(admin::role.eq(Role::Administrator.as_str()))
        .execute(tx.conn())?;
    Ok(())
}

fn somebody_is_left(tx: &mut Tx<'_>) -> Result<(), Refused> {
    let left: i64 = admin::table
        .filter(admin::role.eq(Role::Administrator.as_str()))
        .filter(admin::disabled.eq(false))
        .filter(
            admin::password
                .is_not_null()
                .or(admin::domain.is_not_null()),
        )
        .count()
        .get_result(tx.conn())?;
    if left == 0 {
        Err(Refused::Last)
    } else {
        Ok(())
    }
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Digest of its cookie; names it.
    pub digest: String,
    /// Whose.
    pub admin: Admin,
    /// What the browser calls itself.
    pub agent: String,
    /// When it was signed in.
    pub created_at: Micros,
    /// When it was seen last, to the minute.
    pub seen_at: Micros,
    /// When it ends at the latest.
    pub expires_at: Micros,
}

/// Signs a browser in.
pub fn insert_session(
    tx: &mut Tx<'_>,
    digest: &str,
    admin_id: &str,
    agent: &str,
    now: Micros,
    expires_at: Micros,
) -> Result<(), Error> {
    diesel::insert_into(session::table)
        .values((
            session::digest.eq(digest),
            session::admin_id.eq(admin_id),
            session::agent.eq(agent),
            session::created_at.eq(now),
            session::seen_at.eq(now),
            session::expires_at.eq(expires_at),
        ))
        .execute(tx.conn())?;
    diesel::update(admin::table.find(admin_id))
        .set(admin::signed_in_at.eq(now))
        .execute(tx.conn())?;
    Ok(())
}

type SessionRow = (String, String, i64, i64, i64, Row);

fn read_session(row: SessionRow) -> Result<Session, Error> {
    let (digest, agent, created_at, seen_at, expires_at, admin) = row;
    Ok(Session {
        digest,
        admin: read(admin)?.0,
        agent,
        created_at,
        seen_at,
        expires_at,
    })
}

/// The session of a cookie, over or not.
pub fn session(conn: &mut AnyConn, digest: &str) -> Result<Option<Session>, Error> {
    session::table
        .inner_join(admin::table)
        .filter(session::digest.eq(digest))
        .select((
            session::digest,
            session::agent,
            session::created_at,
            session::seen_at,
            session::expires_at,
            COLUMNS,
        ))
        .first::<SessionRow>(conn)
        .optional()?
        .map(read_session)
        .transpose()
}

/// All sessions that are not over, the newest first.
pub fn sessions(conn: &mut AnyConn, now: Micros) -> Result<Vec<Session>, Error> {
    session::table
        .inner_join(admin::table)
        .filter(session::expires_at.gt(now))
        .order(session::created_at.desc())
        .select((
            session::digest,
            session::agent,
            session::created_at,
            session::seen_at,
            session::expires_at,
            COLUMNS,
        ))
        .load::<SessionRow>(conn)?
        .into_iter()
        .map(read_session)
        .collect()
}

/// Notes that a session is in use.
pub fn session_seen(tx: &mut Tx<'_>, digest: &str, now: Micros) -> Result<(), Error> {
    diesel::update(session::table.find(digest))
        .set(session::seen_at.eq(now))
        .execute(tx.conn())?;
    Ok(())
}

/// Ends a session. Returns whether there was one.
pub fn end_session(tx: &mut Tx<'_>, digest: &str) -> Result<bool, Error> {
    Ok(diesel::delete(session::table.find(digest)).execute(tx.conn())? > 0)
}

/// Ends all sessions of somebody.
pub fn end_sessions_of(tx: &mut Tx<'_>, admin_id: &str) -> Result<usize, Error> {
    Ok(diesel::delete(session::table.filter(session::admin_id.eq(admin_id))).execute(tx.conn())?)
}

/// Forgets sessions that are over and failed sign-ins of yesterday.
pub fn purge(tx: &mut Tx<'_>, now: Micros) -> Result<usize, Error> {
    const DAY: Micros = 86_400_000_000;
    let sessions =
        diesel::delete(session::table.filter(session::expires_at.le(now))).execute(tx.conn())?;
    let lockouts =
        diesel::delete(lockout::table.filter(lockout::last_at.lt(now - DAY))).execute(tx.conn())?;
    Ok(sessions + lockouts)
}

/// What a program shows at the admin API, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Identifier, for revocation.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Micros,
    /// When it ends, if it does.
    pub expires_at: Option<Micros>,
}

/// Stores the digest of a token.
pub fn insert_token(tx: &mut Tx<'_>, token: &ApiToken, digest: &str) -> Result<(), Error> {
    diesel::insert_into(api_token::table)
        .values((
            api_token::id.eq(&token.id),
            api_token::label.eq(&token.label),
            api_token::role.eq(token.role.as_str()),
            api_token::digest.eq(digest),
            api_token::created_by.eq(&token.created_by),
            api_token::created_at.eq(token.created_at),
            api_token::expires_at.eq(token.expires_at),
        ))
        .execute(tx.conn())?;
    Ok(())
}

type TokenRow = (String, String, String, String, i64, Option<i64>);
type TokenColumns = (
    api_token::id,
    api_token::label,
    api_token::role,
    api_token::created_by,
    api_token::created_at,
    api_token::expires_at,
);
const TOKEN_COLUMNS: TokenColumns = (
    api_token::id,
    api_token::label,
    api_token::role,
    api_token::created_by,
    api_token::created_at,
    api_token::expires_at,
);

fn read_token(row: TokenRow) -> Result<ApiToken, Error> {
    let (id, label, role, created_by, created_at, expires_at) = row;
    Ok(ApiToken {
        role: role_of(&role)?,
        id,
        label,
        created_by,
        created_at,
        expires_at,
    })
}

/// The token of a digest, expired or not.
pub fn token(conn: &mut AnyConn, digest: &str) -> Result<Option<ApiToken>, Error> {
    api_token::table
        .filter(api_token::digest.eq(digest))
        .select(TOKEN_COLUMNS)
        .first::<TokenRow>(conn)
        .optional()?
        .map(read_token)
        .transpose()
}

/// All tokens, the oldest first.
pub fn tokens(conn: &mut AnyConn) -> Result<Vec<ApiToken>, Error> {
    api_token::table
        .order(api_token::created_at)
        .select(TOKEN_COLUMNS)
        .load::<TokenRow>(conn)?
        .into_iter()
        .map(read_token)
        .collect()
}

/// Ends a token. Returns whether there was one.
pub fn revoke_token(tx: &mut Tx<'_>, id: &str) -> Result<bool, Error> {
    Ok(diesel::delete(api_token::table.find(id)).execute(tx.conn())? > 0)
}

/// Until when sign-ins under this key are refused, if they are.
pub fn locked_until(conn: &mut AnyConn, key: &str, now: Micros) -> Result<Option<Micros>, Error> {
    let until: Option<Option<i64>> = lockout::table
        .find(key)
        .select(lockout::until)
        .first(conn)
        .optional()?;
    Ok(until.flatten().filter(|until| *until > now))
}

/// Counts a failed sign-in. From the `free`th on, further ones are refused for a minute, then two, four, up to
/// a quarter of an hour.
pub fn sign_in_failed(tx: &mut Tx<'_>, key: &str, free: i32, now: Micros) -> Result<(), Error> {
    const MINUTE: Micros = 60_000_000;
    on_each!(tx.conn(), |c| diesel::insert_into(lockout::table)
        .values((
            lockout::key.eq(key),
            lockout::failures.eq(1),
            lockout::last_at.eq(now),
        ))
        .on_conflict(lockout::key)
        .do_update()
        .set((
            lockout::failures.eq(lockout::failures + 1),
            lockout::last_at.eq(now),
        ))
        .execute(c))?;
    let failures: i32 = lockout::table
        .find(key)
        .select(lockout::failures)
        .first(tx.conn())?;
    if failures >= free {
        let doublings = u32::try_from(failures - free).unwrap_or(0).min(4);
        let wait = (MINUTE << doublings).min(15 * MINUTE);
        diesel::update(lockout::table.find(key))
            .set(lockout::until.eq(now + wait))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// Forgets failed sign-ins.
pub fn sign_in_succeeded(tx: &mut Tx<'_>, key: &str) -> Result<(), Error> {
    diesel::delete(lockout::table.find(key)).execute(tx.conn())?;
    Ok(())
}

/// Stores the code with which the first administrator is made; an earlier one ends.
pub fn put_setup_code(tx: &mut Tx<'_>, digest: &str, now: Micros) -> Result<(), Error> {
    diesel::delete(setup_code::table).execute(tx.conn())?;
    diesel::insert_into(setup_code::table)
        .values((
            setup_code::digest.eq(digest),
            setup_code::created_at.eq(now),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Uses the code up. Of several who try at the same moment one gets `true`.
pub fn use_setup_code(tx: &mut Tx<'_>, digest: &str) -> Result<bool, Error> {
    Ok(diesel::delete(setup_code::table.find(digest)).execute(tx.conn())? > 0)
}
