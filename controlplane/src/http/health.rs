//! The ops port: is the process alive, may it get traffic, what does it count.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;

use super::metrics::Metrics;
use super::problem::Problem;

/// Whether the node may get traffic; clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    link_up: Arc<watch::Sender<bool>>,
    media_answers: Arc<watch::Sender<bool>>,
    draining: Arc<watch::Sender<bool>>,
    metrics: Metrics,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Health {
        Health {
            link_up: Arc::new(watch::Sender::new(false)),
            media_answers: Arc::new(watch::Sender::new(true)),
            draining: Arc::new(watch::Sender::new(false)),
            metrics,
        }
    }

    /// The data plane is linked and its sessions are known here, or no longer.
    pub fn set_link_up(&self, up: bool) {
        self.link_up.send_replace(up);
        self.metrics.set_link_up(up);
    }

    /// Whether the data plane is linked and its sessions are known here.
    #[must_use]
    pub fn link_up(&self) -> bool {
        *self.link_up.borrow()
    }

    /// Returns once the data plane is linked and its sessions are known here.
    pub async fn wait_for_link(&self) {
        self.link_up
            .subscribe()
            .wait_for(|up| *up)
            .await
            .expect("invariant: the sender lives in self");
    }

    /// Whether the node takes nobody new, from now on.
    pub fn set_draining(&self, draining: bool) {
        self.draining.send_replace(draining);
    }

    /// The data plane answers its orders, or has fallen silent with the link up.
    pub fn set_media_answers(&self, answers: bool) {
        self.media_answers.send_replace(answers);
    }

    /// Whether the data plane answers its orders.
    #[must_use]
    pub fn media_answers(&self) -> bool {
        *self.media_answers.borrow()
    }

    /// Whether the node takes nobody new.
    #[must_use]
    pub fn draining(&self) -> bool {
        *self.draining.borrow()
    }
}

#[derive(Clone, Debug)]
struct Ops {
    health: Health,
    metrics: Metrics,
}

/// `/healthz`, `/readyz`, `/metrics`, and `debug`, which holds the routes below `/debug`.
pub fn routes(health: Health, metrics: Metrics, debug: Router) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route(
            "/metrics",
            get(|State(ops): State<Ops>| async move { (&ops.metrics).into_response() }),
        )
        .with_state(Ops { health, metrics })
        .merge(debug)
        .fallback(|| async { Problem::no_route() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed(None) })
}

/// 200 when both processes serve, else 503 with what is missing.
async fn ready(State(ops): State<Ops>) -> Response {
    let (link_up, draining) = (ops.health.link_up(), ops.health.draining());
    let media_answers = ops.health.media_answers();
    let code = if link_up && media_answers && !draining {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        code,
        Json(json!({
            "ready": code == StatusCode::OK,
            "link_up": link_up,
            "media_answers": media_answers,
            "draining": draining,
        })),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn get(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_is_the_link_up_and_not_draining() {
        let metrics = Metrics::new();
        let health = Health::new(metrics.clone());
        let router = routes(health.clone(), metrics, Router::new());
        assert_eq!(get(&router, "/healthz").await.0, 200);
        assert_eq!(get(&router, "/readyz").await.0, 503);
        health.set_link_up(true);
        health.wait_for_link().await;
        let (status, body) = get(&router, "/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (
                200,
                r#"{"draining":false,"link_up":true,"media_answers":true,"ready":true}"#
            )
        );
        health.set_media_answers(false);
        assert_eq!(get(&router, "/readyz").await.0, 503);
        health.set_media_answers(true);
        health.set_draining(true);
        assert_eq!(get(&router, "/readyz").await.0, 503);
        assert_eq!(
            get(&router, "/healthz").await.0,
            200,
            "a draining node is alive"
        );
        let (status, body) = get(&router, "/metrics").await;
        assert_eq!(status, 200);
        assert!(body.contains("lectern_link_up 1"));
        assert_eq!(get(&router, "/nothing").await.0, 404);
    }
}
