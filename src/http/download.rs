//! Long lists as files: sent while they are read, so that no list is ever in memory as a whole.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::web::Bytes;
use tokio::sync::mpsc;

/// The pieces of a file, as they come.
struct Pieces(mpsc::Receiver<Bytes>);

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.get_mut()
            .0
            .poll_recv(context)
            .map(|piece| piece.map(Ok))
    }
}

/// A file that a browser saves, and the way in for its pieces. Sending fails when nobody waits for it any more.
pub(super) fn file(name: &str, kind: &'static str) -> (HttpResponse, mpsc::Sender<Bytes>) {
    let (sender, receiver) = mpsc::channel(2);
    let answer = HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(Pieces(receiver));
    (answer, sender)
}

/// A line of comma-separated values (RFC 4180).
pub(super) fn csv_line(cells: &[&str]) -> String {
    let quoted: Vec<String> = cells
        .iter()
        .map(|cell| {
            // Spreadsheets take such a cell for a formula, and names come from outside.
            let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                "'"
            } else {
                ""
            };
            format!("\"{guard}{}\"", cell.replace('"', "\"\""))
        })
        .collect();
    quoted.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::csv_line;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        assert_eq!(
            csv_line(&["a", "b \"c\", d", "=1+1"]),
            "\"a\",\"b \"\"c\"\", d\",\"'=1+1\"\r\n"
        );
    }
}
