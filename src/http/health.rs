//! Probes for load balancers and orchestrators.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::State;
use crate::store::settings;

/// `GET /healthz`: the process runs.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// `GET /readyz`: the server can do its work, which is to say that the database answers. A target that is
/// down is no reason to refuse pushes.
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    match state.store.read(settings::generation).await {
        Ok(_) => HttpResponse::Ok().json(json!({"status": "ok", "database": "ok"})),
        Err(error) => {
            tracing::error!(%error, "not ready");
            HttpResponse::ServiceUnavailable()
                .json(json!({"status": "unavailable", "database": "unavailable"}))
        }
    }
}
