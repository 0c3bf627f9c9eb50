//! A server under test: its parts in this process with a clock that stands still, or the real program.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use usher::app::{self, Parts};
use usher::clock::Clock;
use usher::converge::{Connect, Options};
use usher::domain::{ConnectionKind, Role};
use usher::http::Doors;
use usher::store::settings;
use usher::store::tokens::{self, CredentialScheme};
use usher::store::{self, Store};
use usher::targets::memory::Memory;
use usher::vault::{self, Vault};

use super::Database;

/// A server in this process, on a port of its own, whose engine works only when `drain` is called.
pub struct App {
    /// Its parts.
    pub parts: Parts,
    /// Its clock, which the test moves.
    pub clock: Clock,
    /// `http://127.0.0.1:…/scim/v2`
    pub scim: String,
    client: reqwest::Client,
    handle: ServerHandle,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body, `Null` if there is none.
    pub json: Value,
}

impl Reply {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let json = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
        };
        Self {
            status,
            headers,
            json,
        }
    }

    /// The resource's id.
    pub fn id(&self) -> String {
        self.json["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no id in {}", self.json))
            .to_owned()
    }
}

impl App {
    /// Starts on `database`. Every target of the configuration is `memory`.
    pub async fn start(database: &Database, memory: &Memory) -> Self {
        let memory = memory.clone();
        Self::connected(database, Arc::new(move |_| Ok(Arc::new(memory.clone())))).await
    }

    /// The same, with lists of those who may come in.
    pub async fn start_with(database: &Database, memory: &Memory, doors: Doors) -> Self {
        let memory = memory.clone();
        Self::behind(
            database,
            Arc::new(move |_| Ok(Arc::new(memory.clone()))),
            doors,
        )
        .await
    }

    /// Starts on `database` with targets made by `connect`.
    pub async fn connected(database: &Database, connect: Connect) -> Self {
        Self::behind(database, connect, Doors::default()).await
    }

