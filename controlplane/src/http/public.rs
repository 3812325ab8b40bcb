//! The public port: every route that clients see, in one place.

use axum::Router;

use super::token::TokenIssuer;
use super::{layers, openapi, page, signaling, token};
use crate::state::AppState;

/// WHIP, WHEP, tokens, the page, and the description of them all, without the layers around them. A route
/// that is added here is described in [`openapi`], or a test fails.
pub fn routes(state: AppState, issuer: TokenIssuer) -> Router {
    signaling::routes(state)
        .merge(token::routes(issuer))
        .merge(openapi::routes())
        .merge(page::routes())
}

/// The port as it serves.
pub fn router(state: AppState, issuer: TokenIssuer, settings: layers::Layers) -> Router {
    layers::wrap(routes(state, issuer).fallback(page::fallback), settings)
}
