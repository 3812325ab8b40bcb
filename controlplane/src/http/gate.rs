//! After a start the sessions of an earlier control plane are taken over first: whoever asks about
//! streams and sessions before that waits, instead of hearing that they do not exist.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::state::AppState;

/// Lets requests through once the rooms are those of the data plane.
pub(super) async fn settled(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    // A preflight says the same at any time, and so does what an endpoint is.
    let asks = matches!(*request.method(), Method::OPTIONS | Method::HEAD);
    if asks || state.registry.settled().await {
        next.run(request).await
    } else {
        Problem::media_down().into_response()
    }
}
