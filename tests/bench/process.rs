//! Servers as child processes, so that a server's processor time and memory are its own and can be read from the
//! system: the `usher` program, and this program once more as the servers that only answer or only store.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, bail};
use usher::config::server::DatabaseUrl;

use crate::http::{self, Call};
use crate::storing::AS_STORING;

/// The first argument of a child that is to be a server which only answers.
pub(crate) const AS_BARE: &str = "as-bare";

/// `usher` with these arguments, on a database.
pub(crate) fn usher(database: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
    command
        .args(arguments)
        .env("USHER_DATABASE_URL", database)
        .env_remove("USHER_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs `usher` to its end and returns what it printed.
pub(crate) fn run(database: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = usher(database, arguments).output()?;
    if !output.status.success() {
        bail!(
            "usher {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A running server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `usher serve`; its log goes to a file, as in production it goes to a collector.
    pub(crate) async fn usher(database: &str, folder: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let log = folder.join("usher.log");
        let child = usher(database, &["serve", "--listen", &address.to_string()])
            .stderr(File::create(&log)?)
            .spawn()?;
        let server = Self { child, address };
        server.ready("/readyz").await.with_context(|| {
            std::fs::read_to_string(&log).unwrap_or_else(|_| "no log".to_owned())
        })?;
        Ok(server)
    }

    /// Starts a server that answers every request with `body`.
    pub(crate) async fn bare(body: &[u8], folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("body.json");
        std::fs::write(&file, body)?;
        Self::this(AS_BARE, &file).await
    }

    /// Starts a server that only stores what is pushed.
    pub(crate) async fn storing(database: &Path) -> anyhow::Result<Self> {
        Self::this(AS_STORING, database).await
    }

    /// Starts this program as another server.
    async fn this(role: &str, file: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let child = Command::new(std::env::current_exe()?)
            .arg(role)
            .arg(address.to_string())
            .arg(file)
            .stdin(Stdio::null())
            .spawn()?;
        let server = Self { child, address };
        server.ready("/").await?;
        Ok(server)
    }

    async fn ready(&self, path: &str) -> anyhow::Result<()> {
        let probe = Call::get(path, "none", Vec::new());
        for _ in 0..500 {
            if http::once(self.address, &probe).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("a server did not start");
    }

    /// Processor time used so far, user and system. Linux counts it in hundredths of a second.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name of the program is in brackets and may hold anything; utime and stime are fields 14 and 15.
        let (_, fields) = text.rsplit_once(") ")?;
        let ticks = fields.split(' ').skip(11).take(2);
        let sum: u64 = ticks.map(|t| t.parse::<u64>()).sum::<Result<_, _>>().ok()?;
        Some(Duration::from_millis(sum * 10))
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    }
}

/// The most memory that a process has had resident, in KiB.
pub(crate) fn peak_kib(id: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child of [`Server::bare`] does: the cheapest thing that the same framework can do.
pub(crate) fn serve_bare(address: &str, body: &Path) -> anyhow::Result<ExitCode> {
    let body = web::Bytes::from(std::fs::read(body)?);
    serve(address, move |config| {
        let body = body.clone();
        config.default_service(web::to(move || {
            let body = body.clone();
            async move {
                HttpResponse::Ok()
                    .insert_header((header::CONTENT_TYPE, "application/scim+json"))
                    .insert_header((header::ETAG, "W/\"1\""))
                    .body(body)
            }
        }));
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a server with as many workers as the real one has.
pub(crate) fn serve(
    address: &str,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        HttpServer::new(move || App::new().configure(routes.clone()))
            .disable_signals()
            .listen(listener)?
            .run()
            .await
    })?;
    Ok(())
}

/// A SQLite URL for a file in `folder`.
pub(crate) fn sqlite_url(folder: &Path, name: &str) -> String {
    DatabaseUrl::Sqlite(folder.join(name)).to_string()
}

/// How much room a database takes, in bytes; `None` where nobody can say.
pub(crate) fn size_of(database: &str) -> Option<u64> {
    match database.parse().ok()? {
        DatabaseUrl::Sqlite(path) => Some(std::fs::metadata(path).ok()?.len()),
        DatabaseUrl::Postgres(_) => {
            let asked = "SELECT pg_database_size(current_database())";
            let output = Command::new("psql")
                .args([database, "-Atc", asked])
                .output();
            String::from_utf8(output.ok()?.stdout)
                .ok()?
                .trim()
                .parse()
                .ok()
        }
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
