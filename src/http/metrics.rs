//! `GET /metrics`, for Prometheus: what this process counted, and how things stand in the database, which is the
//! same whichever server is asked.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;

use super::State;
use super::problem::Problem;
use crate::clock::Micros;
use crate::domain::Expiry;
use crate::metrics::Gauges;
use crate::store::figures::{self, Figures};
use crate::store::work::TargetStatus;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The states of queued work that always have a value, so that a zero is a zero and not a gap.
const QUEUE_STATES: &[&str] = &["pending", "waiting", "rejected", "held", "shadow", "grace"];
const TARGET_STATES: &[&str] = &["up", "down", "unauthorized"];
const RUN_RESULTS: &[&str] = &["done", "void", "failed"];

/// `GET /metrics`
pub(super) async fn show(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    admit(&state, &request).await?;
    let now = state.clock.now();
    let figures = state.store.read(figures::read).await?;
    let mut gauges = gauges(&figures, now);
    pool(&state, &mut gauges);
    let text = state.engine.metrics().text(&gauges).map_err(|error| {
        tracing::error!(%error, "the metrics could not be written");
        Problem::new(500, "the metrics could not be written")
    })?;
    Ok(HttpResponse::Ok().content_type(TYPE).body(text))
}

/// Lets in whoever has an API token, whatever its role, and who is on the list.
async fn admit(state: &State, request: &HttpRequest) -> Result<(), Problem> {
    let listed = state
        .doors
        .client(request)
        .is_some_and(|address| state.doors.metrics.contain(address));
    if listed {
        return Ok(());
    }
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| SecretString::from(token.trim()));
    let actor = match token {
        Some(token) => state.seat.by_token(&token).await?,
        None => None,
    };
    actor.map(|_| ()).ok_or_else(|| {
        Problem::new(
            401,
            "the metrics need `Authorization: Bearer` with an API token, or an address on the list of \
             --metrics-from",
        )
    })
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
}

fn is(condition: bool) -> Option<f64> {
    Some(f64::from(u8::from(condition)))
}

fn gauges(figures: &Figures, now: Micros) -> Gauges {
    let mut gauges = Gauges::default();
    gauges.add(
        "usher_build_info",
        "The version of this server",
        [(
            vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
            Some(1.0),
        )],
    );
    queues(figures, now, &mut gauges);
    targets(&figures.targets, now, &mut gauges);
    gauges.add(
        "usher_people_paused",
        "People for whom nothing is written because somebody stopped it",
        std::iter::once((Vec::new(), Some(figures.paused_people as f64))),
    );
    connections(figures, &mut gauges);
    credentials(figures, now, &mut gauges);
    gauges
}

fn queues(figures: &Figures, now: Micros, gauges: &mut Gauges) {
    let each = || {
        figures.targets.iter().flat_map(move |target| {
            QUEUE_STATES.iter().map(move |state| {
                let depth = figures
                    .depths
                    .iter()
                    .find(|d| d.target_id == target.target_id.as_str() && d.state == *state);
                let labels = vec![
                    ("target", target.name.clone()),
                    ("state", (*state).to_owned()),
                ];
                (labels, depth)
            })
        })
    };
    gauges.add(
        "usher_queue_items",
        "People whose work at a target is in this state",
        each().map(|(labels, depth)| (labels, Some(depth.map_or(0.0, |d| d.items as f64)))),
    );
    gauges.add(
        "usher_queue_oldest_seconds",
        "Since when the oldest work in this state is marked; 0 without any",
        each().map(|(labels, depth)| {
            let age = depth
                .and_then(|d| d.oldest_at)
                .map_or(0.0, |at| seconds((now - at).max(0)));
            (labels, Some(age))
        }),
    );
}

