//! Runs: what each reading of a domain did, how far one is, and the button that begins one.

use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::json;

use super::super::State;
use super::super::download;
use super::super::problem::Problem;
use super::super::runs::{self, Named, Progress};
use super::{Frame, html, see_other, when};
use crate::auth::seat::Actor;
use crate::clock::ago;
use crate::domain::Role;
use crate::reconcile::Counts;
use crate::store::runs as stored;
use crate::store::runs::RunResult;

/// Runs on a page.
const PAGE: usize = 50;
/// Lines of a run on a page.
const LINES: usize = 200;
/// Lines that a download reads at a time.
const PIECE: i64 = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    connection: String,
    #[serde(default)]
    before: String,
}

/// A run as it is shown.
struct Row {
    id: String,
    connection: String,
    kind: String,
    cause: String,
    state: String,
    tone: &'static str,
    began: String,
    lasted: String,
    message: Option<String>,
    counts: Counts,
    progress: Option<Progress>,
    running: bool,
}

impl Row {
    fn of(named: Named, now: crate::clock::Micros) -> Self {
        let (counts, progress) = (named.counts(), named.progress());
        let Named { run, connection } = named;
        Self {
            connection,
            counts,
            progress,
            running: run.state == "running",
            tone: match run.state.as_str() {
                "done" => "good",
                "running" => "",
                "void" => "warn",
                _ => "bad",
            },
            began: when(run.started_at),
            lasted: ago(run.ended_at.unwrap_or(now) - run.started_at),
            id: run.id,
            kind: run.kind,
            cause: run.cause,
            state: run.state,
            message: run.message,
        }
    }
}

#[derive(Template)]
#[template(path = "runs.html", config = "src/http/ui/askama.toml")]
struct List {
    frame: Frame,
    search: Search,
    connections: Vec<String>,
    runs: Vec<Row>,
    next: Option<String>,
    may_operate: bool,
}

/// `GET /runs`
pub(super) async fn list(
    state: web::Data<State>,
    actor: Actor,
    search: web::Query<Search>,
) -> Result<HttpResponse, Problem> {
    let search = search.into_inner();
    let found = runs::list(
        &state,
        search.connection.clone(),
        search.before.clone(),
        PAGE,
    )
    .await?;
    let now = state.clock.now();
    let next = found.next.map(|next| {
        let connection = crate::http::encoded(&search.connection);
        format!("/runs?connection={connection}&before={next}")
    });
    let page = List {
        may_operate: actor.role.includes(Role::Operator),
        frame: Frame::new("Runs", "/runs", actor),
        search,
        connections: found.connections,
        runs: found
            .runs
            .into_iter()
            .map(|run| Row::of(run, now))
            .collect(),
        next,
    };
    Ok(html(200, &page))
}

#[derive(Template)]
#[template(path = "run.html", config = "src/http/ui/askama.toml")]
struct One {
    frame: Frame,
    run: Row,
    results: Vec<RunResult>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: String,
}

/// `GET /runs/{id}`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
    after: web::Query<After>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let run = runs::get(&state, id.clone()).await?;
    let (wanted, after) = (id.clone(), after.into_inner().after);
    let mut results = state
        .store
        .read(move |conn| stored::results_after(conn, &wanted, &after, LINES as i64 + 1))
        .await?;
    let more = results.len() > LINES;
    results.truncate(LINES);
    let next = results
        .last()
        .filter(|_| more)
        .map(|(place, _)| format!("/runs/{id}?after={place}"));
    let run = Row::of(run, state.clock.now());
    let page = One {
        frame: Frame::new(
            format!("{} run of {}", capital(&run.kind), run.connection),
            "/runs",
            actor,
        ),
        run,
        results: results.into_iter().map(|(_, result)| result).collect(),
        next,
    };
    Ok(html(200, &page))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Begin {
    /// `full`, or nothing.
    #[serde(default)]
    extent: String,
}

/// `POST /connections/{name}/sync`
pub(super) async fn begin(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    form: web::Form<Begin>,
) -> Result<HttpResponse, Problem> {
    let full = form.extent == "full";
    let run = runs::begin(&state, &actor, &name, full, "pages").await?;
    Ok(see_other(&format!("/runs/{run}")))
}

/// `GET /runs/{id}/results.csv`
pub(super) async fn csv(
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let head = download::csv_line(&["subject", "id", "change", "detail", "missed push"]);
    let line = |result: &RunResult, _| {
        download::csv_line(&[
            &result.subject,
            result.subject_id.as_deref().unwrap_or_default(),
            &result.change,
            &result.detail,
            if result.missed_push { "yes" } else { "no" },
        ])
    };
    all(
        &state,
        id.into_inner(),
        ("csv", "text/csv; charset=utf-8"),
        (head, ""),
        line,
    )
    .await
}

/// `GET /runs/{id}/results.json`
pub(super) async fn json(
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let line = |result: &RunResult, first| {
        let line = json!({"subject": result.subject, "id": result.subject_id, "change": result.change,
            "detail": result.detail, "missed_push": result.missed_push});
        format!("{}{line}", if first { "\n" } else { ",\n" })
    };
    let around = ("[".to_owned(), "\n]\n");
    all(
        &state,
        id.into_inner(),
        ("json", "application/json"),
        around,
        line,
    )
    .await
}

/// Everything that a run changed, as a file. `line` is told whether it is the first one.
async fn all(
    state: &State,
    id: String,
    (extension, kind): (&str, &'static str),
    (head, foot): (String, &'static str),
    line: impl Fn(&RunResult, bool) -> String + 'static,
) -> Result<HttpResponse, Problem> {
    let run = runs::get(state, id.clone()).await?;
    let name = format!("usher-run-{}-{id}.{extension}", run.run.kind);
    let (answer, sender) = download::file(&name, kind);
    let store = state.store.clone();
    actix_web::rt::spawn(async move {
        let (mut text, mut after, mut first) = (head, String::new(), true);
        loop {
            let (wanted, place) = (id.clone(), after.clone());
            let page = store
                .read(move |conn| stored::results_after(conn, &wanted, &place, PIECE))
                .await;
            // A file that breaks off has no end, so nobody takes it for a whole one.
            let Ok(page) = page else { return };
            for (place, result) in &page {
                text.push_str(&line(result, first));
                first = false;
                after.clone_from(place);
            }
            let ended = (page.len() as i64) < PIECE;
            if ended {
                text.push_str(foot);
            }
            if sender
                .send(Bytes::from(std::mem::take(&mut text)))
                .await
                .is_err()
                || ended
            {
                return;
            }
        }
    });
    Ok(answer)
}
