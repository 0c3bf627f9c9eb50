//! Commands that work through the API of a running server: `--server`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{Command, held, output};
use crate::outbound::{Client, Credential, Method, Options, Request, segment};

/// How often a run is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);
/// The most rows that the API gives at once.
const PAGE: usize = 500;

/// Where the server is.
#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// Work through the API of the server at this address instead of on the database. The API token is taken from
    /// the environment variable USHER_API_TOKEN, or from the file that USHER_API_TOKEN_FILE names.
    #[arg(
        long = "server",
        global = true,
        env = "USHER_SERVER",
        value_name = "URL"
    )]
    url: Option<String>,
}

impl Server {
    /// A way to it, if one was named.
    pub(super) fn connect(&self) -> anyhow::Result<Option<Remote>> {
        let Some(url) = &self.url else {
            return Ok(None);
        };
        let options = Options {
            // Plans and tests of targets take their time.
            timeout: Duration::from_secs(120),
            ..Options::default()
        };
        let client = Client::new(url, Credential::Bearer(token()?), options)
            .context("--server (USHER_SERVER)")?;
        Ok(Some(Remote(client)))
    }
}

fn token() -> anyhow::Result<SecretString> {
    let text = match (
        std::env::var("USHER_API_TOKEN"),
        std::env::var_os("USHER_API_TOKEN_FILE").map(PathBuf::from),
    ) {
        (Ok(text), _) if !text.trim().is_empty() => text,
        (_, Some(path)) => std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        _ => bail!(
            "--server needs an API token in USHER_API_TOKEN or USHER_API_TOKEN_FILE; `usher admin token` makes one"
        ),
    };
    Ok(SecretString::from(text.trim()))
}

/// The API of a server.
pub(super) struct Remote(Client);

