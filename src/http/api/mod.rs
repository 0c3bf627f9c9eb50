//! `/api/v1`: what the pages do, for programs.

use actix_web::web;

use super::access::Route;

/// The routes and who may use them.
pub(super) const ROUTES: &[Route] = &[];

pub(super) fn routes(_config: &mut web::ServiceConfig) {}
