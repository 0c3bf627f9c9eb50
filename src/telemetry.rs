//! Logs: for people on a terminal, JSON otherwise. Static messages, variable parts as fields, no secrets. And traces
//! over OTLP, where a collector is named.

use std::cell::Cell;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider};
use sha2::{Digest, Sha256};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Where the collector is, by the specification of OpenTelemetry. Without one of them nothing is exported.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// The name of the service, by the same specification.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// Whether there is a collector: without one nothing is worked out for it.
static IS_EXPORTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The ids of the span that is about to begin on this thread.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Traces cannot be exported as the environment has it.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be exported: {0} (see OTEL_EXPORTER_OTLP_ENDPOINT)")]
pub struct Error(String);

/// What there is to be done before the program ends.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    /// Sends the spans that are left.
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces could not be exported");
        }
    }
}

/// Starts logging to standard error; `USHER_LOG` sets what is logged, as in `info,usher=debug`. For a server also the
/// export of traces, if the environment names a collector. Not within a runtime: the exporter has one of its own.
///
/// # Errors
/// The environment names a collector that cannot be one.
pub fn init(is_server: bool) -> Result<Telemetry, Error> {
    let filter = EnvFilter::try_from_env("USHER_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    let lines = if std::io::stderr().is_terminal() {
        lines.boxed()
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    };
    let is_named = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let provider = (is_server && ENDPOINTS.iter().any(is_named))
        .then(provider)
        .transpose()?;
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("usher"))
            .with_location(false)
            .with_threads(false)
            .with_filter(Targets::new().with_target("usher", tracing::Level::DEBUG))
    });
    IS_EXPORTED.store(provider.is_some(), Ordering::Relaxed);
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(traces)
        .try_init();
    Ok(Telemetry(provider))
}

fn provider() -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .build()
        .map_err(|e| Error(e.to_string()))?;
    let resource = Resource::builder();
    let resource = match std::env::var(SERVICE_NAME) {
        Ok(name) if !name.is_empty() => resource,
        _ => resource.with_service_name("usher"),
    };
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.with_attribute(version).build())
        .with_id_generator(Ids(RandomIdGenerator::default()))
        .build())
}

/// Has the trace of a request begin with this span: the id of the request is that of the trace, so that whoever has the
/// one finds the other.
pub fn begin(span: &Span, request: &str) {
    if !IS_EXPORTED.load(Ordering::Relaxed) {
        return;
    }
    NEXT.set(Some(ids(request)));
    // That its context is asked for has the span begin.
    let _ = span.context();
    NEXT.set(None);
}

/// Has a span belong to the trace of the request that `cause` names, if it names one.
pub fn follow(span: &Span, cause: &str) {
    let Some(request) = request_of(cause).filter(|_| IS_EXPORTED.load(Ordering::Relaxed)) else {
        return;
    };
    let (trace, parent) = ids(request);
    let parent = SpanContext::new(
        trace,
        parent,
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    // A span that nobody listens to belongs to nothing.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// The request in a cause, as in `push from corp: PATCH /scim/v2/Users/1 (request 0198…)`.
fn request_of(cause: &str) -> Option<&str> {
    let (_, rest) = cause.rsplit_once("(request ")?;
    let (id, _) = rest.split_once(')')?;
    (!id.is_empty()).then_some(id)
}

/// The ids of the trace and of the first span of a request.
fn ids(request: &str) -> (TraceId, SpanId) {
    let hash = Sha256::digest(request.as_bytes());
    let (mut first, mut second) = ([0; 16], [0; 8]);
    first.copy_from_slice(&hash[..16]);
    second.copy_from_slice(&hash[16..24]);
    // Ids that are ours have the form of one already.
    let own = Some(request)
        .filter(|id| id.len() == 32)
        .and_then(|id| TraceId::from_hex(id).ok())
        .filter(|id| *id != TraceId::INVALID);
    (
        own.unwrap_or(TraceId::from_bytes(first)),
        SpanId::from_bytes(second),
    )
}

/// Random ids, but for spans that are given theirs.
#[derive(Debug)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        let given = NEXT.get().map(|(trace, _)| trace);
        given.unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        let given = NEXT.get().map(|(_, span)| span);
        given.unwrap_or_else(|| self.0.new_span_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_request_is_that_of_its_trace() {
        let id = uuid::Uuid::now_v7().simple().to_string();
        assert_eq!(ids(&id).0.to_string(), id);
        let given = ids("from-a-proxy").0;
        assert_ne!(given, TraceId::INVALID);
        assert_eq!(given, ids("from-a-proxy").0);
        assert_ne!(ids(&"0".repeat(32)).0, TraceId::INVALID);
    }

    #[test]
    fn a_cause_names_its_request() {
        for (cause, request) in [
            (
                "push from corp: PATCH /scim/v2/Users/1 (request abc-1)",
                Some("abc-1"),
            ),
            ("push from (request x): POST /Users (request y)", Some("y")),
            ("pull, run 7", None),
            ("(request )", None),
            ("(request ", None),
        ] {
            assert_eq!(request_of(cause), request, "{cause}");
        }
    }
}
