//! One server for one SQLite file: a second one would take the leases of the first.

use std::fs::File;

use anyhow::{Context, bail};

use crate::config::server::DatabaseUrl;

/// Held for as long as the server runs; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(
    #[expect(dead_code, reason = "dropping the file is what unlocks")] Option<File>,
);

/// Takes the lock, or says who else has it.
pub(super) fn take(database: &DatabaseUrl) -> anyhow::Result<Lock> {
    let DatabaseUrl::Sqlite(path) = database else {
        return Ok(Lock(None));
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::create(&name).with_context(|| format!("cannot create {}", name.display()))?;
    if file.try_lock().is_err() {
        bail!("another server is running on {}", path.display());
    }
    Ok(Lock(Some(file)))
}
