//! The composition root: builds everything, starts it, and stops it gracefully.

mod apply;
pub mod groups;
pub mod keep;
mod lock;
pub mod tls;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::Context;
use rustls::ServerConfig;
use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use apply::{apply, apply_text};

pub use crate::configure::{By, Change, Report};

use crate::alerts::Watch;
use crate::auth::Issuer;
use crate::clock::Clock;
use crate::config::server::DatabaseUrl;
use crate::configure::{self, resolve};
use crate::consent::{self, Consents, Kept};
use crate::converge::{Connect, Engine, Options};
use crate::domain::{ClientAuth, Connection, Grant, TargetAuth};
use crate::http;
use crate::idcs::{self, Idcs, RefreshTokens};
use crate::intake::Intake;
use crate::login::Login;
use crate::outbound::Credential;
use crate::reconcile::{self, Reconciler, Scheduler};
use crate::store::{self, Store, drift, group_work, work};
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
    /// Who may come in where.
    pub doors: http::Doors,
    /// Certificate and key, if the server itself speaks TLS.
    pub tls: Option<tls::Files>,
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
    /// What reads domains.
    pub reconciler: Reconciler,
}

/// Puts the parts together.
pub fn assemble(
    store: Store,
    clock: Clock,
    connect: Connect,
    vault: Option<Vault>,
    public_url: Option<String>,
    options: &Options,
) -> Parts {
    let wake = Arc::new(Notify::new());
    let intake = Intake::new(store.clone(), clock.clone(), wake.clone());
    let engine = Engine::new(store.clone(), clock.clone(), connect, wake, options);
    let reconciler = reconciler_through(&store, &clock, vault.clone(), intake.clone());
    let kept = vault.clone();
    let consents = Consents::new(
        store.clone(),
        clock.clone(),
        vault.clone(),
        reconciler.clone(),
    );
    let issuer = vault.map(|vault| Issuer::new(store.clone(), clock.clone(), vault));
    let login = Login::new(
        store.clone(),
        clock.clone(),
        intake.clone(),
        reconciler.clone(),
    );
    let sign_on = kept.clone().map(|vault| login.sign_on(vault));
    let state = http::State::new(
        store.clone(),
        intake.clone(),
        engine.clone(),
        clock,
        public_url,
    )
    .with_login(login)
    .with_consents(consents)
    .with_sign_on(sign_on)
    .with_reconciler(reconciler.clone())
    .with_vault(kept);
    let state = match issuer {
        Some(issuer) => state.with_issuer(issuer),
        None => state,
    };
    Parts {
        store,
        intake,
        engine,
        state,
        reconciler,
    }
}

/// Connects to targets with secrets from where the configuration says they are.
pub fn connector(vault: Option<Vault>) -> Connect {
    Arc::new(move |settings| {
        let vault = vault.as_ref();
        let credential = match &settings.auth {
            TargetAuth::Token(reference) => Credential::Bearer(resolve(vault, reference)?),
            TargetAuth::Basic { username, password } => Credential::Basic {
                username: username.clone(),
                password: resolve(vault, password)?,
            },
        };
        crate::targets::connect(settings, credential).map_err(|e| e.to_string())
    })
}

/// A client of the domain that a connection reads, with its secret from where the configuration says it is.
fn domain(
    connection: &Connection,
    attributes: &[String],
    store: &Store,
    vault: Option<&Vault>,
    clock: &Clock,
) -> Result<Idcs, String> {
    let settings = &connection.settings;
    let Some(pull) = &settings.pull else {
        return Err(format!(
            "connection {} does not say how its domain is read: add base_url, client_id and client_secret",
            settings.name
        ));
    };
    let refresh: Option<Arc<dyn RefreshTokens>> = match (pull.grant, vault) {
        (Grant::ClientCredentials, _) => None,
        (Grant::RefreshToken, Some(vault)) => {
            let (store, id) = (store.clone(), connection.id.clone());
            Some(Arc::new(Kept::new(store, clock.clone(), vault.clone(), id)))
        }
        (Grant::RefreshToken, None) => return Err(consent::Error::NoKey.to_string()),
    };
    let (ClientAuth::Secret(reference) | ClientAuth::PrivateKey { key: reference, .. }) =
        &pull.auth;
    let secret = idcs::Secret {
        value: resolve(vault, reference)?,
        refresh,
    };
    let options = idcs::Options::default();
    Idcs::new(pull, attributes, secret, options, clock.clone()).map_err(|e| e.to_string())
}

