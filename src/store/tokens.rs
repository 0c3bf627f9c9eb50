//! Inbound credentials. Only digests are stored (see `auth`).

use diesel::prelude::*;

use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::schema::{connection, credential};
use crate::clock::Micros;
use crate::domain::ConnectionId;

/// How a credential is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialScheme {
    /// `Authorization: Bearer` (RFC 6750).
    Bearer,
    /// `Authorization: Basic` (RFC 7617).
    Basic,
    /// A client id and secret, with which access tokens are asked for (RFC 6749).
    Client,
    /// A bearer token for the login hook alone.
    Hook,
}

impl CredentialScheme {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Client => "client",
            Self::Hook => "hook",
        }
    }

    /// Reads [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Bearer, Self::Basic, Self::Client, Self::Hook]
            .into_iter()
            .find(|scheme| scheme.as_str() == text)
    }
}

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Identifier, for revocation.
    pub id: String,
    /// Name of the connection it speaks for.
    pub connection: String,
    /// `bearer`, `basic`, `client` or `hook`.
    pub scheme: String,
    /// What it is for; the user name of a Basic credential, the id of a client.
    pub label: String,
    /// When it was made.
    pub created_at: Micros,
    /// When it ends, if it does.
    pub expires_at: Option<Micros>,
}

/// What a request may do after its credential was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The credential.
    pub id: String,
    /// The tenant.
    pub connection_id: ConnectionId,
    /// Its settings, as stored.
    pub settings: String,
    /// When the credential ends.
    pub expires_at: Option<Micros>,
}

/// Stores a credential.
pub fn insert(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    scheme: CredentialScheme,
    label: &str,
    digest: &str,
    expires_at: Option<Micros>,
    now: Micros,
) -> Result<String, Error> {
    let id = crate::domain::new_id();
    diesel::insert_into(credential::table)
        .values((
            credential::id.eq(&id),
            credential::connection_id.eq(connection.as_str()),
            credential::scheme.eq(scheme.as_str()),
            credential::label.eq(label),
            credential::digest.eq(digest),
            credential::created_at.eq(now),
            credential::expires_at.eq(expires_at),
        ))
        .execute(tx.conn())?;
    Ok(id)
}

/// What names a credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum By {
    /// The digest of its secret.
    Digest(String),
    /// Its id.
    Id(String),
}

/// Finds a credential and the connection behind it, expired or not.
pub fn find(conn: &mut AnyConn, by: &By) -> Result<Option<Found>, Error> {
    let all = credential::table.inner_join(connection::table).select((
        credential::id,
        connection::id,
        connection::settings,
        credential::expires_at,
    ));
    let row: Option<(String, String, String, Option<i64>)> = match by {
        By::Digest(digest) => all.filter(credential::digest.eq(digest)).first(conn),
        By::Id(id) => all.filter(credential::id.eq(id)).first(conn),
    }
    .optional()?;
    Ok(row.map(|(id, connection, settings, expires_at)| Found {
        id,
        connection_id: ConnectionId(connection),
        settings,
        expires_at,
    }))
}

/// All credentials, by connection and age.
pub fn list(conn: &mut AnyConn) -> Result<Vec<Credential>, Error> {
    let rows: Vec<(String, String, String, String, i64, Option<i64>)> = credential::table
        .inner_join(connection::table)
        .order((connection::name, credential::created_at))
        .select((
            credential::id,
            connection::name,
            credential::scheme,
            credential::label,
            credential::created_at,
            credential::expires_at,
        ))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(
            |(id, connection, scheme, label, created_at, expires_at)| Credential {
                id,
                connection,
                scheme,
                label,
                created_at,
                expires_at,
            },
        )
        .collect())
}

/// Has a credential end at an instant, unless it ends sooner.
pub fn end_at(tx: &mut Tx<'_>, id: &str, at: Micros) -> Result<(), Error> {
    diesel::update(
        credential::table.find(id).filter(
            credential::expires_at
                .is_null()
                .or(credential::expires_at.gt(at)),
        ),
    )
    .set(credential::expires_at.eq(at))
    .execute(tx.conn())?;
    Ok(())
}

/// Ends a credential. Returns whether there was one.
pub fn revoke(tx: &mut Tx<'_>, id: &str) -> Result<bool, Error> {
    Ok(diesel::delete(credential::table.find(id)).execute(tx.conn())? > 0)
}

/// The connection of that name.
pub fn connection_named(conn: &mut AnyConn, name: &str) -> Result<Option<ConnectionId>, Error> {
    let id: Option<String> = connection::table
        .filter(connection::name.eq(name))
        .select(connection::id)
        .first(conn)
        .optional()?;
    Ok(id.map(ConnectionId))
}

/// The names of all connections.
pub fn connection_names(conn: &mut AnyConn) -> Result<Vec<String>, Error> {
    Ok(connection::table
        .order(connection::name)
        .select(connection::name)
        .load(conn)?)
}
