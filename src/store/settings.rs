//! Connections, targets and mappings, with the generation number by which a running server notices a change.

use diesel::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::schema::{configuration, connection, mapping, target};
use crate::clock::Micros;
use crate::domain::{
    AlertSettings, Connection, ConnectionId, ConnectionSettings, Mapping, MappingId,
    MappingSettings, Target, TargetId, TargetSettings, new_id,
};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// Counts changes.
    pub generation: i64,
    /// By name.
    pub connections: Vec<Connection>,
    /// By name.
    pub targets: Vec<Target>,
    /// By connection and target.
    pub mappings: Vec<Mapping>,
    /// Of what administrators are told, if it was stated.
    pub alerts: Option<AlertSettings>,
}

/// The present generation: cheap, for polling.
pub fn generation(conn: &mut AnyConn) -> Result<i64, Error> {
    Ok(configuration::table
        .select(configuration::generation)
        .first(conn)?)
}

/// Says that the configuration changed.
pub fn bump(tx: &mut Tx<'_>) -> Result<(), Error> {
    diesel::update(configuration::table)
        .set(configuration::generation.eq(configuration::generation + 1))
        .execute(tx.conn())?;
    Ok(())
}

/// Reads everything.
pub fn load(conn: &mut AnyConn) -> Result<Configuration, Error> {
    let generation = generation(conn)?;
    let connections = connection::table
        .order(connection::name)
        .select((connection::id, connection::settings))
        .load::<(String, String)>(conn)?
        .into_iter()
        .map(|(id, text)| {
            Ok(Connection {
                settings: parse(&id, &text)?,
                id: ConnectionId(id),
            })
        })
        .collect::<Result<_, Error>>()?;
    let targets = target::table
        .order(target::name)
        .select((target::id, target::settings))
        .load::<(String, String)>(conn)?
        .into_iter()
        .map(|(id, text)| {
            Ok(Target {
                settings: parse(&id, &text)?,
                id: TargetId(id),
            })
        })
        .collect::<Result<_, Error>>()?;
    let mappings = mapping::table
        .order((mapping::connection_id, mapping::target_id))
        .select((
            mapping::id,
            mapping::connection_id,
            mapping::target_id,
            mapping::settings,
        ))
        .load::<(String, String, String, String)>(conn)?
        .into_iter()
        .map(|(id, connection_id, target_id, text)| {
            Ok(Mapping {
                settings: parse(&id, &text)?,
                id: MappingId(id),
                connection_id: ConnectionId(connection_id),
                target_id: TargetId(target_id),
            })
        })
        .collect::<Result<_, Error>>()?;
    let alerts: Option<String> = configuration::table
        .select(configuration::alerts)
        .first(conn)?;
    let alerts = alerts.map(|text| parse("alerts", &text)).transpose()?;
    let mut configuration = Configuration {
        alerts,
        generation,
        connections,
        targets,
        mappings,
    };
    super::secrets::attach(conn, &mut configuration)?;
    Ok(configuration)
}

/// Stores of what administrators are told. Returns whether anything changed.
pub fn put_alerts(tx: &mut Tx<'_>, settings: &AlertSettings) -> Result<bool, Error> {
    let text = print(settings)?;
    let old: Option<String> = configuration::table
        .select(configuration::alerts)
        .first(tx.conn())?;
    if old.as_deref() == Some(text.as_str()) {
        return Ok(false);
    }
    diesel::update(configuration::table)
        .set(configuration::alerts.eq(text))
        .execute(tx.conn())?;
    Ok(true)
}

