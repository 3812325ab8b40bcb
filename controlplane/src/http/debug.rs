//! `/debug` on the ops port: what the node holds, as JSON for people (`lectern inspect`).

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dataplane_api::command::Inspect;
use dataplane_api::ids::{SessionId, ShardIndex};
use dataplane_api::{Command, Reply};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::problem::Problem;
use crate::node::NodeClient;
use crate::rooms::Registry;

#[derive(Clone, Debug)]
struct Debug {
    node: NodeClient,
    registry: Registry,
}

/// Sessions of one room that the data plane is asked about; of the others only this process's view is shown.
const MEDIA_MAX: usize = 256;

/// Questions to the data plane at the same time.
const QUESTIONS_MAX: usize = 16;

/// `/debug/rooms`, `/debug/rooms/{name}`, `/debug/sessions/{session}`, `/debug/shards/{index}`.
pub fn routes(node: NodeClient, registry: Registry) -> Router {
    Router::new()
        .route("/debug/rooms", get(rooms))
        .route("/debug/rooms/{name}", get(room))
        .route("/debug/sessions/{session}", get(session))
        .route("/debug/shards/{index}", get(shard))
        .with_state(Debug { node, registry })
}

async fn rooms(State(debug): State<Debug>) -> Response {
    Json(debug.registry.inspect()).into_response()
}

/// A room as both processes see it: every connection has its session in the data plane as `media`.
async fn room(State(debug): State<Debug>, Path(name): Path<String>) -> Result<Response, Problem> {
    let rooms = debug.registry.inspect();
    let mut room = rooms
        .into_iter()
        .find(|room| room["name"] == name.as_str())
        .ok_or_else(no_such)?;
    if let Some(connections) = room.get_mut("connections").and_then(Value::as_array_mut) {
        let shown: Vec<Value> = connections.iter().take(MEDIA_MAX).cloned().collect();
        let answers = stream::iter(shown)
            .map(|connection| debug.clone().media(connection))
            .buffered(QUESTIONS_MAX);
        let media: Vec<Value> = answers.collect().await;
        for (connection, media) in connections.iter_mut().zip(media) {
            connection["media"] = media;
        }
    }
    Ok(Json(room).into_response())
}

/// A session by its handle or by the last segment of its URL. One that only the data plane knows, as after
/// a kill of this process, is shown as it is there.
async fn session(
    State(debug): State<Debug>,
    Path(wanted): Path<String>,
) -> Result<Response, Problem> {
    match debug.registry.find(&wanted) {
        Some((room, connection)) => {
            let mut found = connection.inspect();
            found["room"] = room.into();
            found["media"] = debug.media(found.clone()).await;
            Ok(Json(found).into_response())
        }
        None => {
            let handle = wanted.parse().map_err(|_| no_such())?;
            let media = debug.ask(Inspect::Session(SessionId(handle))).await?;
            Ok(Json(json!({ "session": wanted, "media": media })).into_response())
        }
    }
}

async fn shard(State(debug): State<Debug>, Path(index): Path<u16>) -> Result<Response, Problem> {
    let shard = debug.ask(Inspect::Shard(ShardIndex(index))).await?;
    Ok(Json(shard).into_response())
}

impl Debug {
    /// What the data plane knows of a connection; `null` where it does not answer or know it.
    async fn media(self, connection: Value) -> Value {
        let handle = connection["session"]
            .as_str()
            .and_then(|text| text.parse().ok());
        match handle {
            Some(handle) => {
                let asked = self.ask(Inspect::Session(SessionId(handle))).await;
                asked.unwrap_or_default()
            }
            None => Value::Null,
        }
    }

    /// The data plane's own JSON.
    async fn ask(&self, what: Inspect) -> Result<Value, Problem> {
        match self.node.order(Command::Inspect(what)).await {
            Ok(Reply::Inspected(inspected)) => {
                serde_json::from_str(&inspected.json).map_err(|error| {
                    tracing::error!(%error, "the data plane's JSON cannot be read");
                    Problem::internal()
                })
            }
            Ok(
                Reply::Done(_)
                | Reply::Admitted(_)
                | Reply::Refused(_)
                | Reply::Pong(_)
                | Reply::Unsupported(_),
            ) => Err(no_such()),
            Err(_) => Err(Problem::media_down()),
        }
    }
}

fn no_such() -> Problem {
    Problem::absent(
        "The node holds nothing of this name. `lectern inspect rooms` lists what it holds.",
    )
}