/// The reconciler of a process that has no engine: what it marks is found by those that have.
pub fn reconciler(store: &Store, clock: &Clock, vault: Option<Vault>) -> Reconciler {
    let intake = Intake::new(store.clone(), clock.clone(), Arc::new(Notify::new()));
    reconciler_through(store, clock, vault, intake)
}

/// Consents of a process that serves nobody: the server ends what it begins.
pub fn consents(store: &Store, clock: &Clock, vault: Option<Vault>) -> Consents {
    let reconciler = reconciler(store, clock, vault.clone());
    Consents::new(store.clone(), clock.clone(), vault, reconciler)
}

fn reconciler_through(
    store: &Store,
    clock: &Clock,
    vault: Option<Vault>,
    intake: Intake,
) -> Reconciler {
    let (database, time) = (store.clone(), clock.clone());
    let connect: reconcile::Connect = Arc::new(move |connection, attributes| {
        domain(connection, attributes, &database, vault.as_ref(), &time)
    });
    Reconciler::new(store.clone(), intake, clock.clone(), connect)
}

/// The HTTP server on a bound socket.
pub fn http_server(state: http::State, listener: TcpListener) -> std::io::Result<Server> {
    server(state, listener, None)
}

/// The same, with TLS if there is a configuration of it.
fn server(
    state: http::State,
    listener: TcpListener,
    secured: Option<ServerConfig>,
) -> std::io::Result<Server> {
    let state = web::Data::new(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(from_fn(http::request_span))
            .configure(http::routes)
    })
    .disable_signals()
    .shutdown_timeout(GRACE_S);
    let server = match secured {
        Some(secured) => server.listen_rustls_0_23(listener, secured)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Runs a server until it is told to stop (SIGTERM, SIGINT).
pub async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let _only = lock::take(&options.database)?;
    let store = Store::open(&options.database)?;
    let clock = Clock::System;
    let vault = options.master_key.as_ref().map(Vault::open).transpose()?;
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
            .write(|tx| -> Result<usize, store::Error> {
                Ok(work::release_all(tx)? + group_work::release_all(tx)? + drift::release_all(tx)?)
            })
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
        connector(vault.clone()),
        vault,
        options.public_url,
        &options.engine,
    );
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    if let Some(code) = parts.state.seat.setup_code().await? {
        // Meant to be read in the log, once, by whoever runs the host: it makes the first administrator and
        // nothing else.
        tracing::info!(
            page = %format!("{}/setup", parts.state.public_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"))),
            code = code.expose_secret(),
            "nobody administers this server yet: open the page and enter the code"
        );
    }
    if parts.store.is_shared() {
        let wake = parts.intake.waker();
        parts.intake.bell().hang(&options.database, wake)?;
    }
    let keeper = options.tls.map(tls::Keeper::open).transpose()?;
    let secured = keeper.as_ref().map(tls::Keeper::server).transpose()?;
    let state = parts.state.clone().with_doors(options.doors);
    let server = server(state, listener, secured)?;
    let handle = server.handle();
    tracing::info!(%address, database = %options.database, version = env!("CARGO_PKG_VERSION"), "ready");

    let stop = CancellationToken::new();
    let engine = tokio::spawn({
        let (engine, stop) = (parts.engine.clone(), stop.clone());
        async move { engine.run(stop).await }
    });
    let scheduler = tokio::spawn({
        let (scheduler, stop) = (Scheduler::new(parts.reconciler.clone()), stop.clone());
        async move { scheduler.run(stop).await }
    });
    if let Some(keeper) = keeper {
        tokio::spawn(keeper.run(stop.clone()));
    }
    let watch = tokio::spawn({
        let (store, metrics) = (parts.store.clone(), parts.engine.metrics().clone());
        let secrets = configure::secrets(parts.state.vault.clone());
        Watch::new(store, Clock::System, metrics, secrets).run(stop.clone())
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
    // A run that is cut off is made up for by the next one.
    scheduler.abort();
    watch.abort();
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
