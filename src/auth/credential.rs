//! Inbound credentials: made, exchanged for new ones, ended.

use secrecy::SecretString;
use serde_json::json;

use super::{basic_digest, bearer_digest, client_digest, hook_digest, new_secret};
use crate::clock::{Clock, Micros, rfc3339};
use crate::domain::{ConnectionId, new_id};
use crate::store::audit::{self, NewAudit};
use crate::store::tokens::{self, Credential, CredentialScheme};
use crate::store::{self, Store};

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A bearer token with a label.
    Bearer(String),
    /// A password for this user name.
    Basic(String),
    /// A client id and secret.
    Client,
    /// A bearer token for the login hook, with a label.
    Hook(String),
}

/// Who asks for it, and through what.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The person.
    pub actor: &'a str,
    /// Such as `usher token create`.
    pub cause: &'a str,
}

/// A credential that was made just now: its secret cannot be had again.
#[derive(Debug)]
pub struct Made {
    /// Identifier.
    pub id: String,
    /// The user name of a Basic credential, the id of a client, else the label.
    pub label: String,
    /// The secret.
    pub secret: SecretString,
}

/// Why none was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be.
    #[error("{0}")]
    Input(&'static str),
    /// There is no such connection or credential.
    #[error("there is no such connection or credential")]
    Missing,
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Makes a credential for a connection.
pub async fn create(
    store: &Store,
    clock: &Clock,
    connection: ConnectionId,
    kind: Kind,
    expires_at: Option<Micros>,
    by: By<'_>,
) -> Result<Made, Error> {
    let (scheme, label) = match kind {
        Kind::Basic(username) if username.is_empty() || username.contains(':') => {
            return Err(Error::Input(
                "a user name for HTTP Basic is not empty and has no colon (RFC 7617)",
            ));
        }
        Kind::Basic(username) => (CredentialScheme::Basic, username),
        Kind::Client => (CredentialScheme::Client, format!("usher-{}", new_id())),
        Kind::Hook(label) => (CredentialScheme::Hook, label),
        Kind::Bearer(label) => (CredentialScheme::Bearer, label),
    };
    let new = New {
        scheme,
        label,
        expires_at,
        replaces: None,
    };
    insert(store, clock, connection, new, by).await
}

/// Makes a credential of the same kind as the one with that id, which ends at `ends_at`: until then both are
/// taken, so that the identity provider can be given the new one without a gap.
pub async fn rotate(
    store: &Store,
    clock: &Clock,
    id: &str,
    ends_at: Micros,
    by: By<'_>,
) -> Result<Made, Error> {
    let wanted = id.to_owned();
    let (old, connection) = store
        .read(move |conn| -> Result<_, store::Error> {
            let old = tokens::list(conn)?.into_iter().find(|it| it.id == wanted);
            let Some(old) = old else { return Ok(None) };
            let connection = tokens::connection_named(conn, &old.connection)?;
            Ok(connection.map(|connection| (old, connection)))
        })
        .await?
        .ok_or(Error::Missing)?;
    let Credential { scheme, label, .. } = old.clone();
    let new = New {
        scheme: CredentialScheme::parse(&scheme).ok_or(Error::Missing)?,
        label,
        // A credential that lives for a while is followed by one that lives as long.
        expires_at: old
            .expires_at
            .map(|at| clock.now() + (at - old.created_at).max(0)),
        replaces: Some((old.id, ends_at)),
    };
    insert(store, clock, connection, new, by).await
}

struct New {
    scheme: CredentialScheme,
    label: String,
    expires_at: Option<Micros>,
    /// The one that ends, and when.
    replaces: Option<(String, Micros)>,
}

async fn insert(
    store: &Store,
    clock: &Clock,
    connection: ConnectionId,
    new: New,
    by: By<'_>,
) -> Result<Made, Error> {
    let secret = new_secret();
    let digest = match new.scheme {
        CredentialScheme::Bearer => bearer_digest(&secret),
        CredentialScheme::Basic => basic_digest(&new.label, &secret),
        CredentialScheme::Client => client_digest(&new.label, &secret),
        CredentialScheme::Hook => hook_digest(&secret),
    };
    let now = clock.now();
    let label = new.label.clone();
    let (actor, cause) = (by.actor.to_owned(), by.cause.to_owned());
    let id = store
        .write(move |tx| -> Result<String, store::Error> {
            let New {
                scheme,
                label,
                expires_at,
                replaces,
            } = &new;
            let id = tokens::insert(tx, &connection, *scheme, label, &digest, *expires_at, now)?;
            if let Some((old, ends_at)) = replaces {
                tokens::end_at(tx, old, *ends_at)?;
            }
            let detail = json!({
                "id": id, "scheme": scheme.as_str(), "label": label, "expires_at": expires_at.map(rfc3339),
                "replaces": replaces.as_ref().map(|(old, _)| old),
                "which_ends_at": replaces.as_ref().map(|(_, at)| rfc3339(*at)),
            });
            let act = NewAudit {
                connection_id: Some(connection.clone()),
                ..NewAudit::act(now, &actor, "create_token", &detail, &cause)
            };
            audit::append(tx, &act)?;
            Ok(id)
        })
        .await?;
    Ok(Made { id, label, secret })
}

/// Ends a credential. Returns whether there was one.
pub async fn revoke(
    store: &Store,
    clock: &Clock,
    id: &str,
    by: By<'_>,
) -> Result<bool, store::Error> {
    let act = NewAudit::act(
        clock.now(),
        by.actor,
        "revoke_token",
        &json!({"id": id}),
        by.cause,
    );
    let id = id.to_owned();
    store
        .write(move |tx| -> Result<bool, store::Error> {
            let ended = tokens::revoke(tx, &id)?;
            if ended {
                audit::append(tx, &act)?;
            }
            Ok(ended)
        })
        .await
}
