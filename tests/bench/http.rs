//! The load generator: keep-alive HTTP/1.1 on bare sockets, so that the client costs little beside the server.
//!
//! It runs in one thread and understands no more of HTTP than the servers under test answer with: a status
//! line and a `Content-Length`. Every answer is checked; one that is wrong ends the run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One request, and what its answer must be.
pub(crate) struct Call {
    bytes: Vec<u8>,
    status: u16,
    holds: Vec<String>,
}

impl Call {
    /// A request without a body. `holds` must stand in the answer.
    pub(crate) fn get(path: &str, token: &str, holds: Vec<String>) -> Self {
        let bytes = format!(
            "GET {path} HTTP/1.1\r\nHost: bench.example.com\r\nAuthorization: Bearer {token}\r\n\
             Accept: application/scim+json\r\n\r\n"
        );
        Self {
            bytes: bytes.into_bytes(),
            status: 200,
            holds,
        }
    }

    /// A request with a body.
    pub(crate) fn with_body(
        method: &str,
        path: &str,
        token: &str,
        body: &str,
        status: u16,
        holds: Vec<String>,
    ) -> Self {
        let bytes = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench.example.com\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            bytes: bytes.into_bytes(),
            status,
            holds,
        }
    }
}

/// When a slice of load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After so many requests.
    Count(usize),
}

/// What one slice of load took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Of each request, in no order.
    pub(crate) latencies: Vec<Duration>,
    /// What the server used meanwhile, user and system; `None` where the system does not tell.
    pub(crate) cpu: Option<Duration>,
}

/// Makes the n-th request of a slice.
pub(crate) type Make = Arc<dyn Fn(usize) -> Call + Send + Sync>;

/// Puts load on these servers in turn, over so many connections in all.
pub(crate) async fn load(
    addresses: Vec<SocketAddr>,
    connections: usize,
    until: Until,
    make: Make,
) -> anyhow::Result<Sample> {
    let mut clients = Vec::with_capacity(connections);
    for address in addresses.iter().cycle().take(connections) {
        clients.push(Client::connect(*address).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let (next, make) = (next.clone(), make.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(4096);
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                match until {
                    Until::Elapsed(limit) if started.elapsed() >= limit => break,
                    Until::Count(limit) if n >= limit => break,
                    _ => {}
                }
                let call = make(n);
                let sent = Instant::now();
                client.send(&call).await?;
                latencies.push(sent.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended??);
    }
    Ok(Sample {
        elapsed: started.elapsed(),
        latencies,
        cpu: None,
    })
}

/// Sends `count` requests over so many connections and returns their answers in order.
pub(crate) async fn gather<T: Send + 'static>(
    address: SocketAddr,
    connections: usize,
    count: usize,
    make: Make,
    take: fn(&[u8]) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..connections.min(count) {
        let mut client = Client::connect(address).await?;
        let (next, make) = (next.clone(), make.clone());
        tasks.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(taken);
                }
                taken.push((n, take(client.send(&make(n)).await?)?));
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended??);
    }
    all.sort_by_key(|(n, _)| *n);
    Ok(all.into_iter().map(|(_, taken)| taken).collect())
}

/// The answer to one request.
pub(crate) async fn once(address: SocketAddr, call: &Call) -> anyhow::Result<Vec<u8>> {
    let mut client = Client::connect(address).await?;
    Ok(client.send(call).await?.to_vec())
}

/// One connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Sends a request and returns the checked body of its answer.
    async fn send(&mut self, call: &Call) -> anyhow::Result<&[u8]> {
        let mut rest = call.bytes.as_slice();
        while !rest.is_empty() {
            match self.stream.try_write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.buffer.clear();
        let head = loop {
            match position(&self.buffer, b"\r\n\r\n") {
                Some(end) => break Head::read(&self.buffer[..end], end + 4)?,
                None => self.fill().await?,
            }
        };
        while self.buffer.len() < head.end + head.length {
            self.fill().await?;
        }
        let body = &self.buffer[head.end..];
        let holds = |part: &String| position(body, part.as_bytes()).is_some();
        if head.status != call.status || body.len() != head.length || !call.holds.iter().all(holds)
        {
            bail!(
                "a wrong answer: expected {} with {:?}\nrequest: {}\nanswer: {}",
                call.status,
                call.holds,
                excerpt(&call.bytes),
                excerpt(&self.buffer)
            );
        }
        Ok(body)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

struct Head {
    status: u16,
    length: usize,
    end: usize,
}

impl Head {
    fn read(head: &[u8], end: usize) -> anyhow::Result<Self> {
        let head = std::str::from_utf8(head)?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.get(..3))
            .context("no status line")?
            .parse()?;
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map(|(_, value)| value.trim().parse())
            .transpose()?;
        ensure!(length.is_some() || status == 204, "no Content-Length");
        Ok(Self {
            status,
            length: length.unwrap_or(0),
            end,
        })
    }
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut from = 0;
    // Looking for one byte is fast; comparing all of them at each place is not.
    while let Some(at) = text.get(from..)?.iter().position(|b| *b == first) {
        if text[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(1500)]).into_owned()
}
