//! What this process has done, counted for Prometheus. How things stand is read from the database when it is asked
//! for (`http::metrics`).
//!
//! Labels are names out of the configuration, patterns of routes and words of the program: their number is
//! bounded, and none of them is about a person.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Bounds of the time of a request, in seconds.
const REQUEST_S: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
/// Bounds of the time from a mark to its effect, in seconds: a moment, or as long as an outage lasts.
const EFFECT_S: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86_400.0,
];

/// One label set for each kind of request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    product: String,
    target: String,
    operation: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Effect {
    product: String,
    target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Alert {
    channel: String,
    outcome: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counters of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    request_s: Histograms<Route>,
    operations: Family<Operation, Counter>,
    effect_s: Histograms<Effect>,
    alerts: Family<Alert, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::default();
        let request_s: Histograms<Route> =
            Family::new_with_constructor(|| Histogram::new(REQUEST_S));
        let operations = Family::default();
        let effect_s: Histograms<Effect> =
            Family::new_with_constructor(|| Histogram::new(EFFECT_S));
        let alerts = Family::default();
        let mut registry = Registry::default();
        registry.register(
            "usher_http_requests",
            "Requests answered",
            Family::clone(&requests),
        );
        registry.register(
            "usher_http_request_seconds",
            "Time to answer a request",
            request_s.clone(),
        );
        registry.register(
            "usher_operations",
            "Operations at products",
            Family::clone(&operations),
        );
        registry.register(
            "usher_effect_seconds",
            "Time from the mark of a change to the moment the target is in step",
            effect_s.clone(),
        );
        registry.register(
            "usher_alerts_sent",
            "Messages about alerts",
            Family::clone(&alerts),
        );
        Self {
            registry: Arc::new(registry),
            requests,
            request_s,
            operations,
            effect_s,
            alerts,
        }
    }
}

impl Metrics {
    /// A request was answered. `route` is the pattern of its path, and `method` a method that is known.
    pub fn request(&self, method: &str, route: &str, status: u16, time: Duration) {
        self.requests
            .get_or_create(&Request {
                method: method.to_owned(),
                route: route.to_owned(),
                status,
            })
            .inc();
        self.request_s
            .get_or_create(&Route {
                route: route.to_owned(),
            })
            .observe(time.as_secs_f64());
    }

    /// An operation at a target came to an end, well or not.
    pub fn operation(&self, (product, target): (&str, &str), operation: &str, outcome: &str) {
        self.operations
            .get_or_create(&Operation {
                product: product.to_owned(),
                target: target.to_owned(),
                operation: operation.to_owned(),
                outcome: outcome.to_owned(),
            })
            .inc();
    }

    /// A target is in step about somebody, so long after that was marked.
    pub fn effect(&self, (product, target): (&str, &str), time: Duration) {
        self.effect_s
            .get_or_create(&Effect {
                product: product.to_owned(),
                target: target.to_owned(),
            })
            .observe(time.as_secs_f64());
    }

    /// A message about an alert was sent, or could not be.
    pub fn alert(&self, channel: &str, outcome: &str) {
        self.alerts
            .get_or_create(&Alert {
                channel: channel.to_owned(),
                outcome: outcome.to_owned(),
            })
            .inc();
    }

    /// Everything in the OpenMetrics text format, with further gauges.
    pub fn text(&self, gauges: &Gauges) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        text.write_str(&gauges.0)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// Values that hold at one moment, in the text format.
#[derive(Debug, Default)]
pub struct Gauges(String);

impl Gauges {
    /// Adds a gauge with all its values. `None` leaves a value out.
    pub fn add<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'a str, String)>, Option<f64>)>,
    ) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} gauge");
        for (labels, value) in values {
            let Some(value) = value else { continue };
            let labels: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
                .collect();
            let _ = if labels.is_empty() {
                writeln!(self.0, "{name} {value}")
            } else {
                writeln!(self.0, "{name}{{{}}} {value}", labels.join(","))
            };
        }
    }

    /// Adds a gauge without labels.
    pub fn one(&mut self, name: &str, help: &str, value: f64) {
        self.add(name, help, [(Vec::new(), Some(value))]);
    }
}

/// A value of a label, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_counters_histograms_and_gauges_and_an_end() {
        let metrics = Metrics::default();
        metrics.request("GET", "/scim/v2/Users/{id}", 200, Duration::from_millis(3));
        metrics.operation(("jira-dc", "ji\"ra"), "create_user", "done");
        metrics.effect(("jira-dc", "jira"), Duration::from_millis(30));
        let mut gauges = Gauges::default();
        let name = vec![("target", "a \"b\"\\".to_owned())];
        gauges.add(
            "usher_x",
            "Something",
            [(name, Some(2.0)), (Vec::new(), None)],
        );
        let text = metrics.text(&gauges).unwrap();
        for line in [
            "usher_http_requests_total{method=\"GET\",route=\"/scim/v2/Users/{id}\",status=\"200\"} 1",
            "usher_http_request_seconds_bucket{le=\"0.005\",route=\"/scim/v2/Users/{id}\"} 1",
            "usher_effect_seconds_count{product=\"jira-dc\",target=\"jira\"} 1",
            "usher_x{target=\"a \\\"b\\\"\\\\\"} 2",
            "target=\"ji\\\"ra\"",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(text.matches("usher_x").count(), 3, "{text}");
    }
}
