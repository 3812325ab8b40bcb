//! Whether the data plane does what it is asked. That it died is told by the socket, at once; that it
//! hangs is told by nobody, so it is asked.

use std::time::Duration;

use dataplane_api::Command;
use dataplane_api::command::Ping;
use tokio::time::{sleep, timeout};

use super::NodeClient;

/// Pause between two questions, and the longest wait for an answer: together less than the second within
/// which a dead data plane is to be known.
const PAUSE: Duration = Duration::from_millis(300);
const ANSWER_TIME_MAX: Duration = Duration::from_millis(600);

/// Asks for as long as the process lives; `told` hears each change, beginning with "it answers".
pub async fn keep(node: NodeClient, told: impl Fn(bool)) {
    let mut answered = true;
    loop {
        if node.up().await.is_none() {
            return;
        }
        let pong = timeout(ANSWER_TIME_MAX, node.order(Command::Ping(Ping {}))).await;
        // An error says that the link is down, which others tell.
        let answers = pong.is_ok();
        if answers != answered {
            answered = answers;
            if answers {
                tracing::info!("the data plane answers again");
            } else {
                tracing::error!("the data plane does not answer, though the link is up");
            }
            told(answers);
        }
        sleep(PAUSE).await;
    }
}
