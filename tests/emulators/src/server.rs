//! The HTTP side that every emulator shares: a listener that can be taken down and brought up on
//! the same port, faults, the record of requests. What a request means is told by [`Emulated`].

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use tokio::net::TcpSocket;

use crate::faults::{Chaos, Fault, FaultBook, FaultKind};
use crate::recorded::{Recorded, mask};

/// A token bucket per caller, as the Data Center products have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that may come at once.
    pub capacity: u32,
    /// Requests that are given back each second.
    pub per_second: u32,
}

/// A request, read completely.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn read(http: &HttpRequest, body: &[u8]) -> Self {
        let query = web::Query::<Vec<(String, String)>>::from_query(http.query_string());
        Self {
            method: http.method().as_str().to_owned(),
            path: http.uri().path().to_owned(),
            query: query.map(web::Query::into_inner).unwrap_or_default(),
            headers: http
                .headers()
                .iter()
                .map(|(name, value)| {
                    (
                        name.as_str().to_owned(),
                        String::from_utf8_lossy(value.as_bytes()).into(),
                    )
                })
                .collect(),
            body: body.to_vec(),
        }
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }

    /// The parts of the path, decoded, without empty ones: a slash at the end means nothing.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(percent_decode)
            .collect()
    }
}

/// An answer to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    pub(crate) changed: bool,
}

impl Answer {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self {
            content_type: "application/json;charset=UTF-8",
            body: value.to_string(),
            ..Self::empty(status)
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: "",
            body: String::new(),
            changed: false,
        }
    }

    pub(crate) fn html(status: u16, title: &str) -> Self {
        Self {
            content_type: "text/html;charset=UTF-8",
            body: format!(
                "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
            ),
            ..Self::empty(status)
        }
    }

    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self {
            content_type: "text/plain;charset=UTF-8",
            body: text.into(),
            ..Self::empty(status)
        }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        for (name, value) in self.headers {
            response.insert_header((name, value));
        }
        if !self.content_type.is_empty() {
            response.content_type(self.content_type);
        }
        response.body(self.body)
    }
}

/// What stands behind the HTTP side.
pub(crate) trait Emulated: Send + Sync + 'static {
    /// Does what the request asks for and says what to answer.
    fn answer(&self, request: &Request) -> Answer;

    /// Whether a request counts as one that changes something.
    fn is_write(&self, request: &Request) -> bool {
        request.is_write()
    }

    /// Answers requests that steer the emulator itself: they meet no faults and are not recorded.
    fn control(&self, _front: &Arc<Front>, _request: &Request) -> Option<Answer> {
        None
    }
}

/// Answers the control requests by which a client in another language looks behind an emulator; none
/// if it is not one: `GET state`, `GET requests` and `DELETE requests` under `/__emulator/`.
pub(crate) fn control(
    front: &Front,
    request: &Request,
    state: impl FnOnce() -> Value,
) -> Option<Answer> {
    let what = request.path.strip_prefix("/__emulator/")?;
    let value = match (request.method.as_str(), what) {
        ("GET", "state") => state(),
        ("GET", "requests") => serde_json::json!(front.requests()),
        ("DELETE", "requests") => {
            front.clear_requests();
            Value::Null
        }
        _ => {
            let error = serde_json::json!({ "error": "no such control path" });
            return Some(Answer::json(404, &error));
        }
    };
    Some(Answer::json(200, &value))
}

/// How an emulator is served.
#[derive(Debug, Clone)]
pub(crate) struct ServerOptions {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) latency: Duration,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) keep_requests: usize,
}

/// The side that meets the client: faults, counters, the record.
pub(crate) struct Front {
    emulated: Arc<dyn Emulated>,
    started: Instant,
    latency: Mutex<Duration>,
    rate_limit: Mutex<Option<RateLimit>>,
    buckets: Mutex<HashMap<String, (f64, Instant)>>,
    faults: Mutex<FaultBook>,
    requests: Mutex<VecDeque<Recorded>>,
    keep_requests: usize,
    writes: AtomicUsize,
    in_flight: AtomicUsize,
    peak_in_flight: AtomicUsize,
    connections: AtomicUsize,
    sockets: Mutex<Vec<Weak<Socket>>>,
    lifecycle: OnceLock<Weak<Lifecycle>>,
}

