//! The one HTTP client. Every request that leaves Usher goes through [`Client::send`], so that time-outs, size
//! limits, slow-down answers and the words for a failure are the same everywhere, and so that no credential,
//! query value or body can reach a log or an error text.
//!
//! Names are never pasted into addresses: query values are passed as pairs, path segments through [`segment`].

pub mod mail;
mod network;
mod pace;
#[cfg(test)]
pub(crate) mod script;
mod slowdown;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

use crate::clock::Clock;
use crate::domain::Failure;

use pace::Pace;
use slowdown::Bucket;

pub use pace::Limits;
pub use reqwest::Method;

/// Sent as `User-Agent`. Jira takes browser-like clients for its own user interface, so it must not look like one.
const USER_AGENT: &str = concat!("usher/", env!("CARGO_PKG_VERSION"));

/// Idle connections are dropped before the servers' usual 20 seconds: a request on a connection that the other side
/// is just closing would be lost.
const IDLE: Duration = Duration::from_secs(15);

/// How Usher proves itself to the other side.
#[derive(Debug, Clone)]
pub enum Credential {
    /// `Authorization: Bearer` (RFC 6750 section 2.1).
    Bearer(SecretString),
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: SecretString,
    },
    /// Nothing: what proves the caller is in the request itself.
    Nothing,
}

/// Limits of a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one request may take, from the first byte sent to the last byte read.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may be, in bytes.
    pub max_body: usize,
    /// How fast requests follow each other. `None`: as they come.
    pub limits: Option<Limits>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_body: 8 * 1024 * 1024,
            limits: None,
        }
    }
}

/// Why a client cannot be made: a mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The base URL cannot be used. It is not repeated: it may hold a password.
    #[error("base_url: {0}")]
    Address(String),
    /// The credential cannot be sent in a header.
    #[error("credential: {0}")]
    Credential(String),
    /// TLS cannot be set up.
    #[error(
        "TLS cannot be set up ({0}): install the system's CA certificates or set SSL_CERT_FILE"
    )]
    Tls(String),
}

/// One request.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// Method.
    pub method: Method,
    /// Path below the base URL, starting with `/`; every name in it written with [`segment`].
    pub path: &'a str,
    /// Query parameters, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// JSON body.
    pub body: Option<Value>,
    /// Fields of a form, instead of a JSON body.
    pub form: &'a [(&'a str, &'a str)],
    /// Further headers.
    pub headers: &'a [(&'static str, &'a str)],
    /// Another limit than [`Options::max_body`], for answers known to be long.
    pub max_body: Option<usize>,
}

/// An answer that is neither a server failure nor a request to slow down.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Body as received.
    pub body: Vec<u8>,
    headers: HeaderMap,
    what: String,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header, if it was sent and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Method and path of the request, for error texts.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether a page for people came back.
    pub fn is_html(&self) -> bool {
        let declared = self
            .header("content-type")
            .is_some_and(|t| t.contains("html"));
        declared || self.body.trim_ascii_start().first() == Some(&b'<')
    }

    /// The body as JSON; `None` if it is something else.
    pub fn value(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// [`Failure::Transient`] if it is not JSON or not of that shape: then it is most likely not the product that
    /// answered.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|e| {
            let what = &self.what;
            let text = if self.is_html() {
                format!(
                    "{what}: answered with HTML where JSON was expected: is a proxy or login page in front?"
                )
            } else if e.is_data() {
                // Not the parser's own words: they quote the body.
                let (line, column) = (e.line(), e.column());
                format!("{what}: answered JSON of another shape (line {line}, column {column})")
            } else {
                format!("{what}: answered something else than JSON")
            };
            Failure::Transient { text }
        })
    }
}

/// An HTTP client for one base URL and one credential.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    /// The path part of `base`.
    context: String,
    /// Host and port, for error texts.
    host: String,
    authorization: Option<HeaderValue>,
    options: Options,
    /// Shared by all clones.
    pace: Option<Arc<Pace>>,
    clock: Clock,
}

