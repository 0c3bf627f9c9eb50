//! `usher serve`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use secrecy::SecretString;

use crate::app::{self, ServeOptions};
use crate::config::Networks;
use crate::config::server::DatabaseUrl;
use crate::converge::{DEFAULT_AUDIT_RETENTION, DEFAULT_LEASE, Options};
use crate::http::Doors;
use crate::vault;

use super::time;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Address and port to listen on.
    #[arg(
        long,
        env = "USHER_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS:PORT"
    )]
    listen: String,
    /// The address under which identity providers see this server, as in https://scim.example.com. Needed
    /// behind a proxy that does not pass on the Host header.
    #[arg(long, env = "USHER_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// With several servers on one PostgreSQL database: after how many seconds without a sign of life the work
    /// of one is taken over by the others. Their clocks must not differ by as much.
    #[arg(long, env = "USHER_LEASE", default_value_t = DEFAULT_LEASE.as_secs(), value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(2..=3600))]
    lease: u64,
    /// How long the audit and what runs did are kept, as in 400d; `forever` keeps everything, but of each
    /// connection never more than the last 200 runs.
    #[arg(long, env = "USHER_AUDIT_RETENTION", default_value_t = Retention(Some(DEFAULT_AUDIT_RETENTION)),
          value_name = "TIME")]
    audit_retention: Retention,
    /// File with the master key, which secrets in the database are encrypted with: 32 random bytes in Base64.
    /// Made if it is missing. Without: beside the SQLite file; with PostgreSQL none, and then no access tokens are
    /// made. Several servers on one database need the same key. The environment variable USHER_MASTER_KEY may hold
    /// the key itself instead.
    #[arg(long, env = "USHER_MASTER_KEY_FILE", value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// Proxies in front, as in 10.0.0.0/8,192.0.2.7: what they say about the caller (X-Forwarded-For, -Proto and
    /// -Host) is believed. Nobody else is believed about that.
    #[arg(
        long,
        env = "USHER_TRUSTED_PROXIES",
        default_value = "",
        value_name = "NETWORKS"
    )]
    trusted_proxies: Networks,
    /// Only these addresses may use the SCIM server and the token endpoint.
    #[arg(long, env = "USHER_ALLOW_SCIM", value_name = "NETWORKS", value_parser = Networks::some)]
    allow_scim: Option<Networks>,
    /// Only these addresses may use the login hook.
    #[arg(long, env = "USHER_ALLOW_HOOK", value_name = "NETWORKS", value_parser = Networks::some)]
    allow_hook: Option<Networks>,
    /// Only these addresses may use the pages and the admin API.
    #[arg(long, env = "USHER_ALLOW_ADMIN", value_name = "NETWORKS", value_parser = Networks::some)]
    allow_admin: Option<Networks>,
    /// These addresses may read /metrics without an API token.
    #[arg(
        long,
        env = "USHER_METRICS_FROM",
        default_value = "",
        value_name = "NETWORKS"
    )]
    metrics_from: Networks,
}

/// How long something is kept. `None`: for ever.
#[derive(Debug, Clone, Copy)]
struct Retention(Option<Duration>);

impl std::fmt::Display for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(time) => write!(f, "{}d", time.as_secs() / 86_400),
            None => f.write_str("forever"),
        }
    }
}

impl std::str::FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        match time::duration(text) {
            Some(time) if time >= Duration::from_hours(24) => Ok(Self(Some(time))),
            Some(_) => Err("less than a day would forget what is under way".to_owned()),
            None => Err("expected a time such as 400d, or `forever`".to_owned()),
        }
    }
}

/// Where the master key is: in the environment, in a file, or else in one beside the SQLite file. Servers on one
/// PostgreSQL database need the same key, so there none is made up.
pub(super) fn master_key(database: &DatabaseUrl, file: Option<PathBuf>) -> Option<vault::Source> {
    if let Ok(text) = std::env::var("USHER_MASTER_KEY")
        && !text.is_empty()
    {
        return Some(vault::Source::Text(SecretString::from(text)));
    }
    let beside = match database {
        DatabaseUrl::Sqlite(path) => Some(path.with_extension("key")),
        DatabaseUrl::Postgres(_) => None,
    };
    file.or(beside).map(vault::Source::File)
}

pub(super) async fn run(database: DatabaseUrl, arguments: Arguments) -> anyhow::Result<()> {
    let public_url = arguments
        .public_url
        .map(|url| url.trim_end_matches('/').to_owned());
    if let Some(url) = &public_url
        && !url.starts_with("https://")
        && !url.starts_with("http://")
    {
        bail!("--public-url {url:?} must begin with https:// or http://");
    }
    let master_key = master_key(&database, arguments.master_key_file);
    app::serve(ServeOptions {
        master_key,
        listen: arguments.listen,
        database,
        public_url,
        doors: Doors {
            proxies: arguments.trusted_proxies,
            scim: arguments.allow_scim,
            hook: arguments.allow_hook,
            admin: arguments.allow_admin,
            metrics: arguments.metrics_from,
        },
        engine: Options {
            lease: Duration::from_secs(arguments.lease),
            audit_retention: arguments.audit_retention.0,
        },
    })
    .await
}
