//! Keys that sign access tokens. Only encrypted ones are stored (see `vault`).

use diesel::prelude::*;

use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::schema::signing_key;
use crate::clock::Micros;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id, the `kid` of tokens.
    pub id: String,
    /// The key, encrypted.
    pub sealed: String,
    /// When it was made.
    pub created_at: Micros,
}

/// The newest key.
pub fn newest(conn: &mut AnyConn) -> Result<Option<SigningKey>, Error> {
    let row: Option<(String, String, i64)> = signing_key::table
        .order((signing_key::created_at.desc(), signing_key::id.desc()))
        .select((
            signing_key::id,
            signing_key::sealed,
            signing_key::created_at,
        ))
        .first(conn)
        .optional()?;
    Ok(row.map(key))
}

/// The key of that id.
pub fn get(conn: &mut AnyConn, id: &str) -> Result<Option<SigningKey>, Error> {
    let row: Option<(String, String, i64)> = signing_key::table
        .find(id)
        .select((
            signing_key::id,
            signing_key::sealed,
            signing_key::created_at,
        ))
        .first(conn)
        .optional()?;
    Ok(row.map(key))
}

/// Stores a new key and removes those made before `oldest`, with which no valid token is signed any more.
pub fn rotate(tx: &mut Tx<'_>, new: &SigningKey, oldest: Micros) -> Result<(), Error> {
    diesel::delete(signing_key::table.filter(signing_key::created_at.lt(oldest)))
        .execute(tx.conn())?;
    diesel::insert_into(signing_key::table)
        .values((
            signing_key::id.eq(&new.id),
            signing_key::sealed.eq(&new.sealed),
            signing_key::created_at.eq(new.created_at),
        ))
        .execute(tx.conn())?;
    Ok(())
}

fn key((id, sealed, created_at): (String, String, i64)) -> SigningKey {
    SigningKey {
        id,
        sealed,
        created_at,
    }
}
