//! `lectern controlplane`: the process of HTTP and rooms, put together.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::ControlplaneArgs;
use crate::auth::Keys;
use crate::config::{Config, Flags, Layers};
use crate::http::capacity::{self, Capacity};
use crate::http::farewell::Farewell;
use crate::http::health::Health;
use crate::http::metrics::Metrics;
use crate::http::public_url::PublicUrl;
use crate::http::server::{Server, Tls};
use crate::http::token::TokenIssuer;
use crate::http::{debug, health, layers, public};
use crate::log::Level;
use crate::node::{NodeClient, heartbeat};
use crate::rooms::{Limits, Registry};
use crate::state::{AppState, Shared};
use crate::supervise::ControlplaneReady;
use crate::{data_dir, ice_servers};

/// Serves until a signal, the end of standard input, or a newer control plane; ends within two seconds
/// then, and no class notices.
pub(super) fn run(args: &ControlplaneArgs) -> anyhow::Result<()> {
    let (config, layers) = Config::load(&args.flags)?;
    let level = crate::log::start(config.log_format, &config.log_level)?;
    warn_of_strangers(&layers);
    install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("controlplane")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args, &config, &level));
    runtime.shutdown_background();
    result
}

/// rustls takes its cryptography from the process; everything of ours uses aws-lc-rs.
pub(super) fn install_crypto() {
    // An error means that one is installed already, and there is only this one.
    let _installed = rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_ok();
}

/// Says which `LECTERN_` variables set nothing.
pub(super) fn warn_of_strangers(layers: &Layers) {
    for (name, nearest) in &layers.strangers {
        let meant = nearest.map(|key| key.variable());
        tracing::warn!(name, meant, "this environment variable sets nothing");
    }
}

/// Reads the log level again; a broken file changes nothing.
pub(super) fn reload_level(flags: &Flags, level: &Level) {
    let reloaded = Config::load(flags)
        .map_err(anyhow::Error::from)
        .and_then(|(config, _)| level.set(&config.log_level));
    match reloaded {
        Ok(()) => tracing::info!("reread the log level"),
        Err(error) => tracing::error!("the log level stays: {error:#}"),
    }
}

async fn serve(args: &ControlplaneArgs, config: &Config, level: &Level) -> anyhow::Result<()> {
    let mut signals = Signals::install(args.exit_with_stdin)?;
    let keys = Keys::load_or_create(&config.data_dir)?;
    let node_id = data_dir::node_id(&config.data_dir)?;
    let ice_servers = config
        .ice_servers
        .as_deref()
        .map(ice_servers::load)
        .transpose()?
        .unwrap_or_default();
    let tls = match &config.tls {
        Some(files) => Some(Tls::load(files.clone()).await?),
        None => None,
    };
    let web = Server::bind("--http", config.http)?
        .tls(tls.clone())
        .trusted_proxies(config.trusted_proxies.clone());
    let ops = Server::bind("--ops", config.ops)?.capacity(Capacity::of(capacity::OPS_MAX));
    let addresses = (web.address(), ops.address());

    let metrics = Metrics::new();
    let health = Health::new(metrics.clone());
    let (node, events) = NodeClient::start(config.link.clone());
    let registry = Registry::new(
        node.clone(),
        health.clone(),
        metrics.clone(),
        Limits {
            participants_max: config.max_participants,
            stream_timeout: (config.stream_timeout_s > 0)
                .then(|| Duration::from_secs(config.stream_timeout_s)),
        },
    );
    let rooms = tokio::spawn(registry.clone().run(events));
    let answering = health.clone();
    tokio::spawn(heartbeat::keep(node.clone(), move |answers| {
        answering.set_media_answers(answers);
    }));

    let state = AppState::new(Shared {
        keys: keys.clone(),
        node: node.clone(),
        registry: registry.clone(),
        health: health.clone(),
        lenient_patch: config.lenient_patch,
        ice_servers,
        node_id: node_id.into_bytes(),
    });
    let issuer = TokenIssuer {
        keys: keys.clone(),
        open: config.open_tokens,
        default_room: config.default_room.clone(),
        public_url: PublicUrl::new(config, addresses.0),
    };
    let settings = layers::Layers {
        cors_origins: config.cors_origins.clone(),
        metrics: metrics.clone(),
    };
    let farewell = Farewell::default();
    let router = farewell.wrap(public::router(state, issuer, settings));
    let debug = debug::routes(node.clone(), registry);
    let (stop_web, web) = web.serve(router)?;
    let (stop_ops, ops) = ops.serve(health::routes(health.clone(), metrics, debug))?;
    let (web, ops) = (tokio::spawn(web), tokio::spawn(ops));
    tracing::info!(
        version = crate::VERSION,
        http = %addresses.0,
        ops = %addresses.1,
        scheme = config.scheme(),
        "serving"
    );

    // Lasts as long as the process: what follows the announcement is the other branches' business.
    let announced = async {
        announce(args.json, &health, addresses).await?;
        std::future::pending::<anyhow::Result<()>>().await
    };
    let reason = tokio::select! {
        Err(error) = announced => return Err(error),
        reason = signals.next_end(args, level, &keys, tls.as_ref()) => reason,
        () = node.superseded() => "a newer control plane took over",
        _ = rooms => "the rooms have ended",
    };
    tracing::info!(reason, "stopping");
    farewell.say();
    stop_web.now();
    stop_ops.now();
    let (web, ops) = tokio::join!(web, ops);
    web.context("the web server failed")?
        .context("the web server failed")?;
    ops.context("the ops server failed")?
        .context("the ops server failed")
}