    async fn behind(database: &Database, connect: Connect, doors: Doors) -> Self {
        let store = database.open();
        let clock = Clock::manual(1_750_000_000_000_000);
        let key = vault::Source::Text(SecretString::from("A".repeat(42) + "A"));
        let parts = app::assemble(
            store,
            clock.clone(),
            connect,
            Some(Vault::open(&key).unwrap()),
            None,
            &Options::default(),
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = app::http_server(parts.state.clone().with_doors(doors), listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            parts,
            clock,
            scim: format!("http://{address}/scim/v2"),
            client: client(),
            handle,
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// `http://127.0.0.1:…`
    pub fn base(&self) -> &str {
        self.scim.trim_end_matches("/scim/v2")
    }

    /// Applies a configuration file.
    pub async fn apply(&self, toml: &str) -> app::Report {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usher.toml");
        std::fs::write(&path, toml).unwrap();
        let by = app::By {
            actor: "test",
            cause: "usher apply",
        };
        app::apply(self.store(), &self.clock, &path, by, false)
            .await
            .unwrap()
    }

    /// Makes a connection with that name and a bearer token for it.
    pub async fn connection(&self, name: &str, kind: ConnectionKind) -> String {
        let settings = usher::domain::ConnectionSettings::new(name, kind);
        let now = self.clock.now();
        self.store()
            .write(move |tx| -> Result<(), store::Error> {
                settings::put_connection(tx, &settings, now)?;
                settings::bump(tx)
            })
            .await
            .unwrap();
        self.token(name).await
    }

    /// A new bearer token for a connection.
    pub async fn token(&self, name: &str) -> String {
        use secrecy::ExposeSecret;
        let secret: SecretString = usher::auth::new_secret();
        let digest = usher::auth::bearer_digest(&secret);
        let (name, now) = (name.to_owned(), self.clock.now());
        self.store()
            .write(move |tx| -> Result<(), store::Error> {
                let id = tokens::connection_named(tx.conn(), &name)?.unwrap();
                tokens::insert(tx, &id, CredentialScheme::Bearer, "", &digest, None, now)?;
                Ok(())
            })
            .await
            .unwrap();
        secret.expose_secret().to_owned()
    }

    /// Sends a SCIM request; `path` begins with a slash.
    pub async fn send(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.send_with(token, method, path, body, &[]).await
    }

    /// The same with further headers.
    pub async fn send_with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = self
            .client
            .request(method.parse().unwrap(), format!("{}{path}", self.scim))
            .bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/scim+json")
                .body(body.to_string());
        }
        Reply::of(request).await
    }

    /// Sends a request to a path of the server itself.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let url = self.scim.replace("/scim/v2", path);
        let mut request = self.client.request(method.parse().unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        Reply::of(request).await
    }

    /// The header of a program that has this role at the seat.
    pub async fn shows(&self, role: Role) -> String {
        let seat = &self.parts.state.seat;
        let made = seat.new_token("test", role, "root", None).await.unwrap();
        format!("Bearer {}", made.1.expose_secret())
    }

    /// Calls the admin API as a program with this role.
    pub async fn api(&self, role: Role, method: &str, path: &str, body: Option<Value>) -> Reply {
        let shown = self.shows(role).await;
        let headers = [
            ("Authorization", shown.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.call(method, path, &headers, body).await
    }

    /// The text of a page, as a person with this role sees it.
    pub async fn page(&self, role: Role, path: &str) -> String {
        let shown = self.shows(role).await;
        let url = self.scim.replace("/scim/v2", path);
        let (status, text) = get_text(&url, &[("Authorization", &shown)]).await;
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Sends a form to a path of the server itself.
    pub async fn form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Reply {
        form(&self.scim.replace("/scim/v2", path), fields, headers).await
    }

    /// Sends a form of a page, as a person with this role. Returns the status and the page, and follows nothing.
    pub async fn submit(&self, role: Role, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let shown = self.shows(role).await;
        let headers = [
            ("Authorization", shown.as_str()),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let url = format!("{}{path}", self.base());
        let answer = filled_in(&client, &url, fields, &headers).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Works until nothing is due.
    pub async fn drain(&self) -> usize {
        self.parts.engine.drain().await.unwrap()
    }

    /// Moves the clock and works until nothing is due, `times` times: for work that was put off.
    pub async fn pass(&self, step: Duration, times: usize) {
        for _ in 0..times {
            self.clock
                .advance_ms(i64::try_from(step.as_millis()).unwrap());
            self.drain().await;
        }
    }

    /// Stops the HTTP server.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

/// The real program.
pub struct Process {
    child: Child,
    /// `http://127.0.0.1:…/scim/v2`
    pub scim: String,
    log: PathBuf,
}

impl Process {
    /// The program with its arguments, on a database.
    pub fn command(database: &Database, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
        command
            .args(arguments)
            .env("USHER_DATABASE_URL", &database.text);
        command
    }

    /// Runs a command to its end and returns its standard output.
    pub fn run(database: &Database, arguments: &[&str]) -> String {
        let output = Self::command(database, arguments).output().unwrap();
        assert!(
            output.status.success(),
            "usher {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts `usher serve` on `port` and waits until it is ready. The log goes to a file beside the database.
    pub async fn serve(database: &Database, port: u16, environment: &[(&str, &str)]) -> Self {
        let log = database.folder().join("serve.log");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Self::command(
            database,
            &["serve", "--listen", &format!("127.0.0.1:{port}")],
        )
        .envs(environment.iter().copied())
        .stderr(file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
        let process = Self {
            child,
            scim: format!("http://127.0.0.1:{port}/scim/v2"),
            log,
        };
        let probe = format!("http://127.0.0.1:{port}/readyz");
        for _ in 0..1500 {
            if client()
                .get(&probe)
                .send()
                .await
                .is_ok_and(|r| r.status().is_success())
            {
                return process;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server did not start: {}", process.log());
    }

    /// kill -9
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit status.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that runs. By the shell's own `kill`: the program of that name is no part of a small
/// Debian.
pub fn signal(process: u32, name: &str) {
    let kill = ["-c", "kill -s $0 $1", name, &process.to_string()];
    assert!(Command::new("sh").args(kill).status().unwrap().success());
}

/// Gets a URL.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = client().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::of(request).await
}

/// The status with which a URL is answered, whatever the body is.
pub async fn status(url: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = client().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status().as_u16()
}

/// Gets a URL whose answer is no JSON.
pub async fn get_text(url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = client().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Whether anything answers at a URL.
pub async fn reachable(url: &str) -> bool {
    client().get(url).send().await.is_ok()
}

/// The media type of an answer.
pub async fn kind_of(url: &str, headers: &[(&str, &str)]) -> String {
    let mut request = client().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let kind = answer.headers()[reqwest::header::CONTENT_TYPE].to_str();
    kind.unwrap().to_owned()
}

/// Sends a form to a URL.
pub async fn form(url: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
    Reply::of(filled_in(&client(), url, fields, headers)).await
}

fn filled_in(
    client: &reqwest::Client,
    url: &str,
    fields: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let encoded = |text: &str| {
        text.bytes()
            .map(|b| format!("%{b:02X}"))
            .collect::<String>()
    };
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    let mut request = client
        .post(url)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(pairs.join("&"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

#[expect(
    clippy::disallowed_methods,
    reason = "the client of a test needs no limits"
)]
fn client() -> reqwest::Client {
    reqwest::Client::new()
}