impl Remote {
    /// Runs a command there.
    pub(super) async fn run(&self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Status(arguments) => {
                let answer = self.get("/status", &[]).await?;
                show(&answer["targets"], &answer, arguments.json)
            }
            Command::Explain(arguments) => {
                let id = self.person(&arguments.user).await?;
                let mut answer = self.get(&format!("/people/{}", segment(&id)), &[]).await?;
                if let Some(target) = &arguments.target {
                    for list in ["targets", "history"] {
                        if let Some(rows) = answer[list].as_array_mut() {
                            rows.retain(|row| row["target"] == **target);
                        }
                    }
                }
                show(&answer, &answer, arguments.json)
            }
            Command::Audit(arguments) => self.audit(arguments).await,
            Command::Held(arguments) => self.held(arguments).await,
            Command::Sync(arguments) => self.sync(arguments).await,
            Command::Plan(arguments) => self.plan(arguments).await,
            Command::Runs(arguments) => {
                let (path, query) = match &arguments.run {
                    Some(id) => (format!("/runs/{}", segment(id)), Vec::new()),
                    None => {
                        let connection = arguments.connection.clone().unwrap_or_default();
                        let limit = arguments.limit.min(PAGE as i64).to_string();
                        (
                            "/runs".to_owned(),
                            vec![("connection", connection), ("limit", limit)],
                        )
                    }
                };
                let answer = self.get(&path, &pairs(&query)).await?;
                let rows = answer.get("items").unwrap_or(&answer).clone();
                show(&rows, &answer, arguments.json)
            }
            Command::Pause(super::pause::Arguments {
                user: Some(user),
                reason,
                ..
            }) => {
                let id = self.person(&user).await?;
                let path = format!("/people/{}/pause", segment(&id));
                self.post(&path, json!({ "reason": reason })).await?;
                output::line(&format!(
                    "{user}: paused; `usher resume --user` lets it go on"
                ));
                Ok(())
            }
            Command::Resume(super::pause::ResumeArguments {
                user: Some(user), ..
            }) => {
                let id = self.person(&user).await?;
                let path = format!("/people/{}/resume", segment(&id));
                self.post(&path, json!({})).await?;
                output::line(&format!("{user}: goes on"));
                Ok(())
            }
            Command::Pause(arguments) => {
                let body = json!({"target": arguments.target, "reason": arguments.reason});
                let answer = self.post("/pause", body).await?;
                output::line(&format!("{} targets are paused", answer["count"]));
                Ok(())
            }
            Command::Resume(arguments) => {
                let answer = self
                    .post("/resume", json!({"target": arguments.target}))
                    .await?;
                output::line(&format!("{} targets go on", answer["count"]));
                Ok(())
            }
            Command::Export => {
                let answer = self.get("/configuration", &[]).await?;
                output::line(answer["text"].as_str().unwrap_or_default().trim_end());
                Ok(())
            }
            Command::Apply(arguments) => {
                let text = std::fs::read_to_string(&arguments.file)
                    .with_context(|| format!("cannot read {}", arguments.file.display()))?;
                let body = json!({"text": text, "dry_run": arguments.plan});
                let answer = self
                    .send(Method::PUT, "/configuration", &[], Some(body))
                    .await?;
                show(&answer["parts"], &answer, false)?;
                for note in answer["notes"].as_array().into_iter().flatten() {
                    output::note(note.as_str().unwrap_or_default());
                }
                if let Some(version) = answer["version"].as_i64() {
                    output::note(&format!("kept as version {version}"));
                }
                Ok(())
            }
            _ => bail!(
                "this command works on the database itself: run it where the database can be reached, without --server"
            ),
        }
    }

    async fn held(&self, arguments: held::Arguments) -> anyhow::Result<()> {
        let Some((which, release)) = arguments.decision() else {
            let answer = self.get("/held", &[]).await?;
            if arguments.json {
                return output::json(&answer);
            }
            if [&answer["removals"], &answer["others"]]
                .iter()
                .all(|rows| rows.as_array().is_none_or(Vec::is_empty))
            {
                output::note("nothing is held");
                return Ok(());
            }
            rows(&answer["removals"]);
            rows(&answer["others"]);
            return Ok(());
        };
        let users = if which.everybody() {
            Value::Null
        } else {
            let mut ids = Vec::new();
            for name in which.people() {
                ids.push(self.person(name).await?);
            }
            json!(ids)
        };
        let body = json!({"target": which.target(), "brake": which.brake(), "users": users});
        let (path, word) = if release {
            ("/held/release", "released")
        } else {
            ("/held/discard", "discarded")
        };
        let answer = self.post(path, body).await?;
        output::line(&format!("{} held removals are {word}", answer["count"]));
        Ok(())
    }

    async fn sync(&self, arguments: super::sync::Arguments) -> anyhow::Result<()> {
        if let Some(user) = &arguments.user {
            let id = self.person(user).await?;
            self.post(&format!("/people/{}/retry", segment(&id)), json!({}))
                .await?;
            output::line(&format!("{user}: looked at again at every target"));
            return Ok(());
        }
        let path = format!("/connections/{}/sync", segment(&arguments.connection));
        let begun = self.post(&path, json!({"full": arguments.full})).await?;
        let run = begun["run"].as_str().unwrap_or_default().to_owned();
        let path = format!("/runs/{}", segment(&run));
        let mut told = String::new();
        let answer = loop {
            let answer = self.get(&path, &[]).await?;
            if answer["state"] != "running" {
                break answer;
            }
            let far = &answer["progress"];
            let text = format!("{} {}", text(&far["phase"]), text(&far["done"]));
            if std::io::stderr().is_terminal() && !far.is_null() && text != told {
                output::note(&text);
                told = text;
            }
            tokio::time::sleep(LOOK).await;
        };
        show(&answer, &answer, arguments.json)?;
        match (answer["state"].as_str(), answer["message"].as_str()) {
            (Some("done"), _) => Ok(()),
            (_, Some(message)) => bail!("{message}"),
            _ => bail!("the run did not come to its end"),
        }
    }

    async fn plan(&self, arguments: super::plan::Arguments) -> anyhow::Result<()> {
        let text = match &arguments.file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?,
            ),
            None => None,
        };
        let body = json!({
            "connection": arguments.connection, "target": arguments.target, "user": arguments.user, "text": text,
            "sample": arguments.sample.min(PAGE),
        });
        let answer = self.post("/plan", body).await?;
        if arguments.json {
            return output::json(&answer);
        }
        for person in answer["people"].as_array().into_iter().flatten() {
            let reason = person["reason"]
                .as_str()
                .map_or_else(String::new, |why| format!(": {why}"));
            output::line(&format!(
                "{} at {}{reason}",
                self::text(&person["user_name"]),
                self::text(&person["target"])
            ));
            for operation in person["operations"].as_array().into_iter().flatten() {
                output::line(&format!(
                    "  {} ({})",
                    self::text(&operation["text"]),
                    self::text(&operation["because"])
                ));
            }
        }
        rows(&answer["summaries"]);
        if answer["complete"] == false {
            bail!(
                "not everybody was looked at in time: at least {} people change",
                answer["changing"]
            );
        }
        Ok(())
    }

    async fn audit(&self, arguments: super::audit::Arguments) -> anyhow::Result<()> {
        let mut query = arguments.as_query()?;
        let mut left = arguments.most().unwrap_or(usize::MAX);
        loop {
            let mut asked = query.clone();
            asked.push(("limit", left.min(PAGE).to_string()));
            let answer = self.get("/audit", &pairs(&asked)).await?;
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            left = left.saturating_sub(items.len());
            for item in &items {
                output::json_line(item);
            }
            match answer["next"].as_str() {
                Some(next) if left > 0 => {
                    query.retain(|(key, _)| *key != "cursor");
                    query.push(("cursor", next.to_owned()));
                }
                _ => return Ok(()),
            }
        }
    }

    /// The id of the person with that user name or id.
    async fn person(&self, name: &str) -> anyhow::Result<String> {
        let limit = PAGE.to_string();
        let answer = self
            .get("/people", &[("q", name), ("limit", &limit)])
            .await?;
        let people = answer["items"].as_array().cloned().unwrap_or_default();
        let exact = people
            .iter()
            .find(|it| text(&it["user_name"]).eq_ignore_ascii_case(name));
        match exact.or(people.first().filter(|_| people.len() == 1)) {
            Some(person) => Ok(text(&person["id"])),
            // Perhaps it is an id.
            None if name.len() == 32 => Ok(name.to_owned()),
            None if people.is_empty() => bail!("nobody's name or address contains {name:?}"),
            None => bail!(
                "{} people are meant by {name:?}: give the whole user name",
                people.len()
            ),
        }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        self.send(Method::GET, path, query, None).await
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let path = format!("/api/v1{path}");
        let request = Request {
            method,
            path: &path,
            query,
            body,
            ..Request::default()
        };
        let answer = self
            .0
            .send(request)
            .await
            .map_err(|e| anyhow!("{}: {e}", self.0.base_url()))?;
        if answer.is_success() {
            return Ok(answer.value().unwrap_or(Value::Null));
        }
        let problem = answer.value().unwrap_or_default();
        let mut said = problem["detail"]
            .as_str()
            .unwrap_or("no reason given")
            .to_owned();
        for wrong in problem["errors"].as_array().into_iter().flatten() {
            said.push_str(&format!("\n{}", text(&wrong["detail"])));
        }
        bail!("the server answers {}: {said}", answer.status)
    }
}

