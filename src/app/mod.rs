//! The composition root: builds everything, starts it, and stops it gracefully.

mod apply;
mod lock;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::Context;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use apply::{Change, Report, apply};

use crate::auth::Issuer;
use crate::clock::Clock;
use crate::config::secret;
use crate::config::server::DatabaseUrl;
use crate::converge::{Connect, Engine, Options};
use crate::domain::TargetAuth;
use crate::http;
use crate::intake::Intake;
use crate::outbound::Credential;
use crate::store::{self, Store, work};
use crate::vault::{self, Vault};

/// How long requests under way may take to end after a stop was asked for, in seconds.
const GRACE_S: u64 = 15;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Address and port.
    pub listen: String,
    /// Where the data is.
    pub database: DatabaseUrl,
    /// The address under which identity providers see this server, if it is not the one they send.
    pub public_url: Option<String>,
    /// How the engine works.
    pub engine: Options,
    /// Where the master key is, which secrets in the database are encrypted with. Without: no access tokens.
    pub master_key: Option<vault::Source>,
}

/// The parts of a running server.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The door into the mirror.
    pub intake: Intake,
    /// The engine.
    pub engine: Engine,
    /// What handlers need.
    pub state: http::State,
}

/// Puts the parts together.
pub fn assemble(
    store: Store,
    clock: Clock,
    connect: Connect,
    public_url: Option<String>,
    options: &Options,
) -> Parts {
    let wake = Arc::new(Notify::new());
    let intake = Intake::new(store.clone(), clock.clone(), wake.clone());
    let engine = Engine::new(store.clone(), clock.clone(), connect, wake, options);
    let state = http::State::new(store.clone(), intake.clone(), clock, public_url);
    Parts {
        store,
        intake,
        engine,
        state,
    }
}

/// Connects to targets with secrets from where the configuration says they are.
pub fn connector() -> Connect {
    Arc::new(|settings| {
        let credential = match &settings.auth {
            TargetAuth::Token(reference) => {
                Credential::Bearer(secret::resolve(reference).map_err(|e| e.to_string())?)
            }
            TargetAuth::Basic { username, password } => Credential::Basic {
                username: username.clone(),
                password: secret::resolve(password).map_err(|e| e.to_string())?,
            },
        };
        crate::targets::connect(settings, credential).map_err(|e| e.to_string())
    })
}

/// The HTTP server on a bound socket.
pub fn http_server(state: http::State, listener: TcpListener) -> std::io::Result<Server> {
    let state = web::Data::new(state);
    Ok(HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(from_fn(http::request_span))
            .configure(http::routes)
    })
    .disable_signals()
    .shutdown_timeout(GRACE_S)
    .listen(listener)?
    .run())
}

/// Runs a server until it is told to stop (SIGTERM, SIGINT).
pub async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let _only = lock::take(&options.database)?;
    let store = Store::open(&options.database)?;
    let clock = Clock::System;
    let vault = options.master_key.as_ref().map(Vault::open).transpose()?;
    let issuer = vault.map(|vault| Issuer::new(store.clone(), clock.clone(), vault));
    // A new server may come with a new credential, or after a repair.
    store
        .write(|tx| -> Result<(), store::Error> {
            if work::try_again(tx, None)? == 0 {
                tx.discard();
            }
            Ok(())
        })
        .await?;
    if !store.is_shared() {
        // Nobody else can hold a lease on this file: whatever is leased was cut off by a crash.
        let released = store
            .write(|tx| -> Result<usize, store::Error> { work::release_all(tx) })
            .await?;
        if released > 0 {
            tracing::warn!(
                released,
                "work items of a crashed server are taken up again"
            );
        }
    }
    let listener = TcpListener::bind(&options.listen)
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    let parts = assemble(
        store,
        clock,
        connector(),
        options.public_url,
        &options.engine,
    );
    let state = match issuer {
        Some(issuer) => parts.state.clone().with_issuer(issuer),
        None => parts.state.clone(),
    };
    let server = http_server(state, listener)?;
    let handle = server.handle();
    tracing::info!(%address, database = %options.database, version = env!("CARGO_PKG_VERSION"), "ready");

    let stop = CancellationToken::new();
    let engine = tokio::spawn({
        let (engine, stop) = (parts.engine.clone(), stop.clone());
        async move { engine.run(stop).await }
    });
    let mut server = tokio::spawn(server);
    tokio::select! {
        () = told_to_stop() => tracing::info!("stopping: requests and operations under way end first"),
        ended = &mut server => {
            ended.context("the HTTP server ended unexpectedly")??;
        }
    }
    // No new requests first, so that nothing is acknowledged that the engine will not see.
    handle.stop(true).await;
    stop.cancel();
    if tokio::time::timeout(Duration::from_secs(GRACE_S * 4), engine)
        .await
        .is_err()
    {
        tracing::warn!("an operation did not end in time; it is taken up again at the next start");
    }
    tracing::info!("stopped");
    Ok(())
}

async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
