//! Settings of the server process itself.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

/// Which database Usher keeps its data in.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// A file, made if it is missing.
    Sqlite(PathBuf),
    /// A server; the whole URL, because it may hold a password.
    Postgres(SecretString),
}

/// Why a text is no address of a database. The text is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// A database of another kind.
    #[error("databases of the kind `{0}` are not supported: use {KNOWN}")]
    UnknownScheme(String),
    /// Neither a URL nor a path that looks like a database.
    #[error("this is not the address of a database: use {KNOWN}")]
    NoScheme,
    /// The part after the scheme cannot be used.
    #[error("{0}: use {KNOWN}")]
    Unusable(&'static str),
}

const KNOWN: &str =
    "`sqlite:PATH`, a path that ends in `.db`, or `postgres://USER:PASSWORD@HOST/DATABASE`";

/// Parameters of a PostgreSQL URL that hold no secret.
const PLAIN_PARAMETERS: &[&str] = &[
    "sslmode",
    "host",
    "port",
    "user",
    "dbname",
    "connect_timeout",
    "application_name",
    "target_session_attrs",
    "sslrootcert",
];

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let Some((scheme, rest)) = scheme(text) else {
            return match text.strip_suffix(".db") {
                Some(_) => sqlite(text),
                None => Err(DatabaseUrlError::NoScheme),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => sqlite(rest.strip_prefix("//").unwrap_or(rest)),
            "postgres" | "postgresql" => match rest.strip_prefix("//") {
                Some(place) if !place.is_empty() && !text.contains(char::is_control) => {
                    Ok(Self::Postgres(SecretString::from(text)))
                }
                _ => Err(DatabaseUrlError::Unusable(
                    "the PostgreSQL URL is incomplete",
                )),
            },
            other => Err(DatabaseUrlError::UnknownScheme(other.to_owned())),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    /// The address without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(&masked(url.expose_secret())),
        }
    }
}

/// Splits off what stands before the first colon if it looks like a scheme (RFC 3986, section 3.1).
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let mut bytes = scheme.bytes();
    let well_formed = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    well_formed.then_some((scheme, rest))
}

fn sqlite(path: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    if path.is_empty() || path.ends_with('/') {
        return Err(DatabaseUrlError::Unusable(
            "the path of the SQLite file is missing",
        ));
    }
    if path.starts_with(":memory:") {
        return Err(DatabaseUrlError::Unusable(
            "a database in memory would lose what Usher has acknowledged",
        ));
    }
    // SQLite would take these for a URI with parameters, some of which switch durability off.
    if path.contains(['?', '#']) || path.starts_with("file:") || path.contains(char::is_control) {
        return Err(DatabaseUrlError::Unusable(
            "the SQLite file must be a plain path",
        ));
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
}

/// Hides passwords. Where it cannot tell, it hides too much rather than too little: a password
/// that is not percent-encoded may itself contain `/`, `?` or `@`.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((userinfo, place)) => match userinfo.split_once(':') {
            Some((user, _)) => (format!("{user}:***@"), place),
            None => (format!("{userinfo}@"), place),
        },
        // Without a user, what follows a colon is a port or a mistake that may be a password.
        None if !ports_are_numbers(rest) => return format!("{scheme}://***"),
        None => (String::new(), rest),
    };
    let (place, parameters) = match place.split_once('?') {
        Some((place, parameters)) => {
            let shown = parameters
                .split('&')
                .map(|parameter| match parameter.split_once('=') {
                    Some((key, _)) if !PLAIN_PARAMETERS.contains(&key) => format!("{key}=***"),
                    _ => parameter.to_owned(),
                });
            (place, format!("?{}", shown.collect::<Vec<_>>().join("&")))
        }
        None => (place, String::new()),
    };
    format!("{scheme}://{user}{place}{parameters}")
}