/// With `--json`: the ready line, once the data plane is linked.
async fn announce(
    json: bool,
    health: &Health,
    (http, ops): (std::net::SocketAddr, std::net::SocketAddr),
) -> anyhow::Result<()> {
    if !json {
        return Ok(());
    }
    health.wait_for_link().await;
    let ready = ControlplaneReady {
        version: crate::VERSION.to_owned(),
        http,
        ops,
        pid: std::process::id(),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&ready)?)
        .and_then(|()| stdout.flush())
        .context("cannot print the ready line: standard output is closed")
}

/// What arrives from outside.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Signals {
    fn install(exit_with_stdin: bool) -> anyhow::Result<Signals> {
        let install = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Signals {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
            hangup: install(SignalKind::hangup())?,
            stdin: exit_with_stdin.then(watch_stdin).transpose()?,
        })
    }

    /// Why to end. SIGHUP rereads keys, certificate and log level on the way.
    async fn next_end(
        &mut self,
        args: &ControlplaneArgs,
        level: &Level,
        keys: &Keys,
        tls: Option<&Tls>,
    ) -> &'static str {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return "SIGINT",
                // Media, rooms and rights live in the data plane: there is nothing here to drain. Requests
                // that run are answered, and whoever starts next takes over from the snapshot.
                _ = self.terminate.recv() => return "SIGTERM",
                () = ended(&mut self.stdin) => return "standard input has ended",
                _ = self.hangup.recv() => reload(args, level, keys, tls).await,
            }
        }
    }
}

async fn reload(args: &ControlplaneArgs, level: &Level, keys: &Keys, tls: Option<&Tls>) {
    reload_level(&args.flags, level);
    match keys.reload() {
        Ok(active) => tracing::info!(active, "reread the keys"),
        Err(error) => tracing::error!(%error, "the old keys stay in force"),
    }
    if let Some(tls) = tls {
        match tls.reload().await {
            Ok(()) => tracing::info!("reread the certificate"),
            Err(error) => tracing::error!("the old certificate stays in force: {error:#}"),
        }
    }
}

async fn ended(stdin: &mut Option<oneshot::Receiver<()>>) {
    match stdin {
        Some(receiver) => {
            // The sender's drop is the message.
            let _dropped = receiver.await.is_err();
        }
        None => std::future::pending().await,
    }
}

/// Reads standard input to its end on a thread of its own, which ends with the process.
fn watch_stdin() -> anyhow::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let _held = sender;
            let mut buffer = [0; 64];
            let mut stdin = std::io::stdin().lock();
            while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        })
        .context("cannot start a thread")?;
    Ok(receiver)
}
