//! What the story is played on: the emulated products, the emulated IDCS, and Usher in a process of its own.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use usher_emulators::idcs::{IdcsPush, Pushed};
use usher_emulators::idcs_domain::{DomainOptions, IdcsDomain};
use usher_emulators::jira::{Jira, JiraOptions, JiraUser};

use crate::beside::Beside;
use crate::cast::Cast;
use crate::screen::{JIRA, Screen, shown};

/// How long anything may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the demo looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Usher's usual port, taken if it is free.
const PORT: u16 = 8080;
/// What an administrator may have set in this shell, and what would lead Usher elsewhere.
const VARIABLES: [&str; 4] = [
    "USHER_DATABASE_URL",
    "USHER_LISTEN",
    "USHER_PUBLIC_URL",
    "USHER_LOG",
];

/// Everything together.
pub(crate) struct Stage {
    pub(crate) screen: Arc<Screen>,
    pub(crate) usher: Usher,
    pub(crate) jira: Jira,
    pub(crate) beside: Beside,
    pub(crate) jira_token: String,
    pub(crate) idcs: IdcsPush,
    /// The domain itself, which can be asked.
    pub(crate) domain: IdcsDomain,
    pub(crate) idcs_token: String,
    pub(crate) cast: Cast,
    /// Accounts that were in Jira before Usher came.
    pub(crate) others: Vec<JiraUser>,
    pub(crate) pushes: Arc<AtomicUsize>,
    broken_claims: usize,
    folder: Folder,
}

/// The program `usher` on one database.
pub(crate) struct Usher {
    program: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    port: u16,
    child: Option<Child>,
}

struct Folder {
    path: PathBuf,
    /// Made by the demo itself, so that it may take it away.
    own: bool,
}

impl Stage {
    /// Starts the emulators; Usher comes with [`Usher::serve`].
    pub(crate) fn set_up(dir: Option<PathBuf>, screen: &Arc<Screen>) -> anyhow::Result<Self> {
        let folder = Folder::make(dir)?;
        let jira = Jira::start(JiraOptions::default()).context("cannot start the emulated Jira")?;
        let listener = Arc::clone(screen);
        jira.on_event(Box::new(move |event| listener.changed(JIRA, event)));
        let usher = Usher::new(&folder.path)?;
        Ok(Self {
            screen: Arc::clone(screen),
            // Replaced once there is an address and a token.
            idcs: IdcsPush::new("http://127.0.0.1:9", ""),
            domain: IdcsDomain::start(DomainOptions::default())
                .context("cannot start the emulated domain")?,
            idcs_token: String::new(),
            usher,
            jira,
            beside: Beside::start(screen)?,
            jira_token: JiraOptions::default().token,
            cast: Cast::new(),
            others: Vec::new(),
            pushes: Arc::default(),
            broken_claims: 0,
            folder,
        })
    }

    /// Points IDCS at Usher.
    pub(crate) fn connect(&mut self, token: &str) {
        token.clone_into(&mut self.idcs_token);
        let (screen, pushes) = (Arc::clone(&self.screen), Arc::clone(&self.pushes));
        self.idcs = IdcsPush::new(&self.usher.scim(), token).with_log(move |line| {
            pushes.fetch_add(1, Ordering::Relaxed);
            screen.pushed(line);
        });
    }

    /// Pushes, and fails if Usher refuses.
    pub(crate) async fn push(
        &self,
        request: impl Future<Output = Pushed>,
    ) -> anyhow::Result<Pushed> {
        self.screen.push_begins();
        let pushed = request.await;
        self.screen.push_ends();
        ensure!(
            pushed.ok(),
            "Usher answered a push with {} {}{}",
            pushed.status,
            pushed.text,
            pushed.error.as_deref().unwrap_or_default()
        );
        Ok(pushed)
    }

    /// States that something holds.
    pub(crate) fn claim(&mut self, held: bool, text: &str) {
        self.screen.claim(held, text);
        if !held {
            self.broken_claims += 1;
        }
    }