fn ports_are_numbers(place: &str) -> bool {
    let hosts = place.split(['/', '?']).next().unwrap_or_default();
    hosts
        .split(',')
        .filter(|host| !host.starts_with('['))
        .all(|host| {
            host.split_once(':')
                .is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(text: &str) -> String {
        match text.parse().unwrap() {
            DatabaseUrl::Sqlite(path) => path.to_string_lossy().into_owned(),
            DatabaseUrl::Postgres(_) => panic!("{text} is not SQLite"),
        }
    }

    fn shown(text: &str) -> String {
        text.parse::<DatabaseUrl>().unwrap().to_string()
    }

    #[test]
    fn sqlite_addresses() {
        assert_eq!(path_of("sqlite:usher.db"), "usher.db");
        assert_eq!(
            path_of("sqlite:/var/lib/usher/usher.sqlite"),
            "/var/lib/usher/usher.sqlite"
        );
        assert_eq!(path_of("sqlite://data/usher.db"), "data/usher.db");
        assert_eq!(path_of("sqlite:///var/lib/usher.db"), "/var/lib/usher.db");
        assert_eq!(path_of("SQLite:usher.db"), "usher.db");
        assert_eq!(path_of(" /var/lib/usher.db "), "/var/lib/usher.db");
        assert_eq!(path_of("./a:b.db"), "./a:b.db");
        assert_eq!(shown("usher.db"), "sqlite:usher.db");
    }

    #[test]
    fn postgres_addresses_keep_their_password_to_themselves() {
        let url = "postgresql://usher:s3cret@db.example.com:5432/usher?sslmode=require";
        let DatabaseUrl::Postgres(kept) = url.parse().unwrap() else {
            panic!("not PostgreSQL")
        };
        assert_eq!(kept.expose_secret(), url);
        assert_eq!(
            shown(url),
            "postgresql://usher:***@db.example.com:5432/usher?sslmode=require"
        );
        for url in [
            "postgres://usher:s3/cret@db/usher",
            "postgres://usher:s3cret?x=1@db/usher",
            "postgres://usher:@s3cret@db/usher",
            "postgres://usher@db/usher?password=s3cret",
            "postgres://usher@db/usher?sslmode=require&sslpassword=s3cret",
            "postgres://db/usher?pass%77ord=s3cret",
            "postgres://usher:s3cret@db",
        ] {
            let text = shown(url);
            assert!(!text.contains("s3") && !text.contains("cret"), "{text}");
            assert!(text.contains("db"), "{text}");
            let debug = format!("{:?}", url.parse::<DatabaseUrl>().unwrap());
            assert!(!debug.contains("s3"), "{debug}");
        }
        assert_eq!(
            shown("postgres://usher@db/usher"),
            "postgres://usher@db/usher"
        );
        assert_eq!(shown("postgres:///usher"), "postgres:///usher");
        assert_eq!(
            shown("postgres://a:5432,[::1]:5433/usher"),
            "postgres://a:5432,[::1]:5433/usher"
        );
        assert_eq!(shown("postgres://usher:s3cret/usher"), "postgres://***");
    }

    #[test]
    fn anything_else_is_refused_with_the_known_forms_and_without_the_text() {
        for (text, beginning) in [
            (
                "mysql://root:s3cret@db/usher",
                "databases of the kind `mysql` are not supported: use",
            ),
            (
                "mysql:s3cret.db",
                "databases of the kind `mysql` are not supported: use",
            ),
            (
                "http://s3cret",
                "databases of the kind `http` are not supported: use",
            ),
            ("s3cret", "this is not the address of a database: use"),
            ("", "this is not the address of a database: use"),
            ("sqlite:", "the path of the SQLite file is missing: use"),
            ("sqlite://", "the path of the SQLite file is missing: use"),
            (
                "sqlite:s3cret/",
                "the path of the SQLite file is missing: use",
            ),
            ("sqlite::memory:", "a database in memory would lose"),
            (
                "sqlite:s3cret.db?mode=memory",
                "the SQLite file must be a plain path: use",
            ),
            (
                "sqlite:file:s3cret.db",
                "the SQLite file must be a plain path: use",
            ),
            ("postgres://", "the PostgreSQL URL is incomplete: use"),
            ("postgres:s3cret", "the PostgreSQL URL is incomplete: use"),
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(error.starts_with(beginning), "{text}: {error}");
            assert!(
                error.contains("`sqlite:PATH`") && error.contains("`postgres://"),
                "{error}"
            );
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
