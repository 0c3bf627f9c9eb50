//! The baseline for a server that writes: a bare actix-web server that takes the same pushes and stores the same rows,
//! and does nothing else. It reads no JSON, knows no caller, marks no work and writes no log.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use anyhow::Context;
use tokio::sync::oneshot;
use usher::domain::new_id;

use crate::process;
use crate::raw::{Raw, Rows};

/// The first argument of a child that is to be this server.
pub(crate) const AS_STORING: &str = "as-storing";

/// A push, and whoever waits for its id.
struct Push {
    body: String,
    reply: oneshot::Sender<String>,
}

/// What the child does. `database` is a file that `usher apply` has made.
pub(crate) fn serve(address: &str, database: &Path) -> anyhow::Result<ExitCode> {
    let raw = Raw::open(database)?;
    let (sender, queue) = channel();
    let writer = std::thread::spawn(move || write(raw, &queue));
    process::serve(address, move |config| {
        config
            .app_data(web::Data::new(sender.clone()))
            .default_service(web::to(take));
    })?;
    writer.join().ok().context("the writer panicked")??;
    Ok(ExitCode::SUCCESS)
}

async fn take(sender: web::Data<Sender<Push>>, body: String) -> HttpResponse {
    let (reply, answer) = oneshot::channel();
    let rest = body.get(1..).unwrap_or_default().to_owned();
    let sent = sender.send(Push { body, reply });
    match (sent, answer.await) {
        (Ok(()), Ok(id)) => HttpResponse::Created()
            .insert_header((header::CONTENT_TYPE, "application/scim+json"))
            .insert_header((header::ETAG, "W/\"1\""))
            .body(format!("{{\"id\":\"{id}\",{rest}")),
        // The probe of a start has no body, which the writer does not answer; of a push this would be a wrong answer.
        _ => HttpResponse::Ok().finish(),
    }
}

/// Commits together what is waiting, as the real server does.
fn write(mut raw: Raw, queue: &Receiver<Push>) -> anyhow::Result<()> {
    while let Ok(first) = queue.recv() {
        raw.begin()?;
        let mut stored = Vec::new();
        for push in std::iter::once(first).chain(queue.try_iter()) {
            let Some(name) = user_name(&push.body) else {
                continue;
            };
            let rows = Rows {
                id: new_id(),
                name: name.to_owned(),
                search: push.body.to_lowercase(),
                doc: push.body,
            };
            raw.put(&rows)?;
            stored.push((push.reply, rows.id));
        }
        raw.commit()?;
        for (reply, id) in stored {
            let _ = reply.send(id);
        }
    }
    Ok(())
}

fn user_name(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("\"userName\":\"")?;
    Some(rest.split_once('"')?.0)
}
