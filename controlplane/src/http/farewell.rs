//! Event streams end when the server does.
//!
//! Requests that run are waited for when the server stops; an event stream runs for ever and would hold
//! every restart up for the whole of that patience. Ended cleanly, its client comes again by itself, and
//! by then the next control plane is there.

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::sync::watch;

/// Ends event streams, those that run and those to come; so does its drop.
#[derive(Debug, Default)]
pub struct Farewell {
    ending: watch::Sender<bool>,
}

impl Farewell {
    /// The same routes, whose event streams end when this says so.
    pub fn wrap(&self, router: Router) -> Router {
        let ending = self.ending.subscribe();
        router.layer(map_response(move |response: Response| {
            let ending = ending.clone();
            async move { until(response, ending) }
        }))
    }

    /// Ends them now.
    pub fn say(&self) {
        self.ending.send_replace(true);
    }
}

fn until(response: Response, mut ending: watch::Receiver<bool>) -> Response {
    let is_stream = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream {
        return response;
    }
    response.map(|body| {
        Body::from_stream(body.into_data_stream().take_until(async move {
            // An error means that the process is ending too.
            let _said = ending.wait_for(|ending| *ending).await.is_ok();
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::time::Duration;

    use axum::body::to_bytes;
    use axum::http::Request;
    use axum::routing::get;
    use futures_util::stream;
    use tower::ServiceExt;

    fn endless() -> Body {
        let hello = stream::once(async { Ok::<_, Infallible>("event: active\n\n") });
        Body::from_stream(hello.chain(stream::pending()))
    }

    #[tokio::test]
    async fn an_event_stream_ends_with_the_server_and_keeps_what_it_said() {
        let farewell = Farewell::default();
        let router = farewell.wrap(Router::new().route(
            "/",
            get(|| async { ([(CONTENT_TYPE, "text/event-stream")], endless()) }),
        ));
        let response = router
            .oneshot(Request::get("/").body(Body::empty()).unwrap())
            .await
            .unwrap();
        let reading = tokio::spawn(to_bytes(response.into_body(), 1 << 10));
        tokio::task::yield_now().await;
        assert!(!reading.is_finished(), "it runs while the server does");
        farewell.say();
        let read = tokio::time::timeout(Duration::from_secs(5), reading).await;
        assert_eq!(read.unwrap().unwrap().unwrap(), "event: active\n\n");
    }

    #[tokio::test]
    async fn every_other_answer_is_left_as_it_is() {
        let farewell = Farewell::default();
        farewell.say();
        let router = farewell.wrap(Router::new().route("/", get(|| async { "whole" })));
        let response = router
            .oneshot(Request::get("/").body(Body::empty()).unwrap())
            .await
            .unwrap();
        let body = to_bytes(response.into_body(), 1 << 10).await.unwrap();
        assert_eq!(body, "whole");
    }
}
