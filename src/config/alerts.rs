//! `[alerts]`: of what an administrator is told, and how.

use super::section::{At, Reader, Section};
use super::shape;
use crate::domain::{AlertSettings, MailSettings, MailTls, WebhookSettings};

/// The longest time that may pass before something is told, in seconds: four weeks.
const MOST_S: u64 = 28 * 86_400;

/// Reads the table.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> AlertSettings {
    let mut after = |key: &str, default: Option<u64>| {
        if !section.has(key) {
            return default;
        }
        if section.text_is(key, "off") {
            return None;
        }
        section.seconds(reader, key, 60..MOST_S + 1)
    };
    let usual = AlertSettings::default();
    let no_push_s = after("no_push", usual.no_push_s);
    let backlog_s = after("backlog", usual.backlog_s);
    let unreachable_s = after("unreachable", usual.unreachable_s);
    let webhook = section
        .table(reader, "webhook", &shape::WEBHOOK)
        .and_then(|table| webhook(reader, &table));
    let mail = section
        .table(reader, "mail", &shape::MAIL)
        .and_then(|table| mail(reader, &table));
    AlertSettings {
        no_push_s,
        backlog_s,
        unreachable_s,
        webhook,
        mail,
    }
}

fn webhook(reader: &mut Reader<'_>, table: &Section<'_, '_>) -> Option<WebhookSettings> {
    if !table.has("url") {
        table.missing(reader, "url", "url = { env = \"ALERT_WEBHOOK\" }");
    }
    let token = table.secret(reader, "token");
    Some(WebhookSettings {
        url: table.secret(reader, "url")?,
        token,
    })
}

fn mail(reader: &mut Reader<'_>, table: &Section<'_, '_>) -> Option<MailSettings> {
    let server = super::file::required(reader, table, "server", "server = \"smtp.example.com\"");
    let tls = table
        .word(reader, "tls", shape::MAIL_TLS)
        .unwrap_or(MailTls::Starttls);
    let port = table
        .number(reader, "port", 1..65_536)
        .and_then(|port| u16::try_from(port).ok());
    let username = table.text(reader, "username");
    let password = table.secret(reader, "password");
    if table.has("username") != table.has("password") {
        let (there, missing) = if table.has("username") {
            ("username", "password")
        } else {
            ("password", "username")
        };
        let message = format!("`{missing}` is missing: `{there}` needs one");
        reader.problem(table.place_of(there), table.path_of(missing), message);
    }
    let from = super::file::required(reader, table, "from", "from = \"usher@example.com\"")
        .and_then(|from| address(reader, table, "from", from));
    if !table.has("to") {
        table.missing(reader, "to", "to = [\"ops@example.com\"]");
    }
    let to: Vec<String> = table
        .texts(reader, "to")?
        .into_iter()
        .filter_map(|to| address(reader, table, "to", to))
        .collect();
    if to.is_empty() && table.entries("to").is_empty() {
        let message = "`to` is empty: name at least one address";
        reader.problem(table.place_of("to"), table.path_of("to"), message);
    }
    Some(MailSettings {
        server: server?.value,
        port: port.unwrap_or(tls.usual_port()),
        tls,
        login: username.map(|name| name.value).zip(password),
        from: from?,
        to,
    })
}

/// A plain address, without a name.
fn address(
    reader: &mut Reader<'_>,
    table: &Section<'_, '_>,
    key: &str,
    At { value, at }: At<String>,
) -> Option<String> {
    let fits = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| !c.is_whitespace() && !c.is_control() && !"<>,;\"".contains(c))
    };
    let is_address = value
        .rsplit_once('@')
        .is_some_and(|(name, host)| fits(name) && fits(host) && !name.contains('@'));
    if !is_address {
        let message = format!("`{key}` should be an address, as in \"ops@example.com\"");
        reader.problem(at, table.path_of(key), message);
        return None;
    }
    Some(value)
}