impl Front {
    pub(crate) fn faults(&self) -> MutexGuard<'_, FaultBook> {
        lock(&self.faults)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        lock(&self.requests).iter().cloned().collect()
    }

    pub(crate) fn clear_requests(&self) {
        lock(&self.requests).clear();
        self.writes.store(0, Ordering::SeqCst);
        self.peak_in_flight
            .store(self.in_flight.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    pub(crate) fn peak_in_flight(&self) -> usize {
        self.peak_in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        *lock(&self.latency) = latency;
    }

    pub(crate) fn set_rate_limit(&self, limit: Option<RateLimit>) {
        *lock(&self.rate_limit) = limit;
        lock(&self.buckets).clear();
    }

    /// Goes down a moment later, for this long: the request that asks for it is still answered.
    pub(crate) fn outage(self: &Arc<Self>, length: Duration) {
        let Some(lifecycle) = self.lifecycle.get().and_then(Weak::upgrade) else {
            return;
        };
        let front = Arc::clone(self);
        std::thread::spawn(move || {
            pause(Duration::from_millis(50));
            lifecycle.down(&front);
            pause(length);
            // There is nobody to tell; a client sees that it stays down.
            let _ = lifecycle.up(&front);
        });
    }

    async fn attend(self: Arc<Self>, request: Request, socket: Option<Arc<Socket>>) -> Answer {
        if let Some(answer) = self.emulated.control(&self, &request) {
            return answer;
        }
        let _in_flight = InFlight::enter(&self);
        let at = self.started.elapsed();
        if self.emulated.is_write(&request) {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        let latency = *lock(&self.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let fault = self.faults().take(&request.method, &request.path);
        let name = fault.as_ref().map(FaultKind::name);
        match fault {
            None => {
                let answer = self
                    .limited(&request)
                    .unwrap_or_else(|| self.work(&request));
                self.record(&request, &answer, true, None, at);
                answer
            }
            Some(FaultKind::Slow(wait)) => {
                let answer = self.work(&request);
                self.record(&request, &answer, true, name, at);
                tokio::time::sleep(wait).await;
                answer
            }
            Some(FaultKind::Status {
                status,
                retry_after,
                rate_headers,
            }) => {
                let answer = refusal(status, retry_after, rate_headers);
                self.record(&request, &answer, true, name, at);
                answer
            }
            Some(FaultKind::Garbage) => {
                let answer = Answer::html(200, "Log in to continue");
                self.record(&request, &answer, true, name, at);
                answer
            }
            Some(FaultKind::Hang(wait)) => {
                self.record(&request, &Answer::empty(0), false, name, at);
                tokio::time::sleep(wait).await;
                closed(socket.as_deref())
            }
            Some(FaultKind::DropBefore) => {
                self.record(&request, &Answer::empty(0), false, name, at);
                closed(socket.as_deref())
            }
            Some(FaultKind::DropAfter) => {
                let answer = self.work(&request);
                self.record(&request, &answer, false, name, at);
                closed(socket.as_deref())
            }
        }
    }

    fn work(&self, request: &Request) -> Answer {
        let mut answer = self.emulated.answer(request);
        if let Some((limit, left)) = self.bucket_of(request, false) {
            rate_headers(&mut answer, limit, left);
        }
        answer
    }

    /// 429 when the caller's bucket is empty.
    fn limited(&self, request: &Request) -> Option<Answer> {
        let (limit, left) = self.bucket_of(request, true)?;
        if left >= 0.0 {
            return None;
        }
        let wait_s = (-left / f64::from(limit.per_second.max(1))).ceil().max(1.0);
        let mut answer = Answer::text(429, "Rate limit exceeded")
            .with_header("Retry-After", format!("{wait_s:.0}"));
        rate_headers(&mut answer, limit, 0.0);
        Some(answer)
    }

    /// The caller's bucket: its limit and what is left, negative when a request was refused.
    fn bucket_of(&self, request: &Request, take: bool) -> Option<(RateLimit, f64)> {
        let limit = (*lock(&self.rate_limit))?;
        let caller = request
            .header("authorization")
            .unwrap_or_default()
            .to_owned();
        let mut buckets = lock(&self.buckets);
        let capacity = f64::from(limit.capacity);
        let (left, filled) = buckets.entry(caller).or_insert((capacity, Instant::now()));
        let gained = filled.elapsed().as_secs_f64() * f64::from(limit.per_second);
        *left = (*left + gained).min(capacity);
        *filled = Instant::now();
        if take {
            if *left < 1.0 {
                return Some((limit, *left - 1.0));
            }
            *left -= 1.0;
        }
        Some((limit, *left))
    }

    fn record(
        &self,
        request: &Request,
        answer: &Answer,
        answered: bool,
        fault: Option<&'static str>,
        at: Duration,
    ) {
        let recorded = Recorded {
            method: request.method.clone(),
            path: request.path.clone(),
            query: query_of(request),
            headers: headers_of_interest(request),
            body: body_of(request),
            status: answer.status,
            changed: answer.changed,
            answered,
            fault: fault.map(str::to_owned),
            at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        };
        let mut requests = lock(&self.requests);
        if requests.len() >= self.keep_requests {
            requests.pop_front();
        }
        requests.push_back(recorded);
    }

    fn shut_all_connections(&self) {
        for socket in lock(&self.sockets).drain(..) {
            if let Some(socket) = socket.upgrade() {
                socket.shut();
            }
        }
    }

    fn keep(&self, socket: &Arc<Socket>) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let mut sockets = lock(&self.sockets);
        sockets.retain(|known| known.strong_count() > 0);
        sockets.push(Arc::downgrade(socket));
    }
}

/// What the handles of all emulators have in common, each of which leads here by [`Deref`]: what was
/// asked, and what goes wrong.
///
/// [`Deref`]: std::ops::Deref
pub struct Server {
    front: Arc<Front>,
    lifecycle: Arc<Lifecycle>,
}

impl Server {
    pub(crate) fn start(options: ServerOptions, emulated: Arc<dyn Emulated>) -> io::Result<Self> {
        let front = Arc::new(Front {
            emulated,
            started: Instant::now(),
            latency: Mutex::new(options.latency),
            rate_limit: Mutex::new(options.rate_limit),
            buckets: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            keep_requests: options.keep_requests.max(1),
            writes: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            peak_in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            sockets: Mutex::default(),
            lifecycle: OnceLock::new(),
        });
        let lifecycle = Arc::new(Lifecycle::reserve(&options.host, options.port)?);
        // Set once, right here.
        let _ = front.lifecycle.set(Arc::downgrade(&lifecycle));
        lifecycle.up(&front)?;
        Ok(Self { front, lifecycle })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.lifecycle.address
    }

    // What was asked

    /// The requests so far, oldest first. Those of the control paths are not among them.
    pub fn requests(&self) -> Vec<Recorded> {
        self.front.requests()
    }

    /// How many requests changed or tried to change something.
    pub fn writes(&self) -> usize {
        self.front.writes()
    }

    /// Forgets the requests, and sets [`writes`](Self::writes) and
    /// [`peak_in_flight`](Self::peak_in_flight) back.
    pub fn clear_requests(&self) {
        self.front.clear_requests();
    }

    /// The most requests that were being worked on at the same time.
    pub fn peak_in_flight(&self) -> usize {
        self.front.peak_in_flight()
    }

    /// Connections accepted since the start.
    pub fn connections(&self) -> usize {
        self.front.connections()
    }

    // What goes wrong

    /// Orders a fault; faults strike in the order in which they were ordered.
    pub fn fault(&self, fault: Fault) {
        self.front.faults().add(fault);
    }

    /// Takes back all faults still to come; chaos goes on.
    pub fn clear_faults(&self) {
        self.front.faults().clear();
    }

    /// Strikes still to come.
    pub fn pending_faults(&self) -> usize {
        self.front.faults().pending()
    }

    /// Starts or ends a random mix of faults.
    pub fn chaos(&self, chaos: Option<Chaos>) {
        self.front.faults().set_chaos(chaos);
    }

    /// Closes the listener and all connections, or listens again on the same port. Connections are
    /// refused meanwhile, and the port stays reserved.
    pub fn set_down(&self, down: bool) {
        if down {
            self.lifecycle.down(&self.front);
        } else if let Err(error) = self.lifecycle.up(&self.front) {
            panic!("the emulator does not come up again: {error}");
        }
    }

    /// Sets the time that passes before each request is worked on.
    pub fn set_latency(&self, latency: Duration) {
        self.front.set_latency(latency);
    }

    /// Sets or lifts the rate limit; all buckets are full then.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        self.front.set_rate_limit(limit);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lifecycle.down(&self.front);
    }
}

/// The listener's comings and goings.
struct Lifecycle {
    address: SocketAddr,
    running: Mutex<Option<Running>>,
    /// Bound but never listening: connections are refused while the server is down, and nobody
    /// else (not even an outgoing connection of this machine) can take the port meanwhile.
    _reserved: TcpSocket,
}

struct Running {
    handle: ServerHandle,
    thread: JoinHandle<()>,
}

impl Lifecycle {
    fn reserve(host: &str, port: u16) -> io::Result<Self> {
        let ip = host.parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("not an IPv4 address: {host}"),
            )
        })?;
        let reserved = TcpSocket::new_v4()?;
        reserved.set_reuseaddr(true)?;
        reserved.bind(SocketAddr::new(ip, port))?;
        let address = reserved.local_addr()?;
        Ok(Self {
            address,
            running: Mutex::new(None),
            _reserved: reserved,
        })
    }

    fn up(&self, front: &Arc<Front>) -> io::Result<()> {
        let mut running = lock(&self.running);
        if running.is_some() {
            return Ok(());
        }
        // std sets SO_REUSEADDR on it, which the reserving socket also has.
        let listener = TcpListener::bind(self.address)?;
        let (sender, receiver) = mpsc::channel();
        let front = Arc::clone(front);
        let thread = std::thread::Builder::new()
            .name("emulator".into())
            .spawn(move || run(listener, front, &sender))?;
        match receiver.recv() {
            Ok(Ok(handle)) => {
                *running = Some(Running { handle, thread });
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other(
                "the emulator's thread ended before it served",
            )),
        }
    }

    fn down(&self, front: &Front) {
        let Some(running) = lock(&self.running).take() else {
            return;
        };
        // The command is sent by the call itself; the future only waits for its end, as does join.
        drop(running.handle.stop(false));
        front.shut_all_connections();
        // A panic of that thread has already been printed.
        let _ = running.thread.join();
        // Some may have been accepted between the command and its execution.
        front.shut_all_connections();
    }
}

