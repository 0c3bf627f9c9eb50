//! Backups, the way back, and the way to PostgreSQL.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use super::lock;
use crate::clock::Clock;
use crate::config::server::DatabaseUrl;
use crate::store::transfer::{self, Moved};
use crate::store::{self, Store};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// How large it is.
    pub bytes: u64,
}

/// Writes a copy of a SQLite database into a new file, while a server may run on it.
pub async fn backup(database: &DatabaseUrl, file: &Path, replace: bool) -> anyhow::Result<Written> {
    let DatabaseUrl::Sqlite(path) = database else {
        bail!(
            "PostgreSQL has tools of its own for this, which also work while servers run: \
             pg_dump --format=custom --file={} DATABASE, and pg_restore --clean to go back",
            file.display()
        );
    };
    if !path.exists() {
        bail!("there is no database {}", path.display());
    }
    if file.exists() && !replace {
        bail!(
            "{} is there already: --replace writes over it",
            file.display()
        );
    }
    let partial = beside(file, ".partial");
    let _ = fs::remove_file(&partial);
    private(&partial)?;
    let written = async {
        let store = Store::open(database)?;
        let copy = partial.clone();
        store
            .read(move |conn| -> Result<(), store::Error> { transfer::copy_to(conn, &copy) })
            .await?;
        transfer::check(&partial)?;
        File::open(&partial)?.sync_all()?;
        fs::rename(&partial, file)?;
        sync_folder(file)?;
        anyhow::Ok(Written {
            bytes: fs::metadata(file)?.len(),
        })
    };
    let result = written.await;
    if result.is_err() {
        let _ = fs::remove_file(&partial);
    }
    result.with_context(|| format!("the backup {} was not written", file.display()))
}

/// Puts a backup where the database is. No server may run on it. Returns where the former database is now.
pub fn restore(
    database: &DatabaseUrl,
    file: &Path,
    replace: bool,
    by: &str,
    clock: &Clock,
) -> anyhow::Result<Option<PathBuf>> {
    let DatabaseUrl::Sqlite(path) = database else {
        bail!("PostgreSQL has a tool of its own for this: pg_restore --clean");
    };
    transfer::check(file)?;
    let _only = lock::take(database).context("stop the server first")?;
    if path.exists() && !replace {
        bail!(
            "there is a database {} already: --replace moves it aside",
            path.display()
        );
    }
    let fresh = beside(path, ".restoring");
    remove(&fresh);
    private(&fresh)?;
    fs::copy(file, &fresh).with_context(|| format!("cannot copy {}", file.display()))?;
    transfer::prepare_restored(&fresh, by, clock.now())?;
    File::open(&fresh)?.sync_all()?;
    let former = path
        .exists()
        .then(|| -> anyhow::Result<PathBuf> {
            let aside = aside(path, "before-restore");
            rename_all(path, &aside)?;
            Ok(aside)
        })
        .transpose()?;
    // Nothing of the former database may be taken for the new one's.
    remove_beside(path);
    rename_all(&fresh, path)?;
    sync_folder(path)?;
    Ok(former)
}

/// Carries a SQLite database over into an empty one of PostgreSQL, and puts the file aside so that no server goes
/// on with it. Returns what was moved and where the file is now.
pub fn move_to(from: &DatabaseUrl, to: &DatabaseUrl) -> anyhow::Result<(Moved, PathBuf)> {
    let DatabaseUrl::Sqlite(path) = from else {
        bail!("only a SQLite database is moved: pg_dump and pg_restore copy one of PostgreSQL");
    };
    let DatabaseUrl::Postgres(secret) = to else {
        bail!("--to must be a PostgreSQL database: `usher backup` copies a SQLite file");
    };
    if !path.exists() {
        bail!("there is no database {}", path.display());
    }
    let _only = lock::take(from).context("stop the server first")?;
    let moved = transfer::copy_all(from, to).map_err(|error| {
        // The client of the database may quote the address, and with it the password.
        let text = error
            .to_string()
            .replace(secret.expose_secret(), &to.to_string());
        anyhow::anyhow!("nothing was moved: {text}")
    })?;
    let aside = aside(path, "moved");
    rename_all(path, &aside)?;
    Ok((moved, aside))
}

/// A name beside a file.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A name beside a file that nothing has yet.
fn aside(path: &Path, word: &str) -> PathBuf {
    (1..)
        .map(|n| match n {
            1 => beside(path, &format!(".{word}")),
            _ => beside(path, &format!(".{word}-{n}")),
        })
        .find(|name| !name.exists())
        .unwrap_or_else(|| beside(path, word))
}

/// Makes a file that only its owner can read: it holds personal data.
fn private(path: &Path) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    Ok(())
}

/// A database may have its log and the log's index beside it.
const WITH_IT: [&str; 2] = ["-wal", "-shm"];

fn rename_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    for end in WITH_IT {
        if beside(from, end).exists() {
            fs::rename(beside(from, end), beside(to, end))?;
        }
    }
    fs::rename(from, to).with_context(|| format!("cannot move {}", from.display()))
}

fn remove_beside(path: &Path) {
    for end in WITH_IT {
        let _ = fs::remove_file(beside(path, end));
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    remove_beside(path);
}

/// A new name is on disk when its folder is.
fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
