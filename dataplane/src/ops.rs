//! The ops port: `/healthz`, `/readyz`, `/metrics` and `/debug/*` over HTTP/1.1, for machines on this host.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::debug::{self, Answer, Asker, Subject};
use crate::metrics;
use crate::status::Status;

/// Connections at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may live, so that a scraper that went away does not hold one of them.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Pause after a failed accept: without descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `--media-ops`.
///
/// # Errors
/// When the port is in use or may not be opened, with the flag to change.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on --media-ops {address}: stop what holds the port, or choose another \
             --media-ops (port 0 takes any free one)"
        )
    })
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>, asker: Asker) {
    let registry = Arc::new(metrics::registry(Arc::clone(&status)));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "the ops port cannot accept: raise the limit of open files");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (status, registry) = (Arc::clone(&status), Arc::clone(&registry));
        let asker = asker.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (status, registry, asker) = (&status, &registry, &asker);
                async move {
                    let response = match to_ask(&request) {
                        Some(about) => answered(asker.ask(about).await),
                        None => respond(&request, status, registry),
                    };
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is its own business.
            let _ = timeout(CONNECTION_TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

/// What of a request somebody else has to be asked for.
fn to_ask<B>(request: &Request<B>) -> Option<Subject> {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    Subject::of_path(request.uri().path()).filter(|_| reads)
}

fn answered(answer: Answer) -> Response<Full<Bytes>> {
    match answer {
        Answer::Found(body) => json(body),
        Answer::Unknown(why) => text(StatusCode::NOT_FOUND, why + "\n"),
        Answer::Unavailable(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

fn respond<B>(request: &Request<B>, status: &Status, registry: &Registry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "GET and HEAD only\n".to_owned(),
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" if status.is_alive() => text(StatusCode::OK, "ok\n".to_owned()),
        "/healthz" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "every shard has failed\n".to_owned(),
        ),
        "/readyz" => {
            let reasons = status.unready();
            if reasons.is_empty() {
                text(StatusCode::OK, "ready\n".to_owned())
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
            }
        }
        "/metrics" => match metrics::encode(registry) {
            Ok(body) => typed(body, metrics::CONTENT_TYPE),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/debug/shards" => json(debug::shards(status).to_string()),
        _ => text(
            StatusCode::NOT_FOUND,
            "the data plane answers /healthz, /readyz, /metrics, /debug/link, /debug/shards, \
             /debug/shards/{i}, /debug/sessions and /debug/sessions/{handle}\n"
                .to_owned(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = typed(body, "text/plain; charset=utf-8");
    *response.status_mut() = status;
    response
}

fn json(body: String) -> Response<Full<Bytes>> {
    typed(body, "application/json")
}

fn typed(body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::ShardHealth;
    use crate::status::ShardStatus;

    fn status(shards: usize) -> Arc<Status> {
        let shard = |_| ShardStatus {
            health: Arc::new(ShardHealth::default()),
            slot: Arc::default(),
        };
        Arc::new(Status::new(
            (0..shards).map(shard).collect(),
            Arc::default(),
            "mmsg",
        ))
    }

    async fn get(status: &Arc<Status>, method: Method, path: &str) -> (StatusCode, String) {
        use http_body_util::BodyExt;
        let registry = metrics::registry(Arc::clone(status));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        let response = respond(&request, status, &registry);
        let code = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_draining_node_is_healthy_but_not_ready() {
        let status = status(1);
        assert_eq!(
            get(&status, Method::GET, "/readyz").await,
            (StatusCode::OK, "ready\n".into())
        );
        status.set_draining(true);
        assert_eq!(
            get(&status, Method::GET, "/healthz").await.0,
            StatusCode::OK
        );
        assert_eq!(
            get(&status, Method::GET, "/readyz").await,
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
        );
    }

    #[tokio::test]
    async fn a_failed_shard_fails_readiness_and_the_last_one_health() {
        let status = status(2);
        let shards: Vec<&ShardStatus> = status.shards().map(|(_, shard)| shard).collect();
        shards[1].health.end();
        assert_eq!(
            get(&status, Method::GET, "/healthz").await.0,
            StatusCode::OK
        );
        assert_eq!(
            get(&status, Method::GET, "/readyz").await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "shard 1 has failed\n".into()
            )
        );
        shards[0].health.end();
        assert_eq!(
            get(&status, Method::GET, "/healthz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn only_reading_is_allowed() {
        let status = status(1);
        assert_eq!(
            get(&status, Method::POST, "/metrics").await.0,
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(
            get(&status, Method::GET, "/debug").await.0,
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn metrics_carry_the_documented_names_and_the_samples_numbers() {
        let status = status(2);
        let (_, shard) = status.shards().next().unwrap();
        let mut sample = crate::stats::Sample::default();
        sample.engine.received_packets = 7;
        sample.engine.sent_packets = 24;
        sample.engine.sent_runs = 2;
        sample.engine.ice_timeouts = 3;
        sample.edge.dropped_would_block = 5;
        sample.population.sessions = 4;
        sample.unsegmented = vec!["192.0.2.1".into()];
        sample.turns.record(90);
        shard.slot.publish(sample);
        let (code, body) = get(&status, Method::GET, "/metrics").await;
        assert_eq!(code, StatusCode::OK);
        for line in [
            "lectern_shard_packets_total{shard=\"0\",direction=\"in\"} 7",
            "lectern_shard_packets_total{shard=\"1\",direction=\"out\"} 0",
            "lectern_shard_dropped_total{shard=\"0\",reason=\"send_would_block\"} 5",
            "lectern_shard_turn_seconds_bucket{le=\"0.0001\",shard=\"0\"} 1",
            "lectern_shard_batch_packets_sum{shard=\"0\"} 24.0",
            "lectern_shard_batch_packets_count{shard=\"0\"} 2",
            "lectern_send_fallback{interface=\"192.0.2.1\"} 1",
            "lectern_ice_failures_total{reason=\"no_check\"} 3",
            "lectern_dtls_failures_total{reason=\"fingerprint\"} 0",
            "lectern_link_up 0",
            "lectern_draining 0",
            "lectern_shard_sessions{shard=\"0\"} 4",
            "lectern_link_resyncs_total 0",
        ] {
            assert!(body.lines().any(|found| found == line), "{line}\n{body}");
        }
        assert!(body.contains("lectern_build_info{version="), "{body}");
        assert!(body.ends_with("# EOF\n"));
    }

    /// The names of domain.md that the data plane has to say, with those it adds to operate by.
    #[tokio::test]
    async fn every_documented_name_is_there() {
        let status = status(1);
        let (_, shard) = status.shards().next().unwrap();
        let sample = crate::stats::Sample {
            unsegmented: vec!["192.0.2.1".into()],
            ..crate::stats::Sample::default()
        };
        shard.slot.publish(sample);
        let (_, body) = get(&status, Method::GET, "/metrics").await;
        for name in [
            "lectern_build_info{",
            "lectern_draining ",
            "lectern_shard_up{shard=",
            "lectern_shard_sessions{shard=",
            "lectern_shard_tracks{shard=",
            "lectern_shard_subscriptions{shard=",
            "lectern_shard_packets_total{shard=\"0\",direction=",
            "lectern_shard_bytes_total{shard=\"0\",direction=",
            "lectern_shard_dropped_total{shard=\"0\",reason=",
            "lectern_shard_turn_seconds_bucket{",
            "lectern_shard_batch_packets_count{shard=",
            "lectern_shard_linger_seconds{shard=",
            "lectern_send_fallback{interface=",
            "lectern_ice_failures_total{reason=",
            "lectern_dtls_failures_total{reason=",
            "lectern_keyframe_requests_total{shard=",
            "lectern_retransmitted_packets_total{shard=",
            "lectern_link_up ",
            "lectern_link_resyncs_total ",
        ] {
            let mut lines = body.lines();
            assert!(lines.any(|line| line.starts_with(name)), "{name}\n{body}");
        }
    }

    #[tokio::test]
    async fn shards_are_listed_without_asking_them() {
        let status = status(2);
        let shards: Vec<&ShardStatus> = status.shards().map(|(_, shard)| shard).collect();
        shards[1].health.end();
        let (code, body) = get(&status, Method::GET, "/debug/shards").await;
        assert_eq!(code, StatusCode::OK);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["items"][0]["up"], true);
        assert_eq!(body["items"][1]["up"], false);
        assert_eq!(body["items"][1]["sessions"], 0);
    }
}