fn run(listener: TcpListener, front: Arc<Front>, started: &mpsc::Sender<io::Result<ServerHandle>>) {
    let serving = async {
        let connected = Arc::clone(&front);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::from(Arc::clone(&front)))
                .app_data(web::PayloadConfig::new(16 * 1024 * 1024))
                .default_service(web::to(serve))
        })
        .on_connect(move |connection: &dyn Any, data: &mut Extensions| {
            let stream = connection.downcast_ref::<tokio::net::TcpStream>();
            let copy = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
            if let Some(copy) = copy {
                let socket = Arc::new(Socket(TcpStream::from(copy)));
                connected.keep(&socket);
                data.insert(socket);
            }
        })
        .workers(2)
        .keep_alive(Duration::from_secs(75))
        .shutdown_timeout(0)
        .disable_signals()
        .listen(listener);
        match server {
            Ok(server) => {
                let server = server.run();
                // The one who waits for it is gone only if the start was given up.
                let _ = started.send(Ok(server.handle()));
                let _ = server.await;
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    };
    actix_web::rt::System::new().block_on(serving);
}

async fn serve(http: HttpRequest, body: web::Bytes, front: web::Data<Front>) -> HttpResponse {
    let request = Request::read(&http, &body);
    let socket = http.conn_data::<Arc<Socket>>().cloned();
    // A task of its own: a real server goes on with its work when the client hangs up.
    let work = actix_web::rt::spawn(front.into_inner().attend(request, socket));
    match work.await {
        Ok(answer) => answer.into_response(),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// A second hand on the connection, to close it under the server.
struct Socket(TcpStream);

impl Socket {
    fn shut(&self) {
        // It may be closed already, which is what is wanted.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

struct InFlight<'a>(&'a Front);

impl<'a> InFlight<'a> {
    fn enter(front: &'a Front) -> Self {
        let now = front.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        front.peak_in_flight.fetch_max(now, Ordering::SeqCst);
        Self(front)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Closes the connection; the answer then has nowhere to go.
fn closed(socket: Option<&Socket>) -> Answer {
    if let Some(socket) = socket {
        socket.shut();
    }
    Answer::empty(503)
}

fn refusal(status: u16, retry_after: Option<String>, with_rate_headers: bool) -> Answer {
    let mut answer = match status {
        429 => Answer::text(429, "Rate limit exceeded"),
        _ => Answer::html(status, "The server cannot answer"),
    };
    if let Some(retry_after) = retry_after {
        answer = answer.with_header("Retry-After", retry_after);
    }
    if with_rate_headers {
        rate_headers(
            &mut answer,
            RateLimit {
                capacity: 60,
                per_second: 5,
            },
            0.0,
        );
    }
    answer
}

fn rate_headers(answer: &mut Answer, limit: RateLimit, left: f64) {
    answer.headers.extend([
        ("X-RateLimit-Limit", limit.capacity.to_string()),
        (
            "X-RateLimit-Remaining",
            format!("{:.0}", left.max(0.0).floor()),
        ),
        ("X-RateLimit-FillRate", limit.per_second.to_string()),
        ("X-RateLimit-Interval-Seconds", "1".to_owned()),
    ]);
}

fn headers_of_interest(request: &Request) -> Vec<(String, String)> {
    let wanted = [
        "accept",
        "content-type",
        "user-agent",
        "x-atlassian-token",
        "cookie",
        "host",
    ];
    let mut headers: Vec<(String, String)> = wanted
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), request.header(name)?.to_owned())))
        .collect();
    if let Some(value) = request.header("authorization") {
        let scheme = value.split(' ').next().unwrap_or_default();
        headers.push(("authorization".to_owned(), scheme.to_owned()));
    }
    headers
}

/// A product that takes passwords in addresses has its tests keep them out of what is written down.
fn query_of(request: &Request) -> Vec<(String, String)> {
    let mut query = request.query.clone();
    for (name, value) in &mut query {
        if name.eq_ignore_ascii_case("password") {
            "***".clone_into(value);
        }
    }
    query
}

fn body_of(request: &Request) -> Option<Value> {
    if request.body.is_empty() {
        return None;
    }
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(mut value) => {
            let is_password = ["/password", "/authentication"]
                .iter()
                .any(|end| request.path.ends_with(end));
            mask(&mut value, is_password);
            Some(value)
        }
        Err(_) => {
            let text = String::from_utf8_lossy(&request.body);
            let masked = text.contains("<password").then(|| "***".to_owned());
            Some(Value::String(masked.unwrap_or_else(|| text.into())))
        }
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let value = hex
            .filter(|_| byte == b'%')
            .and_then(|it| u8::from_str_radix(it, 16).ok());
        match value {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn pause(length: Duration) {
    let (_silent, receiver) = mpsc::channel::<()>();
    // Nothing is ever sent, so this is a wait and its time-out the expected end.
    let _ = receiver.recv_timeout(length);
}

/// The data behind a lock, also after a panic elsewhere: a test that failed has been reported.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_segments_are_decoded_one_by_one() {
        let request = Request {
            path: "/rest/api/2/user/session/a%2Fb%20c/".into(),
            ..Request::default()
        };
        assert_eq!(
            request.segments(),
            ["rest", "api", "2", "user", "session", "a/b c"]
        );
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%41"), "%zzA");
    }
}