/// Stores a connection under its name. Returns its id and whether anything changed.
pub fn put_connection(
    tx: &mut Tx<'_>,
    settings: &ConnectionSettings,
    now: Micros,
) -> Result<(ConnectionId, bool), Error> {
    let text = print(settings)?;
    let found: Option<(String, String)> = connection::table
        .filter(connection::name.eq(&settings.name))
        .select((connection::id, connection::settings))
        .first(tx.conn())
        .optional()?;
    match found {
        Some((id, old)) if old == text => Ok((ConnectionId(id), false)),
        Some((id, _)) => {
            diesel::update(connection::table.find(&id))
                .set((
                    connection::settings.eq(text),
                    connection::updated_at.eq(now),
                ))
                .execute(tx.conn())?;
            Ok((ConnectionId(id), true))
        }
        None => {
            let id = new_id();
            diesel::insert_into(connection::table)
                .values((
                    connection::id.eq(&id),
                    connection::name.eq(&settings.name),
                    connection::settings.eq(text),
                    connection::created_at.eq(now),
                    connection::updated_at.eq(now),
                ))
                .execute(tx.conn())?;
            Ok((ConnectionId(id), true))
        }
    }
}

/// Stores a target under its name. Returns its id and whether anything changed. A target whose breaker is
/// open is tried again at once, and that is a change: whoever states it anew may have put right what the
/// settings only refer to, such as the file with the token.
pub fn put_target(
    tx: &mut Tx<'_>,
    settings: &TargetSettings,
    now: Micros,
) -> Result<(TargetId, bool), Error> {
    let text = print(settings)?;
    let found: Option<(String, String, String)> = target::table
        .filter(target::name.eq(&settings.name))
        .select((target::id, target::settings, target::state))
        .first(tx.conn())
        .optional()?;
    match found {
        Some((id, old, state)) if old == text && state == "up" => Ok((TargetId(id), false)),
        Some((id, ..)) => {
            diesel::update(target::table.find(&id))
                .set((
                    target::settings.eq(text),
                    target::updated_at.eq(now),
                    target::state.eq("up"),
                    target::failures.eq(0),
                    target::retry_at.eq(None::<i64>),
                ))
                .execute(tx.conn())?;
            let id = TargetId(id);
            super::work::make_due(tx, &id, now)?;
            Ok((id, true))
        }
        None => {
            let id = new_id();
            diesel::insert_into(target::table)
                .values((
                    target::id.eq(&id),
                    target::name.eq(&settings.name),
                    target::settings.eq(text),
                    target::state.eq("up"),
                    target::failures.eq(0),
                    target::created_at.eq(now),
                    target::updated_at.eq(now),
                ))
                .execute(tx.conn())?;
            Ok((TargetId(id), true))
        }
    }
}

/// Stores the rules between a connection and a target. Returns whether anything changed.
pub fn put_mapping(
    tx: &mut Tx<'_>,
    connection_id: &ConnectionId,
    target_id: &TargetId,
    settings: &MappingSettings,
    now: Micros,
) -> Result<bool, Error> {
    let text = print(settings)?;
    let found: Option<(String, String)> = mapping::table
        .filter(mapping::connection_id.eq(connection_id.as_str()))
        .filter(mapping::target_id.eq(target_id.as_str()))
        .select((mapping::id, mapping::settings))
        .first(tx.conn())
        .optional()?;
    match found {
        Some((_, old)) if old == text => Ok(false),
        Some((id, _)) => {
            diesel::update(mapping::table.find(&id))
                .set((mapping::settings.eq(text), mapping::updated_at.eq(now)))
                .execute(tx.conn())?;
            Ok(true)
        }
        None => {
            diesel::insert_into(mapping::table)
                .values((
                    mapping::id.eq(new_id()),
                    mapping::connection_id.eq(connection_id.as_str()),
                    mapping::target_id.eq(target_id.as_str()),
                    mapping::settings.eq(text),
                    mapping::created_at.eq(now),
                    mapping::updated_at.eq(now),
                ))
                .execute(tx.conn())?;
            Ok(true)
        }
    }
}

fn print(settings: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(settings).map_err(|e| Error::Corrupt(e.to_string()))
}

fn parse<T: DeserializeOwned>(id: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::Corrupt(format!("settings of {id}: {e}")))
}
