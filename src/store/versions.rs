//! Versions of the configuration: each is the whole of it, as the file that would make it so again.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::schema::configuration_version;
use super::settings::{self, Configuration};
use crate::clock::Micros;
use crate::config::file::{ConfigFile, MappingEntry};
use crate::config::print;

/// A version, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Version {
    /// Counts from 1.
    pub version: i64,
    /// When it was made.
    pub at: Micros,
    /// By whom.
    pub author: String,
    /// Through what, such as `usher apply`.
    pub cause: String,
}

/// The configuration as a file. Secrets are what they are in the configuration: references.
pub fn as_file(configuration: Configuration) -> ConfigFile {
    let Configuration {
        connections,
        targets,
        mappings,
        alerts,
        ..
    } = configuration;
    let mut entries: Vec<MappingEntry> = mappings
        .into_iter()
        .filter_map(|mapping| {
            let connection = connections.iter().find(|c| c.id == mapping.connection_id)?;
            let target = targets.iter().find(|t| t.id == mapping.target_id)?;
            Some(MappingEntry {
                connection: connection.settings.name.clone(),
                target: target.settings.name.clone(),
                settings: mapping.settings,
            })
        })
        .collect();
    // By name, not by age, so that two versions differ where their rules do.
    entries.sort_by(|a, b| (&a.connection, &a.target).cmp(&(&b.connection, &b.target)));
    ConfigFile::new(
        connections.into_iter().map(|c| c.settings).collect(),
        targets.into_iter().map(|t| t.settings).collect(),
        entries,
    )
    .with_alerts(alerts)
}

/// The present configuration as the text of a file.
pub fn export(conn: &mut AnyConn) -> Result<String, Error> {
    Ok(print(&as_file(settings::load(conn)?)))
}

/// Keeps the present configuration as a version, unless it is the newest one already. Returns its number.
pub fn keep(tx: &mut Tx<'_>, author: &str, cause: &str, now: Micros) -> Result<Option<i64>, Error> {
    let text = export(tx.conn())?;
    let newest: Option<(i64, String)> = configuration_version::table
        .order(configuration_version::version.desc())
        .select((configuration_version::version, configuration_version::text))
        .first(tx.conn())
        .optional()?;
    let version = match newest {
        Some((_, same)) if same == text => return Ok(None),
        Some((version, _)) => version + 1,
        None => 1,
    };
    diesel::insert_into(configuration_version::table)
        .values((
            configuration_version::version.eq(version),
            configuration_version::at.eq(now),
            configuration_version::author.eq(author),
            configuration_version::cause.eq(cause),
            configuration_version::text.eq(text),
        ))
        .execute(tx.conn())?;
    Ok(Some(version))
}

/// The newest versions, newest first.
pub fn list(conn: &mut AnyConn, limit: i64) -> Result<Vec<Version>, Error> {
    Ok(configuration_version::table
        .order(configuration_version::version.desc())
        .limit(limit)
        .select((
            configuration_version::version,
            configuration_version::at,
            configuration_version::author,
            configuration_version::cause,
        ))
        .load(conn)?)
}

/// The text of a version.
pub fn text(conn: &mut AnyConn, version: i64) -> Result<Option<String>, Error> {
    Ok(configuration_version::table
        .find(version)
        .select(configuration_version::text)
        .first(conn)
        .optional()?)
}
