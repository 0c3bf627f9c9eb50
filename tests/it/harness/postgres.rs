//! A PostgreSQL cluster for the time of the test run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

struct Cluster {
    port: u16,
    // The watcher ends the server when its standard input closes, that is, when this process ends, and takes its folder
    // away: nothing is dropped that is static.
    _watcher: Mutex<Child>,
}

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Makes a database and returns its URL. `None`: PostgreSQL is not installed.
pub(super) fn create() -> Option<String> {
    let cluster = CLUSTER.get_or_init(start).as_ref()?;
    let name = format!("t{}", NUMBER.fetch_add(1, Ordering::SeqCst));
    let bin = programs()?;
    let made = as_postgres(&bin.join("createdb"))
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &cluster.port.to_string(),
            "-U",
            "postgres",
            &name,
        ])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Some(format!(
        "postgres://postgres@127.0.0.1:{}/{name}",
        cluster.port
    ))
}

fn start() -> Option<Cluster> {
    let Some(bin) = programs() else {
        super::skip("PostgreSQL is not installed (Debian: apt-get install postgresql)");
        return None;
    };
    let folder = tempfile::Builder::new()
        .prefix("usher-pg")
        .tempdir()
        .unwrap()
        .keep();
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    if is_root() {
        run(Command::new("chown").args(["-R", "postgres"]).arg(&folder));
    }
    run(as_postgres(&bin.join("initdb"))
        .args([
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-U",
            "postgres",
            "-D",
        ])
        .arg(&data)
        .stdout(Stdio::null()));
    let port = super::free_port();
    let server = format!(
        "{} -D {} -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
         -c max_connections=300 -c deadlock_timeout=100ms -c log_min_messages=fatal & pid=$!; cat >/dev/null; kill -INT $pid; wait $pid; rm -rf '{}'",
        bin.join("postgres").display(),
        data.display(),
        folder.display(),
    );
    #[expect(clippy::zombie_processes, reason = "it lives as long as this process")]
    let watcher = as_postgres(Path::new("sh"))
        .args(["-c", &server])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..600 {
        let ready = as_postgres(&bin.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status()
            .unwrap();
        if ready.success() {
            return Some(Cluster {
                port,
                _watcher: Mutex::new(watcher),
            });
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "waits for another program, not for time"
        )]
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("PostgreSQL did not start within 30 s");
}

/// Where initdb is: on the PATH, or where Debian and Homebrew keep it.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|e| e.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    for prefix in ["/opt/homebrew/opt", "/usr/local/opt"] {
        for version in [
            "postgresql@18",
            "postgresql@17",
            "postgresql@16",
            "postgresql@15",
            "postgresql",
        ] {
            folders.push(Path::new(prefix).join(version).join("bin"));
        }
    }
    let needed = ["initdb", "postgres", "createdb", "pg_isready"];
    folders
        .into_iter()
        .find(|folder| needed.iter().all(|name| folder.join(name).exists()))
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command.current_dir("/");
        command
    } else {
        Command::new(program)
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?} failed");
}
