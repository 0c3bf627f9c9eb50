//! Secrets that settings refer to by name. What is here is encrypted (see `vault`).

use std::collections::HashMap;

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::secret;
use super::settings::Configuration;
use crate::clock::Micros;
use crate::domain::{AlertSettings, SecretRef, StoredSecret};

/// All of them, by name.
pub fn all(conn: &mut AnyConn) -> Result<HashMap<String, String>, Error> {
    let rows: Vec<(String, String)> = secret::table
        .select((secret::name, secret::sealed))
        .load(conn)?;
    Ok(rows.into_iter().collect())
}

/// Keeps one, instead of the one of that name if there is one.
pub fn put(tx: &mut Tx<'_>, name: &str, sealed: &str, now: Micros) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(secret::table)
        .values((
            secret::name.eq(name),
            secret::sealed.eq(sealed),
            secret::updated_at.eq(now),
        ))
        .on_conflict(secret::name)
        .do_update()
        .set((secret::sealed.eq(sealed), secret::updated_at.eq(now)))
        .execute(c))?;
    Ok(())
}

/// Gives every reference of a configuration the secret that it refers to.
pub(super) fn attach(conn: &mut AnyConn, configuration: &mut Configuration) -> Result<(), Error> {
    let mut wanted: Vec<&mut StoredSecret> = Vec::new();
    let connections = configuration.connections.iter_mut();
    let targets = configuration.targets.iter_mut();
    let references = connections
        .filter_map(|it| it.settings.secret_mut())
        .chain(targets.map(|it| it.settings.secret_mut()))
        .chain(
            configuration
                .alerts
                .iter_mut()
                .flat_map(AlertSettings::secrets_mut),
        );
    for reference in references {
        if let SecretRef::Stored(secret) = reference {
            wanted.push(secret);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let kept = all(conn)?;
    for secret in wanted {
        secret.sealed = kept.get(&secret.name).cloned();
    }
    Ok(())
}
