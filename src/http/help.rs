//! The administrator's guide, embedded, so that it is always the guide of this version.

use actix_web::http::header::{self, ContentType};
use actix_web::{HttpResponse, web};
use pulldown_cmark::{Options, Parser, html};

/// Name and text of each page.
pub const PAGES: &[(&str, &str)] = &[
    ("", include_str!("../help/index.md")),
    ("idcs", include_str!("../help/idcs.md")),
    ("scim", include_str!("../help/scim.md")),
    ("pull", include_str!("../help/pull.md")),
    ("login", include_str!("../help/login.md")),
    ("jira", include_str!("../help/jira.md")),
    ("confluence", include_str!("../help/confluence.md")),
    ("bitbucket", include_str!("../help/bitbucket.md")),
    ("crowd", include_str!("../help/crowd.md")),
    ("guard", include_str!("../help/guard.md")),
    ("configuration", include_str!("../help/configuration.md")),
    ("settings", include_str!("../help/settings.md")),
    ("brakes", include_str!("../help/brakes.md")),
    ("drift", include_str!("../help/drift.md")),
    ("operation", include_str!("../help/operation.md")),
    ("monitoring", include_str!("../help/monitoring.md")),
    ("network", include_str!("../help/network.md")),
    ("keep", include_str!("../help/keep.md")),
    ("alerts", include_str!("../help/alerts.md")),
    ("seat", include_str!("../help/seat.md")),
];

const STYLE: &str = "\
    :root { color-scheme: light dark; } \
    body { font: 16px/1.55 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem 1rem 4rem; \
        color: light-dark(#1c2430, #e4e8ee); background: light-dark(#fff, #14181f); } \
    h1 { line-height: 1.2; } h2 { margin-top: 2.2rem; } \
    a { color: light-dark(#0b5bbf, #7db8ff); } \
    nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: .4rem 0 1rem; border-bottom: 1px solid light-dark(#d5dae1, #343c48); } \
    code { font: .92em ui-monospace, monospace; background: light-dark(#f0f2f5, #222a35); padding: .1em .3em; \
        border-radius: 3px; overflow-wrap: break-word; } \
    pre { background: light-dark(#f0f2f5, #222a35); padding: .8rem 1rem; overflow-x: auto; border-radius: 5px; } \
    pre code { padding: 0; overflow-wrap: normal; } \
    .table { overflow-x: auto; } \
    td + td code { overflow-wrap: anywhere; } \
    table { border-collapse: collapse; width: 100%; } \
    th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0; \
        border-bottom: 1px solid light-dark(#d5dae1, #343c48); }";

/// `GET /help`
pub(super) async fn index() -> HttpResponse {
    shown("")
}

/// `GET /help/{page}`
pub(super) async fn page(name: web::Path<String>) -> HttpResponse {
    shown(&name)
}

fn shown(name: &str) -> HttpResponse {
    let Some((_, text)) = PAGES.iter().find(|(known, _)| *known == name) else {
        return HttpResponse::NotFound()
            .content_type(ContentType::plaintext())
            .body("There is no such page; /help has the list.");
    };
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(document(text))
}

/// A page of our own text: nothing of a user is in it.
fn document(text: &str) -> String {
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(text, Options::ENABLE_TABLES));
    // A wide table scrolls by itself on a phone.
    let body = body
        .replace("<table>", "<div class=\"table\" tabindex=\"0\"><table>")
        .replace("<pre>", "<pre tabindex=\"0\">")
        .replace("</table>", "</table></div>")
        // A column without a name is none for whoever hears the page.
        .replace("<th></th>", "<td></td>");
    let title = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("# ");
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><base href=\"/help/\"><style>{STYLE}</style></head><body>\
         <nav><a href=\"/help\">Guide</a><a href=\"idcs\">IDCS</a><a href=\"scim\">SCIM</a><a href=\"jira\">Jira</a>\
         <a href=\"confluence\">Confluence</a><a href=\"bitbucket\">Bitbucket</a><a href=\"crowd\">Crowd</a>\
         <a href=\"guard\">Guard</a>\
         <a href=\"configuration\">Configuration</a><a href=\"brakes\">Brakes</a><a href=\"operation\">Day by day</a>\
         <a href=\"seat\">Pages and API</a></nav>\
         <main>{body}</main></body></html>"
    )
}