fn pairs<'a>(query: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    query
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect()
}

/// An answer: as JSON, or its rows as a table, or its fields as lines.
fn show(shown: &Value, whole: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(whole);
    }
    match shown {
        Value::Array(_) => rows(shown),
        Value::Object(fields) => lines(fields),
        other => output::line(&text(other)),
    }
    Ok(())
}

fn lines(fields: &Map<String, Value>) {
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Array(list) if list.iter().any(Value::is_object) => {
                output::line(&format!("{}:", name.replace('_', " ")));
                for entry in list {
                    output::line(&format!("  {}", inline(entry)));
                }
            }
            other => output::line(&format!("{}: {}", name.replace('_', " "), inline(other))),
        }
    }
}

/// A value on one line, without what is empty.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !is_empty(value))
            .map(|(name, value)| format!("{} {}", name.replace('_', " "), inline(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Array(list) => list.iter().map(inline).collect::<Vec<_>>().join("; "),
        other => text(other),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(_) => false,
    }
}

/// Objects as a table. A column that is empty in all of them is left out.
fn rows(list: &Value) {
    let list: Vec<&Map<String, Value>> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .collect();
    let Some(first) = list.first() else { return };
    let columns: Vec<&String> = first
        .keys()
        .filter(|name| {
            list.iter()
                .any(|row| row.get(*name).is_some_and(|it| !it.is_null()))
        })
        .collect();
    let header: Vec<String> = columns
        .iter()
        .map(|name| name.replace('_', " ").to_uppercase())
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let cells = |row: &&Map<String, Value>| {
        columns
            .iter()
            .map(|name| row.get(*name).map_or_else(String::new, inline))
            .collect()
    };
    output::table(&header, list.iter().map(cells).collect());
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