impl Client {
    /// A client for everything below `base_url`.
    ///
    /// # Errors
    /// [`Error`] names the setting that cannot be used.
    pub fn new(base_url: &str, credential: Credential, options: Options) -> Result<Self, Error> {
        let url = address(base_url)?;
        let authorization = authorization(&credential)?;
        let host = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => return Err(Error::Address("has no host".to_owned())),
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            // A redirected write could arrive as a GET, and a credential at another host.
            .redirect(redirect::Policy::none())
            .timeout(options.timeout)
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(IDLE);
        if url.scheme() == "http" {
            // No certificates needed: works in an image without any.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|e| Error::Tls(network::innermost(&e)))?;
        let context = url.path().trim_end_matches('/').to_owned();
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            base,
            context,
            host,
            authorization,
            pace: options.limits.map(|limits| Arc::new(Pace::new(limits))),
            options,
            clock: Clock::System,
        })
    }

    /// The same client with another clock (it is needed for `Retry-After` as a date).
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The same client, over the same connections, with another credential.
    ///
    /// # Errors
    /// [`Error::Credential`] if it cannot be sent.
    pub fn with_credential(&self, credential: &Credential) -> Result<Self, Error> {
        Ok(Self {
            authorization: authorization(credential)?,
            ..self.clone()
        })
    }

    /// The base URL, without a final slash.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] if there was no connection, [`Failure::Transient`] for other network errors, time-outs
    /// and 5xx, [`Failure::Throttled`] for 429 and for 503 with `Retry-After`. Every other answer is returned, for the caller to judge. A path that does not survive
    /// normalisation (a name that is `.` or `..`) is [`Failure::Rejected`] and not sent.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, Failure> {
        let what = format!("{} {}", request.method, request.path);
        let url = self.url(&request, &what)?;
        let limit = request.max_body.unwrap_or(self.options.max_body);
        let (method, path) = (request.method.clone(), request.path);
        let turn = match &self.pace {
            Some(pace) => Some(
                pace.start()
                    .await
                    .map_err(|left| self.closed(&what, left))?,
            ),
            None => None,
        };
        let started = Instant::now();
        // Without the path, which has names of people in it.
        let span = tracing::debug_span!("call", %method, host = self.host, status = Empty);
        let outcome = self
            .exchange(request, url, limit, &what)
            .instrument(span.clone())
            .await;
        if let Ok(answer) = &outcome {
            span.record("status", answer.status);
        }
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &outcome {
            Ok(answer) => {
                tracing::debug!(%method, path, host = self.host, status = answer.status, ms, "request");
            }
            Err(error) => {
                tracing::debug!(%method, path, host = self.host, %error, ms, "request failed");
            }
        }
        let answer = outcome?;
        let bucket = Bucket::of(&answer.headers);
        let outcome = self.classify(answer);
        if let Some(turn) = turn {
            match &outcome {
                Ok(_) => turn.answered(bucket),
                Err(Failure::Throttled { after, .. }) => turn.refused(*after),
                Err(_) => {}
            }
        }
        outcome
    }

    /// The failure that a pause is which the other side asked for a moment ago.
    fn closed(&self, what: &str, left: Duration) -> Failure {
        let seconds = left.as_secs();
        Failure::Throttled {
            after: Some(left),
            text: format!(
                "{what}: not sent: {} asked to slow down, for {seconds} s more",
                self.host
            ),
        }
    }

    fn url(&self, request: &Request<'_>, what: &str) -> Result<Url, Failure> {
        let refused = |why: &str| Failure::Rejected {
            field: None,
            text: format!("{what}: {why}"),
        };
        let mut url = Url::parse(&format!("{}{}", self.base, request.path))
            .map_err(|e| refused(&format!("not an address: {e}")))?;
        // The parser resolves `.` and `..`, also when percent-encoded: the request would go somewhere else.
        if url.path() != format!("{}{}", self.context, request.path) || url.query().is_some() {
            return Err(refused("a name in it cannot be part of an address"));
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        Ok(url)
    }

    async fn exchange(
        &self,
        request: Request<'_>,
        url: Url,
        limit: usize,
        what: &str,
    ) -> Result<Response, Failure> {
        let mut builder = self
            .http
            .request(request.method, url)
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        } else if !request.form.is_empty() {
            builder = builder.form(request.form);
        }
        let in_words = |e: reqwest::Error| {
            let words = network::in_words(&e, &self.host, &self.options);
            let text = format!("{what}: {words}");
            if e.is_connect() {
                Failure::Unreachable { text }
            } else {
                Failure::Transient { text }
            }
        };
        let mut answer = builder.send().await.map_err(in_words)?;
        let too_long = || Failure::Transient {
            text: format!("{what}: the answer is longer than {limit} bytes"),
        };
        if answer.content_length().is_some_and(|n| n > limit as u64) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(in_words)? {
            if body.len() + chunk.len() > limit {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        let headers = answer.headers().clone();
        Ok(Response {
            status: answer.status().as_u16(),
            body,
            headers,
            what: what.to_owned(),
        })
    }

    fn classify(&self, answer: Response) -> Result<Response, Failure> {
        let what = &answer.what;
        match answer.status {
            status @ (429 | 503) if status == 429 || answer.headers.contains_key(RETRY_AFTER) => {
                let after = slowdown::after(&answer.headers, &self.clock);
                let wait = after.map_or(String::new(), |d| format!(", for {} s", d.as_secs()));
                let text = format!("{what}: {} asks to slow down ({status}){wait}", self.host);
                Err(Failure::Throttled { after, text })
            }
            // 501 and 505 are about the request, not about the moment.
            501 | 505 => Ok(answer),
            status @ (408 | 500..=599) => {
                let reason = StatusCode::from_u16(status)
                    .ok()
                    .and_then(|s| s.canonical_reason());
                let text = format!(
                    "{what}: answered {status} {}",
                    reason.unwrap_or("(no name)")
                );
                Err(Failure::Transient { text })
            }
            _ => Ok(answer),
        }
    }
}

/// A name as one segment of a path: everything but the unreserved characters of RFC 3986 section 2.3 is encoded.
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

fn address(base_url: &str) -> Result<Url, Error> {
    let wrong = |why: &str| Err(Error::Address(why.to_owned()));
    let url = Url::parse(base_url.trim()).map_err(|e| Error::Address(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("must start with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must not hold a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("must not hold `?` or `#`");
    }
    Ok(url)
}

fn authorization(credential: &Credential) -> Result<Option<HeaderValue>, Error> {
    let text = match credential {
        Credential::Bearer(token) => {
            SecretString::from(format!("Bearer {}", token.expose_secret()))
        }
        Credential::Basic { username, password } => {
            // RFC 7617 section 2: the first colon ends the user name.
            if username.contains(':') {
                return Err(Error::Credential(
                    "a user name must not hold a colon".to_owned(),
                ));
            }
            let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
            SecretString::from(format!("Basic {}", BASE64.encode(pair.expose_secret())))
        }
        Credential::Nothing => return Ok(None),
    };
    let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| {
        Error::Credential("holds characters that cannot be sent, such as a line break".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::script::{Reply, Script};
    use super::*;

    fn client(base: &str) -> Client {
        let options = Options {
            timeout: Duration::from_millis(300),
            connect_timeout: Duration::from_millis(300),
            max_body: 1000,
            limits: None,
        };
        Client::new(base, Credential::Bearer("s3cret".into()), options).unwrap()
    }

    fn get(path: &str) -> Request<'_> {
        Request {
            path,
            ..Request::default()
        }
    }

    async fn answer(reply: Reply) -> Result<Response, Failure> {
        let script = Script::start(move |_| reply.clone()).await;
        client(&script.url()).send(get("/x")).await
    }

    fn text(failure: &Failure) -> String {
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        failure.to_string()
    }

    fn nothing_sent(failure: &Failure) -> String {
        let unreachable = matches!(failure, Failure::Unreachable { .. });
        assert!(unreachable, "{failure:?}");
        failure.to_string()
    }

    /// What was asked of one client holds for its clones.
    #[tokio::test]
    async fn a_pause_that_was_asked_for_holds_for_every_request() {
        let script = Script::start(|_| Reply::json(429, json!({})).with("Retry-After", "60")).await;
        let options = Options {
            limits: Some(Limits {
                concurrency: 8,
                requests_per_second: None,
            }),
            ..Options::default()
        };
        let client = Client::new(&script.url(), Credential::Bearer("t".into()), options).unwrap();
        let first = client.send(get("/x")).await.unwrap_err();
        let after = Some(Duration::from_secs(60));
        assert!(matches!(first, Failure::Throttled { after: it, .. } if it == after));
        let second = client.clone().send(get("/x")).await.unwrap_err();
        assert!(second.to_string().contains("not sent"), "{second}");
        assert!(matches!(second, Failure::Throttled { after: Some(_), .. }));
        assert_eq!(script.seen().len(), 1);
    }

    #[tokio::test]
    async fn sends_what_it_was_given_below_the_context_path() {
        let script = Script::start(|_| Reply::json(200, json!({"ok": true}))).await;
        let client = client(&format!("{}/jira/", script.url()));
        let query = [("username", "a b+c&d=ü/%\"")];
        let headers = [("X-Atlassian-Token", "no-check")];
        let path = format!("/rest/{}", segment("a/b ü"));
        let request = Request {
            method: Method::POST,
            path: &path,
            query: &query,
            body: Some(json!({"name": "x"})),
            headers: &headers,
            ..Request::default()
        };
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.json::<Value>().unwrap(), json!({"ok": true}));
        let seen = script.seen();
        assert_eq!(seen[0].method, "POST");
        assert_eq!(seen[0].path, "/jira/rest/a%2Fb%20%C3%BC");
        assert_eq!(seen[0].query("username"), Some("a b+c&d=ü/%\"".to_owned()));
        assert_eq!(seen[0].body, json!({"name": "x"}));
        assert_eq!(seen[0].header("authorization"), Some("Bearer s3cret"));
        assert_eq!(seen[0].header("x-atlassian-token"), Some("no-check"));
        assert!(seen[0].header("user-agent").unwrap().starts_with("usher/"));
    }

    #[tokio::test]
    async fn basic_credentials_are_encoded() {
        let script = Script::start(|_| Reply::json(200, json!({}))).await;
        let credential = Credential::Basic {
            username: "ada".into(),
            password: "pä:ss".into(),
        };
        assert!(!format!("{credential:?}").contains("ss\""));
        let client = Client::new(&script.url(), credential, Options::default()).unwrap();
        client.send(get("/x")).await.unwrap();
        let expected = format!("Basic {}", BASE64.encode("ada:pä:ss"));
        assert_eq!(
            script.seen()[0].header("authorization"),
            Some(expected.as_str())
        );
        assert!(!format!("{client:?}").contains(&BASE64.encode("ada:pä:ss")));
    }

    #[tokio::test]
    async fn server_failures_are_transient_and_refusals_are_returned() {
        for status in [408, 500, 502, 503, 504, 520] {
            let failure = answer(Reply::json(status, json!({}))).await.unwrap_err();
            assert!(text(&failure).contains(&status.to_string()), "{failure}");
        }
        for status in [301, 400, 401, 403, 404, 409, 501] {
            let response = answer(Reply::json(status, json!({}))).await.unwrap();
            assert_eq!(response.status, status);
        }
    }

    #[tokio::test]
    async fn slow_down_answers_say_for_how_long() {
        let after = |seconds| Some(Duration::from_secs(seconds));
        let cases = [
            (
                Reply::json(429, json!({})).with("Retry-After", "7"),
                after(7),
            ),
            (
                Reply::json(503, json!({})).with("Retry-After", "7"),
                after(7),
            ),
            (Reply::json(429, json!({})), None),
            (
                Reply::json(429, json!({}))
                    .with("Retry-After", "0")
                    .with("X-RateLimit-Interval-Seconds", "60"),
                after(60),
            ),
        ];
        for (reply, expected) in cases {
            match answer(reply).await.unwrap_err() {
                Failure::Throttled { after, .. } => assert_eq!(after, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let script =
            Script::start(|_| Reply::json(302, json!({})).with("Location", "/elsewhere")).await;
        let response = client(&script.url()).send(get("/x")).await.unwrap();
        assert_eq!(
            (response.status, response.header("location")),
            (302, Some("/elsewhere"))
        );
        assert_eq!(script.seen().len(), 1);
    }

    #[tokio::test]
    async fn network_errors_are_told_in_words() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let refused = client(&format!("http://127.0.0.1:{port}"));
        let query = [("username", "private")];
        let request = Request {
            query: &query,
            ..get("/rest/api/2/user")
        };
        let words = nothing_sent(&refused.send(request).await.unwrap_err());
        assert_eq!(
            words,
            format!("GET /rest/api/2/user: connection refused by 127.0.0.1:{port}")
        );

        let unresolved = client("https://no-such-host.invalid");
        let words = nothing_sent(&unresolved.send(get("/x")).await.unwrap_err());
        assert!(
            words.contains("no-such-host.invalid") && words.contains("does not resolve"),
            "{words}"
        );

        let script = Script::start(|_| Reply::Hang).await;
        let words = text(&client(&script.url()).send(get("/x")).await.unwrap_err());
        assert_eq!(words, "GET /x: no answer within 0.3 s");

        let script = Script::start(|_| Reply::Drop).await;
        let words = text(&client(&script.url()).send(get("/x")).await.unwrap_err());
        assert_eq!(words, "GET /x: connection lost before the answer");
    }

    #[tokio::test]
    async fn plain_text_where_tls_was_expected_is_told_in_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 64];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        });
        let words = nothing_sent(
            &client(&format!("https://{address}"))
                .send(get("/x"))
                .await
                .unwrap_err(),
        );
        assert!(words.starts_with("GET /x: TLS: "), "{words}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_body_cut_short_is_a_lost_connection() {
        let reply = Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"a\":".to_vec());
        let words = text(&answer(reply).await.unwrap_err());
        assert!(words.starts_with("GET /x: connection lost"), "{words}");
    }

    #[tokio::test]
    async fn long_answers_are_cut_off() {
        let long = "x".repeat(2000);
        let declared = answer(Reply::json(200, json!(long))).await.unwrap_err();
        assert_eq!(
            text(&declared),
            "GET /x: the answer is longer than 1000 bytes"
        );
        let mut raw = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        raw.extend_from_slice(long.as_bytes());
        let undeclared = answer(Reply::Raw(raw)).await.unwrap_err();
        assert_eq!(
            text(&undeclared),
            "GET /x: the answer is longer than 1000 bytes"
        );
        let script = Script::start(move |_| Reply::json(200, json!(long))).await;
        let request = Request {
            max_body: Some(3000),
            ..get("/x")
        };
        assert_eq!(
            client(&script.url()).send(request).await.unwrap().status,
            200
        );
    }

    #[tokio::test]
    async fn what_is_not_json_is_told_apart_without_quoting_it() {
        let html = answer(Reply::text(200, "text/html", "<html>secret</html>"))
            .await
            .unwrap();
        let words = text(&html.json::<Value>().unwrap_err());
        assert!(words.contains("HTML where JSON was expected"), "{words}");
        let other = answer(Reply::text(200, "text/plain", "secret"))
            .await
            .unwrap();
        let words = text(&other.json::<Value>().unwrap_err());
        assert_eq!(words, "GET /x: answered something else than JSON");
        let shape = answer(Reply::json(200, json!("secret"))).await.unwrap();
        let words = text(&shape.json::<u32>().unwrap_err());
        assert!(
            words.contains("another shape") && !words.contains("secret"),
            "{words}"
        );
    }

    #[tokio::test]
    async fn a_name_never_leads_to_another_path() {
        let script = Script::start(|_| Reply::json(200, json!({}))).await;
        let client = client(&script.url());
        for name in [".", ".."] {
            let path = format!("/user/session/{}", segment(name));
            let failure = client.send(get(&path)).await.unwrap_err();
            assert!(matches!(failure, Failure::Rejected { .. }), "{failure:?}");
        }
        for path in ["/user/%2e%2e/x", "/user?x=1", "/user#x", "/user/a b"] {
            assert!(client.send(get(path)).await.is_err(), "{path}");
        }
        assert!(script.seen().is_empty());
    }

    #[test]
    fn settings_that_cannot_work_are_refused_without_repeating_them() {
        let make = |url: &str, token: &str| {
            Client::new(url, Credential::Bearer(token.into()), Options::default())
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            make("jira.example.com", "t"),
            "base_url: relative URL without a base"
        );
        assert!(make("ftp://jira.example.com", "t").contains("must start with https://"));
        assert!(!make("https://u:hidden@jira.example.com", "t").contains("hidden"));
        assert!(make("https://jira.example.com/?x=1", "t").contains("must not hold `?`"));
        let words = make("https://jira.example.com", "abc\ndef");
        assert!(
            words.contains("line break") && !words.contains("abc"),
            "{words}"
        );
    }
}
