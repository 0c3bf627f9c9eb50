//! SCIM over HTTP, on both databases.

mod bulk;
mod errors;
mod idcs;
mod members;
mod paging;
mod resources;
mod sorting;
mod tenancy;

use serde_json::{Value, json};
use usher::scim::schema;

/// A body that creates a user.
pub(crate) fn user(name: &str) -> Value {
    json!({"schemas": [schema::USER], "userName": name})
}

/// A body with all that a target asks for.
pub(crate) fn person(name: &str) -> Value {
    let mut body = user(name);
    body["displayName"] = json!(format!("The {name}"));
    body["emails"] = json!([{"value": format!("{name}@example.com"), "primary": true}]);
    body
}

/// A body that creates a group.
pub(crate) fn group(name: &str) -> Value {
    json!({"schemas": [schema::GROUP], "displayName": name})
}

/// A body of one PATCH operation.
pub(crate) fn patch(op: &str, path: &str, value: Value) -> Value {
    operations(json!([{"op": op, "path": path, "value": value}]))
}

/// A body of PATCH operations.
pub(crate) fn operations(operations: Value) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations})
}

/// A configuration with one connection and one target, so that changes mark work.
pub(crate) fn configuration(kind: &str) -> String {
    format!(
        r#"
[[connection]]
name = "corp"
kind = "{kind}"

[[target]]
name = "jira"
kind = "jira-dc"
base_url = "http://127.0.0.1:1"
token = {{ env = "NONE" }}

[[mapping]]
connection = "corp"
target = "jira"
mode = "live"

[mapping.groups]
on_the_fly = true
create_missing = true
"#
    )
}

/// An answer whose body need not be JSON.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Status code.
    pub(crate) status: u16,
    /// Header lines, in lower case.
    pub(crate) head: String,
    /// Body.
    pub(crate) body: String,
}

/// Sends bytes as they are, for what no client library would send.
pub(crate) async fn raw(base: &str, head: &str, body: &[u8]) -> Raw {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rest = base.strip_prefix("http://").unwrap();
    let host = rest.split('/').next().unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let (request, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for line in headers.lines() {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    // The server may answer and close before it has read everything.
    let (mut reader, mut writer) = stream.into_split();
    let body = body.to_owned();
    let sending = tokio::spawn(async move {
        let _ = writer.write_all(&body).await;
        writer
    });
    let mut answer = Vec::new();
    let mut part = vec![0; 65_536];
    while !is_whole(&answer) {
        match reader.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&part[..n]),
        }
    }
    sending.abort();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Raw {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| panic!("no answer: {answer:?}")),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// Whether an answer has come in full; the server may keep the connection open for the rest of the request.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    head.lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.trim().parse::<usize>().ok())
        .is_some_and(|length| body.len() >= length)
}

/// Percent-encodes a value of a query string.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}
