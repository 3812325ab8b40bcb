//! `lectern up`: a whole node in the foreground.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::controlplane::reload_level;
use super::print;
use crate::config::{Config, Flags};
use crate::log::Level;
use crate::supervise::{LINK_LIFETIME, Node, Order, Ready};

/// Starts both processes, says where they are, and keeps them until a signal or the end of a drain.
pub(super) fn run(flags: &Flags, json: bool) -> anyhow::Result<()> {
    let (config, layers) = Config::load(flags)?;
    let level = crate::log::start(config.log_format, &config.log_level)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the supervisor's runtime")?;
    runtime.block_on(async {
        let (sender, mut orders) = watch::channel(Order::Run { hangups: 0 });
        tokio::spawn(pass_signals(flags.clone(), level, sender)?);
        let Some(node) = Node::start(&config, &layers, &mut orders).await? else {
            return Ok(());
        };
        print(&if json {
            serde_json::to_string(&node.ready)?
        } else {
            describe(&node.ready, &program())
        })?;
        node.keep(orders).await;
        Ok(())
    })
}

/// Turns signals into orders, until the one to stop.
fn pass_signals(
    flags: Flags,
    level: Level,
    orders: watch::Sender<Order>,
) -> anyhow::Result<impl Future<Output = ()>> {
    let install = |kind| signal(kind).context("cannot install a signal handler");
    let mut interrupt = install(SignalKind::interrupt())?;
    let mut terminate = install(SignalKind::terminate())?;
    let mut hangup = install(SignalKind::hangup())?;
    Ok(async move {
        loop {
            let before = *orders.borrow();
            let order = tokio::select! {
                _ = interrupt.recv() => Order::Stop,
                _ = terminate.recv() => before.after_sigterm(),
                _ = hangup.recv() => {
                    reload_level(&flags, &level);
                    before.after_sighup()
                }
            };
            match (before, order) {
                (Order::Run { .. }, Order::Drain { .. }) => tracing::info!(
                    "draining: nobody new is let in; a second SIGTERM or Ctrl-C stops the node"
                ),
                (_, Order::Stop) => tracing::info!("stopping"),
                _ => {}
            }
            orders.send_replace(order);
            if order == Order::Stop {
                return;
            }
        }
    })
}

/// This program as it was called: what is printed can be typed.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "lectern".to_owned())
}

fn describe(ready: &Ready, program: &str) -> String {
    let media: Vec<String> = ready.media.iter().map(ToString::to_string).collect();
    format!(
        "\nLectern {version} is ready. Open in a browser:\n\n  \
           Publish  {publish}\n\n  \
           Watch    {watch}\n\n  \
           Media    UDP {media}\n  \
           Health   http://{ops}/readyz  http://{media_ops}/readyz\n  \
           Data     {data_dir}\n\n\
         The links are valid for {hours} hours. A token for another person or room:\n  \
           {program} token --data-dir {data_dir} --room ROOM --role ROLE\n\
         Ctrl-C stops the node; SIGTERM lets the running classes end first.\n",
        version = ready.version,
        publish = ready.links.publish,
        watch = ready.links.watch,
        media = media.join(" "),
        ops = ready.ops,
        media_ops = ready.media_ops,
        data_dir = ready.data_dir.display(),
        hours = LINK_LIFETIME.as_secs() / 3600,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::{Links, Pids};

    #[test]
    fn what_is_printed_can_be_opened_and_typed_as_it_stands() {
        let ready = Ready {
            version: "1.2.3".to_owned(),
            http: "0.0.0.0:8080".parse().unwrap(),
            ops: "127.0.0.1:9600".parse().unwrap(),
            media_ops: "127.0.0.1:9601".parse().unwrap(),
            media: vec!["192.0.2.7:40000".parse().unwrap()],
            data_dir: "/srv/lectern".into(),
            pids: Pids {
                controlplane: 1,
                dataplane: 2,
            },
            links: Links {
                publish: "http://127.0.0.1:8080/publish/live#token=a".to_owned(),
                watch: "http://127.0.0.1:8080/watch/live#token=b".to_owned(),
            },
        };
        let text = describe(&ready, "target/release/lectern");
        for expected in [
            "Lectern 1.2.3 is ready.",
            "Publish  http://127.0.0.1:8080/publish/live#token=a\n",
            "Watch    http://127.0.0.1:8080/watch/live#token=b\n",
            "UDP 192.0.2.7:40000\n",
            "valid for 6 hours",
            // Without it the token would be of other keys, wherever the node was not started.
            "  target/release/lectern token --data-dir /srv/lectern --room ROOM --role ROLE\n",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
