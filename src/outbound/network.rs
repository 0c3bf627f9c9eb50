//! What went wrong on the wire, in words for an administrator, without addresses' queries or bodies.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::time::Duration;

use super::Options;

/// Says what happened to a request to `host`.
pub(super) fn in_words(error: &reqwest::Error, host: &str, options: &Options) -> String {
    if error.is_timeout() {
        return if error.is_connect() {
            format!(
                "no connection to {host} within {}",
                seconds(options.connect_timeout)
            )
        } else {
            format!("no answer within {}", seconds(options.timeout))
        };
    }
    if error.is_dns() || chain(error).any(|e| e.to_string().contains("dns error")) {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        return format!("the name {name} does not resolve");
    }
    match io_kind(error) {
        Some(ErrorKind::ConnectionRefused) => format!("connection refused by {host}"),
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
            format!("no route to {host}")
        }
        _ if error.is_connect() && error.url().is_some_and(|u| u.scheme() == "https") => {
            let why = innermost(error);
            // The one an administrator meets with a company's own CA.
            let hint = if why.contains("UnknownIssuer") {
                " (its CA is not among the system's: add it there, or set SSL_CERT_FILE)"
            } else {
                ""
            };
            format!("TLS: {why}{hint}")
        }
        _ if error.is_connect() => format!("no connection to {host}: {}", innermost(error)),
        _ if error.is_body() || error.is_decode() => "connection lost within the answer".to_owned(),
        _ if error.is_request() => "connection lost before the answer".to_owned(),
        _ => innermost(error),
    }
}

/// The words of the cause at the bottom. The outer layers would add the address with its query.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    chain(error)
        .last()
        .map_or_else(|| "unknown cause".to_owned(), ToString::to_string)
}

/// The causes below `error`.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |e| (*e).source())
}

fn io_kind(error: &reqwest::Error) -> Option<ErrorKind> {
    chain(error)
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind)
        .last()
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