    /// How many claims did not hold.
    pub(crate) fn broken_claims(&self) -> usize {
        self.broken_claims
    }

    /// Waits until nothing is missing any more.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut missing: impl FnMut(&Self) -> Vec<String>,
    ) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            let list = missing(self);
            if list.is_empty() {
                return Ok(started.elapsed());
            }
            if let Some(status) = self.usher.ended()? {
                bail!("Usher ended by itself ({status}) while the demo waited: {what}");
            }
            if started.elapsed() > PATIENCE {
                let first: Vec<String> = list.into_iter().take(5).collect();
                bail!(
                    "waited {} in vain: {what}; still open: {}; usher status: {}",
                    shown(PATIENCE),
                    first.join("; "),
                    self.usher.status()?
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until Jira and then the others are as IDCS wants them and Usher has nothing left to do; tells how long
    /// Jira took.
    pub(crate) async fn converged(&mut self, what: &str) -> anyhow::Result<Duration> {
        let took = self
            .until(what, |stage| stage.cast.differences(&stage.jira))
            .await?;
        self.until(what, |stage| stage.beside.differences(&stage.cast))
            .await?;
        self.until(what, |stage| match stage.usher.statuses() {
            Ok(all) if all.iter().all(|status| status["pending"] == 0) => Vec::new(),
            Ok(all) => vec![format!("usher status: {all:?}")],
            Err(error) => vec![format!("usher status: {error:#}")],
        })
        .await?;
        Ok(took)
    }

    /// Stops Usher and the products; keeps the folder if it is the user's, or for a look at what went wrong.
    pub(crate) async fn strike(mut self, keep: bool) -> anyhow::Result<()> {
        self.usher.stop().await?;
        if self.folder.own && !keep {
            std::fs::remove_dir_all(&self.folder.path)
                .with_context(|| format!("cannot remove {}", self.folder.path.display()))?;
        } else {
            let path = self.folder.path.display();
            self.screen.say(&format!(
                "Database, configuration and log are kept in {path}"
            ));
        }
        Ok(())
    }
}

impl Folder {
    fn make(dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = dir else {
            let path = tempfile::Builder::new()
                .prefix("usher-demo-")
                .tempdir()
                .context("cannot make a folder among the temporary ones")?
                .keep();
            return Ok(Self { path, own: true });
        };
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        // The commands that are printed must work from everywhere.
        let path = path.canonicalize()?;
        ensure!(
            !path.join("usher.db").exists(),
            "{} has a database already: the demo begins with a fresh one",
            path.display()
        );
        Ok(Self { path, own: false })
    }
}

impl Usher {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            program: std::env::current_exe().context("cannot find this program itself")?,
            folder: folder.to_owned(),
            log: folder.join("usher.log"),
            port: 0,
            child: None,
        })
    }

    /// `sqlite:/…/usher.db`
    pub(crate) fn database(&self) -> String {
        format!("sqlite:{}", self.folder.join("usher.db").display())
    }

    /// A file beside the database.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a script beside the database: this program on this database, whatever the shell's folder.
    pub(crate) fn write_script(&self) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("usher");
        let program = self.program.display().to_string();
        let (program, database) = (quoted(&program), quoted(&self.database()));
        let text = format!("#!/bin/sh\nexec {program} usher --database-url {database} \"$@\"\n");
        write_with_mode(&path, &text, 0o700)?;
        Ok(path)
    }

    /// Where its log goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The base URL for IDCS.
    pub(crate) fn scim(&self) -> String {
        format!("http://127.0.0.1:{}/scim/v2", self.port)
    }

    /// Runs a command to its end; what it prints for people is its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self
            .command(arguments)
            .output()
            .context("cannot start usher")?;
        ensure!(
            output.status.success(),
            "usher {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// `usher status --json` of every target.
    pub(crate) fn statuses(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.run(&["status", "--json"])?;
        let mut status: Value = serde_json::from_str(&text)
            .with_context(|| format!("usher status --json is no JSON: {text}"))?;
        match status["targets"].take() {
            Value::Array(all) => Ok(all),
            _ => bail!("usher status --json names no targets: {text}"),
        }
    }

    /// The same of Jira alone.
    pub(crate) fn status(&self) -> anyhow::Result<Value> {
        let all = self.statuses()?;
        let jira = all.into_iter().find(|status| status["name"] == "jira");
        jira.context("usher status does not name jira")
    }

    /// Starts the server and waits until it is ready. It comes back on the port it had.
    pub(crate) async fn serve(&mut self) -> anyhow::Result<Duration> {
        if self.port == 0 {
            // Somebody may take the port between the look and the start; then any will do.
            let free = TcpListener::bind(("127.0.0.1", PORT)).is_ok();
            if free && let Ok(took) = self.serve_on(PORT).await {
                return Ok(took);
            }
        }
        self.serve_on(self.port).await
    }

    async fn serve_on(&mut self, port: u16) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        let begin = log.metadata()?.len();
        let listen = format!("127.0.0.1:{port}");
        let child = self
            .command(&["serve", "--listen", &listen])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start usher serve")?;
        self.child = Some(child);
        loop {
            // From its own log, so that no other server on that port can be taken for it.
            if let Some(port) = self.ready_since(begin) {
                self.port = port;
                return Ok(started.elapsed());
            }
            if let Some(status) = self.ended()? {
                self.child = None;
                bail!("usher serve ended ({status}): {}", self.last_log());
            }
            if started.elapsed() > PATIENCE {
                bail!("usher serve is not ready after {}", shown(PATIENCE));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a line of the log with this message says, beginning with the last one.
    pub(crate) fn logged(&self, message: &str) -> Option<Value> {
        let text = std::fs::read_to_string(&self.log).ok()?;
        let mut lines = text
            .lines()
            .rev()
            .filter_map(|it| serde_json::from_str(it).ok());
        lines.find(|line: &Value| line["message"] == message)
    }

    fn ready_since(&self, begin: u64) -> Option<u16> {
        let text = std::fs::read(&self.log).ok()?;
        let text = String::from_utf8_lossy(text.get(usize::try_from(begin).ok()?..)?);
        let mut lines = text.lines().filter_map(|it| serde_json::from_str(it).ok());
        let ready = lines.find(|line: &Value| line["message"] == "ready")?;
        let (_, port) = ready["address"].as_str()?.rsplit_once(':')?;
        port.parse().ok()
    }

    /// kill -9
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("Usher does not run")?;
        child.kill().context("cannot kill Usher")?;
        child.wait().context("cannot wait for Usher's end")?;
        Ok(())
    }

    /// How it ended, if it did without being asked to.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    /// SIGTERM, and its end.
    async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(child) = &self.child else {
            return Ok(());
        };
        let asked = Instant::now();
        // Ctrl-C on a terminal has reached it already; then this one comes too late, which is fine. The shell's own
        // `kill`: the program of that name is no part of a small Debian.
        let _ = Command::new("sh")
            .args(["-c", "kill $0", &child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        while self.ended()?.is_none() {
            if asked.elapsed() > PATIENCE {
                self.kill()?;
                bail!("Usher did not stop within {}", shown(PATIENCE));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.child = None;
        Ok(())
    }

    /// The end of the log, for somebody who wonders what went wrong.
    pub(crate) fn show_log(&self, screen: &Screen) {
        screen.say(&format!("The end of Usher's log, {}:", self.log.display()));
        for line in self.last_log().lines() {
            screen.line(line);
        }
    }

    fn last_log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(15);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("usher")
            .args(["--database-url", &self.database()])
            .args(arguments);
        for name in VARIABLES {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for Usher {
    fn drop(&mut self) {
        // Only reached with a child when the demo itself fails: nothing may go on running.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes a file that only this user can read.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    write_with_mode(path, text, 0o600)
}

/// For a shell.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn write_with_mode(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::io::Write;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(mode);
    }
    let mut file: File = options
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
