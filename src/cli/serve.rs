//! `usher serve`

use anyhow::bail;

use crate::app::{self, ServeOptions};
use crate::config::server::DatabaseUrl;

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
    app::serve(ServeOptions {
        listen: arguments.listen,
        database,
        public_url,
    })
    .await
}
