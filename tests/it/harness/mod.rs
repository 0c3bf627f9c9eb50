//! What tests stand on: databases of both kinds, and a server in this process or in one of its own.

mod postgres;
mod products;
mod receiver;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use usher::config::server::DatabaseUrl;
use usher::store::Store;

pub use products::{Account, Product, credential};
pub use receiver::Receiver;
pub use server::{App, Process, Reply, form, get, get_text, kind_of, reachable, signal, status};

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An empty database of one kind. Dropping it removes a SQLite file.
#[derive(Clone)]
pub struct Database {
    /// `sqlite` or `postgres`, for messages.
    pub name: &'static str,
    /// Where it is.
    pub url: DatabaseUrl,
    /// The same as text, for child processes.
    pub text: String,
    folder: Arc<TempDir>,
}

impl Database {
    /// Opens it, which also makes its tables.
    pub fn open(&self) -> Store {
        Store::open(&self.url).unwrap()
    }

    /// A folder that lives as long as the database.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// One fresh database of each kind that this machine has.
pub fn databases() -> Vec<Database> {
    let mut all = vec![sqlite()];
    all.extend(postgres());
    all
}

/// A fresh SQLite file.
pub fn sqlite() -> Database {
    sqlite_in(None)
}

/// A fresh SQLite file in a folder of its own below `parent`, or below where temporary files usually are.
pub fn sqlite_in(parent: Option<&std::path::Path>) -> Database {
    let folder = match parent {
        Some(parent) => tempfile::tempdir_in(parent).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let path = folder.path().join("usher.db");
    let text = format!("sqlite:{}", path.display());
    Database {
        name: "sqlite",
        url: DatabaseUrl::Sqlite(path),
        text,
        folder: Arc::new(folder),
    }
}

/// A fresh PostgreSQL database, or `None` where PostgreSQL is not installed.
pub fn postgres() -> Option<Database> {
    let text = postgres::create()?;
    Some(Database {
        name: "postgres",
        url: text.parse().unwrap(),
        text,
        folder: Arc::new(tempfile::tempdir().unwrap()),
    })
}

/// Whether a test that lacks something may be passed over. Prints what is missing.
pub fn skip(what: &str) {
    assert!(
        std::env::var_os("USHER_TEST_ALL").is_none(),
        "{what}, and USHER_TEST_ALL asks for every test"
    );
    eprintln!("SKIPPED: {what}");
}

/// The files of these kinds in a folder and below it.
pub fn files_below(folder: &std::path::Path, kinds: &[&str]) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.extension().and_then(std::ffi::OsStr::to_str);
            if path.is_dir() {
                folders.push(path);
            } else if kind.is_some_and(|kind| kinds.contains(&kind)) {
                files.push(path);
            }
        }
    }
    files
}

/// The Python that has the packages of `tests/python/requirements.txt`, if there is one.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("USHER_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skip("USHER_PYTHON does not name a Python with tests/python/requirements.txt");
    }
    python
}
