//! `/debug` on the ops port: what the node holds, as JSON for people (`lectern inspect`).

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dataplane_api::command::Inspect;
use dataplane_api::ids::{SessionId, ShardIndex};
use dataplane_api::{Command, Reply};

use super::problem::Problem;
use crate::node::NodeClient;
use crate::rooms::Registry;

#[derive(Clone, Debug)]
struct Debug {
    node: NodeClient,
    registry: Registry,
}

/// `/debug/rooms`, `/debug/rooms/{name}`, `/debug/sessions/{handle}`, `/debug/shards/{index}`.
pub fn routes(node: NodeClient, registry: Registry) -> Router {
    Router::new()
        .route("/debug/rooms", get(rooms))
        .route("/debug/rooms/{name}", get(room))
        .route("/debug/sessions/{handle}", get(session))
        .route("/debug/shards/{index}", get(shard))
        .with_state(Debug { node, registry })
}

async fn rooms(State(debug): State<Debug>) -> Response {
    Json(debug.registry.inspect()).into_response()
}

async fn room(State(debug): State<Debug>, Path(name): Path<String>) -> Result<Response, Problem> {
    let rooms = debug.registry.inspect();
    let room = rooms.into_iter().find(|room| room["name"] == name.as_str());
    room.map(|room| Json(room).into_response())
        .ok_or_else(no_such)
}

async fn session(State(debug): State<Debug>, Path(handle): Path<u64>) -> Result<Response, Problem> {
    debug.ask(Inspect::Session(SessionId(handle))).await
}

async fn shard(State(debug): State<Debug>, Path(index): Path<u16>) -> Result<Response, Problem> {
    debug.ask(Inspect::Shard(ShardIndex(index))).await
}

impl Debug {
    /// The data plane's own JSON, passed on.
    async fn ask(&self, what: Inspect) -> Result<Response, Problem> {
        match self.node.order(Command::Inspect(what)).await {
            Ok(Reply::Inspected(inspected)) => {
                Ok(([(header::CONTENT_TYPE, "application/json")], inspected.json).into_response())
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
