//! Usher takes users and groups from Oracle IDCS over SCIM 2.0 and keeps the Atlassian products in step.
//!
//! One idea: push, pull and login only change the *mirror* and *mark work*, in one transaction, through one
//! door; one engine converges targets to what mirror and mappings say.
//!
//! ```text
//!  IDCS push ──▶ http ──▶ intake ──▶ store: mirror + work items ──▶ converge ──▶ targets ──▶ Jira
//! ```
//!
//! # The house, and who may import whom
//!
//! Lower rows never import higher ones; `tests/it/tidy.rs` reads the sources and fails otherwise.
//!
//! | Layer | Module | May import |
//! |---|---|---|
//! | 0 | [`scim`], [`domain`], [`clock`] | nothing of ours |
//! | 1 | [`config`] | domain |
//! | 1 | [`mapping`] | scim, domain |
//! | 1 | [`telemetry`] | nothing of ours |
//! | 2 | [`outbound`] | domain, clock, config |
//! | 1 | [`vault`] | nothing of ours |
//! | 1 | [`metrics`] | nothing of ours |
//! | 2 | [`store`] | scim, domain, clock, config |
//! | 3 | [`auth`] | store, vault, domain, clock, config |
//! | 3 | [`idcs`] | scim, outbound, domain, clock, config |
//! | 3 | [`targets`] | domain, scim, outbound, clock, config |
//! | 4 | [`intake`] | store, scim, domain, clock |
//! | 4 | [`converge`] | store, targets, mapping, metrics, telemetry, scim, domain, clock, config |
//! | 5 | [`configure`] | config, mapping, vault, store, domain, clock |
//! | 5 | [`reconcile`] | idcs, intake, store, scim, domain, clock, config |
//! | 5 | [`alerts`] | outbound, store, metrics, domain, clock, config |
//! | 5 | [`login`] | reconcile, idcs, intake, auth, vault, store, domain, clock |
//! | 5 | [`consent`] | reconcile, idcs, auth, vault, store, domain, clock |
//! | 6 | [`http`] | login, consent, reconcile, alerts, vault, auth, intake, converge, configure, store, mapping, metrics, telemetry, scim, domain, clock, config |
//! | 7 | [`app`] | all below |
//! | 8 | [`cli`] | all below |
//!
//! `diesel` is named only in `store`, `actix_web` only in `http` and `app`, `reqwest` only in `outbound`.

pub mod alerts;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod configure;
pub mod consent;
pub mod converge;
pub mod domain;
pub mod http;
pub mod idcs;
pub mod intake;
pub mod login;
pub mod mapping;
pub mod metrics;
pub mod outbound;
pub mod reconcile;
pub mod scim;
pub mod store;
pub mod targets;
pub mod telemetry;
pub mod vault;
