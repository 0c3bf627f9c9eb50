//! Consents of administrators that a domain is read in their name, and the refresh tokens that come of them. Only
//! encrypted ones are stored (see `vault`).

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::runs;
use super::schema::{consent, pull};
use crate::clock::Micros;
use crate::domain::ConnectionId;

/// A consent that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = consent)]
pub struct Consent {
    /// Digest of the value that comes back with the answer.
    pub state: String,
    /// For which connection.
    pub connection_id: String,
    /// The secret of PKCE, encrypted.
    pub verifier: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// Digest of what the browser has to show that it was begun in, if it was begun in one.
    pub browser: Option<String>,
    /// Who began it.
    pub actor: String,
    /// When it ends.
    pub expires_at: Micros,
}

/// Stores a new one, and forgets those whose time is over.
pub fn begin(tx: &mut Tx<'_>, new: &Consent, now: Micros) -> Result<(), Error> {
    diesel::delete(consent::table.filter(consent::expires_at.le(now))).execute(tx.conn())?;
    diesel::insert_into(consent::table)
        .values(new)
        .execute(tx.conn())?;
    Ok(())
}

/// Takes one out: whoever asks first has it, and nobody after.
pub fn take(tx: &mut Tx<'_>, state: &str, now: Micros) -> Result<Option<Consent>, Error> {
    let found: Option<Consent> =
        on_each!(tx.conn(), |c| diesel::delete(consent::table.find(state))
            .returning(consent::all_columns)
            .get_result(c)
            .optional())?;
    Ok(found.filter(|it| it.expires_at > now))
}

/// The refresh token of a connection, encrypted.
pub fn refresh_token(
    conn: &mut AnyConn,
    connection: &ConnectionId,
) -> Result<Option<String>, Error> {
    let token: Option<Option<String>> = pull::table
        .find(connection.as_str())
        .select(pull::refresh_token)
        .first(conn)
        .optional()?;
    Ok(token.flatten())
}

/// Keeps everybody else from using the refresh token. False: somebody else does.
pub fn lock(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    now: Micros,
    until: Micros,
) -> Result<bool, Error> {
    runs::prepare(tx, connection)?;
    let locked = diesel::update(
        pull::table
            .filter(pull::connection_id.eq(connection.as_str()))
            .filter(
                pull::refresh_until
                    .is_null()
                    .or(pull::refresh_until.lt(now)),
            ),
    )
    .set(pull::refresh_until.eq(until))
    .execute(tx.conn())?;
    Ok(locked > 0)
}

/// Lets others use it again, a new one if there is one.
pub fn unlock(tx: &mut Tx<'_>, connection: &ConnectionId, new: Option<&str>) -> Result<(), Error> {
    let mine = pull::table.find(connection.as_str());
    diesel::update(mine)
        .set(pull::refresh_until.eq(None::<i64>))
        .execute(tx.conn())?;
    if let Some(sealed) = new {
        diesel::update(mine)
            .set(pull::refresh_token.eq(sealed))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// Forgets it. False: there was none.
pub fn forget(tx: &mut Tx<'_>, connection: &ConnectionId) -> Result<bool, Error> {
    let forgotten = diesel::update(
        pull::table
            .find(connection.as_str())
            .filter(pull::refresh_token.is_not_null()),
    )
    .set(pull::refresh_token.eq(None::<String>))
    .execute(tx.conn())?;
    Ok(forgotten > 0)
}