fn targets(targets: &[TargetStatus], now: Micros, gauges: &mut Gauges) {
    let named = |target: &TargetStatus| vec![("target", target.name.clone())];
    gauges.add(
        "usher_target_state",
        "1 for the state that the breaker of a target is in",
        targets.iter().flat_map(|target| {
            TARGET_STATES.iter().map(move |state| {
                let mut labels = named(target);
                labels.push(("state", (*state).to_owned()));
                (labels, is(target.health.state == *state))
            })
        }),
    );
    gauges.add(
        "usher_target_paused",
        "1 for a target that somebody has stopped",
        targets
            .iter()
            .map(|target| (named(target), is(target.pause.is_some()))),
    );
    gauges.add(
        "usher_target_failures",
        "Failures in a row",
        targets
            .iter()
            .map(|target| (named(target), Some(f64::from(target.health.failures)))),
    );
    gauges.add(
        "usher_target_success_age_seconds",
        "Since when a target last did what it was asked",
        targets.iter().map(|target| {
            let age = target.health.last_success_at;
            (named(target), age.map(|at| seconds((now - at).max(0))))
        }),
    );
    gauges.add(
        "usher_held_people",
        "People of whom a brake holds something",
        targets
            .iter()
            .map(|target| (named(target), Some(target.braked as f64))),
    );
}

fn connections(figures: &Figures, gauges: &mut Gauges) {
    gauges.add(
        "usher_last_push_timestamp_seconds",
        "When the identity provider last wrote over SCIM, to the minute",
        figures.connections.iter().map(|connection| {
            let labels = vec![("connection", connection.name.clone())];
            (labels, connection.pushed_at.map(seconds))
        }),
    );
    gauges.add(
        "usher_run_last_result",
        "1 for how the last run of a connection that has ended did end",
        figures
            .connections
            .iter()
            .filter_map(|connection| Some((connection, connection.last_run.as_ref()?)))
            .flat_map(|(connection, run)| {
                RUN_RESULTS.iter().map(move |result| {
                    let labels = vec![
                        ("connection", connection.name.clone()),
                        ("result", (*result).to_owned()),
                    ];
                    (labels, is(run.state == *result))
                })
            }),
    );
    gauges.add(
        "usher_run_last_timestamp_seconds",
        "When a run of a connection last ended with this result",
        figures.connections.iter().flat_map(|connection| {
            connection.ended.iter().map(move |(result, at)| {
                let labels = vec![
                    ("connection", connection.name.clone()),
                    ("result", result.clone()),
                ];
                (labels, Some(seconds(*at)))
            })
        }),
    );
}

fn credentials(figures: &Figures, now: Micros, gauges: &mut Gauges) {
    let days = |at: Micros| seconds(at - now) / 86_400.0;
    let inbound = figures.credentials.iter().map(|credential| {
        let labels = vec![
            ("kind", credential.scheme.clone()),
            ("of", credential.connection.clone()),
            ("id", credential.id.clone()),
        ];
        (labels, credential.expires_at.map(days))
    });
    let tokens = figures.api_tokens.iter().map(|token| {
        let labels = vec![
            ("kind", "api".to_owned()),
            ("of", "usher".to_owned()),
            ("id", token.id.clone()),
        ];
        (labels, token.expires_at.map(days))
    });
    let outbound = figures.token_ends.iter().map(|(target, on)| {
        let labels = vec![
            ("kind", "target".to_owned()),
            ("of", target.clone()),
            ("id", String::new()),
        ];
        (labels, Some(Expiry::of(*on, now).days_left as f64))
    });
    gauges.add(
        "usher_credential_expires_days",
        "Days until a credential ends that has an end; negative after it",
        inbound.chain(tokens).chain(outbound),
    );
}

fn pool(state: &State, gauges: &mut Gauges) {
    let pool = state.store.pool();
    let of = |kind: &str| vec![("state", kind.to_owned())];
    gauges.add(
        "usher_database_connections",
        "Connections of this server to the database",
        [
            (of("idle"), Some(f64::from(pool.idle))),
            (of("busy"), Some(f64::from(pool.busy))),
        ],
    );
    gauges.one(
        "usher_database_connections_max",
        "How many connections to the database there may be",
        f64::from(pool.most),
    );
    if let Some(bytes) = resident_bytes() {
        gauges.one(
            "process_resident_memory_bytes",
            "Memory of this server",
            bytes,
        );
    }
}

/// Linux tells; elsewhere the metric is left out.
fn resident_bytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}
