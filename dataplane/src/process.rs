//! The process from its first line of log to its last: what is started, in which order, and how it ends.

use std::io::Write;
use std::num::NonZeroU16;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use dataplane_api::event::{FEATURE_ACCEPT, Hello, Limits};
use dataplane_engine::limits::{SESSIONS_PER_SHARD_MAX, SLOTS_PER_SESSION_MAX};
use dataplane_engine::shard::{ShardConfig, ShardLimits};
use dataplane_engine::transport::handshake::{Identity, IdentityError};
use dataplane_net::affinity::CpuSet;
use dataplane_net::{Clock, ShardSockets, SocketOptions, Waker, decide};
use serde_json::json;
use tokio::sync::{mpsc as requests, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::advertise::Advertised;
use crate::config::{Args, Config};
use crate::debug::Asker;
use crate::lifetime::{Lifetime, Phase};
use crate::link::{LinkListener, Server, Surroundings};
use crate::log::{self, LevelHandle};
use crate::mesh::{Stopper, mesh};
use crate::node::Node;
use crate::runner::{self, ShardSetup};
use crate::signal::{Request, Signals};
use crate::status::{ShardStatus, Status};
use crate::workers::handshake;
use crate::{cpus, host, ops};

/// How often names are resolved and interfaces listed again.
const ADVERTISE_INTERVAL: Duration = Duration::from_secs(60);

/// How long the shards have to end. With their farewell of 200 ms, a stop stays below 2 s.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Runs the media process until it is to end.
///
/// # Errors
/// When it cannot start, or when every shard has failed: what failed, why, and what to do.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::from_args(args)?;
    if args.probe {
        return host::print_probe(&config, args.json).context("cannot print the probe's result");
    }
    let level = log::start(config.log_format, &config.log_level)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the link thread's runtime")?;
    let result = runtime.block_on(serve(args, &config, level));
    // A name that is being resolved holds a thread for seconds; nobody waits for it.
    runtime.shutdown_background();
    result
}

async fn serve(args: &Args, config: &Config, level: LevelHandle) -> anyhow::Result<()> {
    let mut signals =
        Signals::install(args.exit_with_stdin).context("cannot install the signal handlers")?;
    host::raise_limits();
    // The first randomness of a process costs the crypto library tens of milliseconds of measuring its own clock
    // jitter; sockets and rings are made meanwhile.
    let identity = std::thread::Builder::new()
        .name("identity".to_owned())
        .spawn(Identity::generate)
        .context("cannot start a thread")?;
    let ops = ops::bind(config.media_ops).await?;
    let ops_address = ops
        .local_addr()
        .context("cannot read the address of --media-ops")?;
    let listener = LinkListener::bind(&config.link).await?;
    let advertised = host::advertised_now(config);
    let shards = Shards::start(config, &advertised, identity)?;
    let Shards {
        node,
        status,
        stopper,
        threads,
        hello,
        bell,
    } = shards;

    let hello = Hello {
        ops: Some(ops_address),
        ..hello
    };
    announce(config, &advertised, &node, ops_address);
    if args.json {
        print_ready_line(config, &node, ops_address)?;
    }

    let (to_server, from_signals) = requests::channel(4);
    let (to_advertised, from_resolver) = watch::channel(advertised);
    let lifetime = Lifetime::new(Instant::now(), config.orphan_grace, config.drain_deadline);
    let (asker, questions) = Asker::new();
    let surroundings = Surroundings {
        requests: from_signals,
        advertised: from_resolver,
        status: Arc::clone(&status),
        questions,
    };
    let server = Server::new(listener, node, bell, hello, lifetime, surroundings);
    tokio::select! {
        () = server.run() => {}
        () = ops::serve(ops, Arc::clone(&status), asker) => {}
        () = keep_resolving(config, to_advertised) => {}
        () = pass_signals(args, &mut signals, &level, to_server) => {}
    }

    let failed = !status.is_alive();
    stop(&stopper, threads);
    if failed {
        bail!(
            "every shard has failed: see the lines above; the supervisor starts the process again"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// Everything that runs beside the link thread.
struct Shards {
    node: Node,
    status: Arc<Status>,
    stopper: Stopper,
    threads: Vec<JoinHandle<()>>,
    /// Without the ops port and the shards' addresses.
    hello: Hello,
    bell: Arc<tokio::sync::Notify>,
}

impl Shards {
    /// Binds the ports, starts the shards' threads and the handshake worker, and waits until all serve.
    fn start(
        config: &Config,
        advertised: &Advertised,
        identity: JoinHandle<Result<Identity, IdentityError>>,
    ) -> anyhow::Result<Shards> {
        let decision = decide(config.edge).context(
            "--edge uring was asked for and does not work here: choose --edge auto or --edge mmsg",
        )?;
        tracing::info!(edge = %decision.kind, why = decision.why, "edge chosen");
        let allowed = CpuSet::allowed().context("cannot read the allowed processors")?;
        let usable = cpus::usable(config.cpus.as_ref(), &allowed)?;
        let count = config.shards_on(usable.len());
        config.check_ports(count)?;
        let pins = cpus::assign(usable, usize::from(count.get()));
        let sockets = bind_all(config, count)?;
        let ports: Vec<u16> = sockets.iter().map(ShardSockets::port).collect();

        let wakers = sockets
            .iter()
            .map(|_| Waker::new())
            .collect::<Result<Vec<Waker>, _>>()
            .context("cannot make an eventfd: raise the limit of open files")?;
        let (link_end, shard_ends, handshake_end) = mesh(wakers.clone());
        let Ok(identity) = identity.join() else {
            bail!("making the DTLS certificate panicked: see the line above");
        };
        let identity = identity?;
        let fingerprint = identity.fingerprint();
        let handshake_slot = Arc::default();
        let statuses: Vec<ShardStatus> = link_end
            .healths()
            .into_iter()
            .map(|health| ShardStatus {
                health,
                slot: Arc::default(),
            })
            .collect();
        let worker = handshake::spawn(
            identity,
            Clock::instant_of_zero(),
            handshake_end,
            Arc::clone(&handshake_slot),
        )
        .context("cannot start the handshake worker")?;
        let stopper = link_end.stopper();
        let mut threads = vec![worker];
        let (started, serving) = mpsc::channel();
        let setups = sockets
            .into_iter()
            .zip(wakers)
            .zip(shard_ends)
            .zip(&statuses)
            .enumerate();
        for (at, (((sockets, waker), mesh), status)) in setups {
            let setup = ShardSetup {
                config: ShardConfig {
                    index: mesh.index(),
                    seed: random()?,
                    candidates: advertised.on_port(sockets.port()),
                    limits: ShardLimits::default(),
                },
                cpu: pins.get(at).copied(),
                edge: decision.kind,
                sockets,
                waker,
                mesh,
                slot: Arc::clone(&status.slot),
            };
            threads.push(runner::spawn(setup, started.clone()).context("cannot start a shard")?);
        }
        drop(started);
        let mut serving_now = 0;
        for (index, result) in serving {
            result.with_context(|| format!("shard {index} cannot open its edge"))?;
            serving_now += 1;
        }
        if serving_now < ports.len() {
            bail!("a shard ended before it served: see the lines above");
        }
        tracing::info!(shards = count, ?ports, cpus = ?pins, "shards started");
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: random()?,
            features: vec![FEATURE_ACCEPT.to_owned()],
            fingerprint,
            shards: Vec::new(),
            limits: limits(),
            edge: decision.kind.label().to_owned(),
            ops: None,
            draining: false,
            connection: 0,
        };
        let bell = link_end.bell();
        Ok(Shards {
            node: Node::new(link_end, &ports, advertised.clone()),
            status: Arc::new(Status::new(statuses, handshake_slot, decision.kind.label())),
            stopper,
            threads,
            hello,
            bell,
        })
    }
}

fn limits() -> Limits {
    Limits {
        sessions_per_shard_max: u32::try_from(SESSIONS_PER_SHARD_MAX).unwrap_or(u32::MAX),
        slots_per_session_max: u16::try_from(SLOTS_PER_SESSION_MAX).unwrap_or(u16::MAX),
    }
}

/// Binds a port a shard and says what the kernel granted.
fn bind_all(config: &Config, count: NonZeroU16) -> anyhow::Result<Vec<ShardSockets>> {
    let options = SocketOptions::default();
    let mut bound = Vec::new();
    for index in 0..count.get() {
        let sockets = ShardSockets::bind(config.port_of(index), &options)
            .with_context(|| format!("shard {index} cannot bind its port"))?;
        if index == 0 {
            if let Some((family, error)) = sockets.missing() {
                tracing::warn!(%family, %error, "this host lacks an address family");
            }
            for advice in host::buffer_advice(sockets.buffers(), &options) {
                tracing::warn!("{advice}");
            }
        }
        bound.push(sockets);
    }
    Ok(bound)
}

/// Says at the start what an operator needs when nobody can connect.
fn announce(config: &Config, advertised: &Advertised, node: &Node, ops: std::net::SocketAddr) {
    for warning in &advertised.warnings {
        tracing::warn!("{warning}");
    }
    let addresses: Vec<String> = advertised
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    tracing::info!(addresses = addresses.join(" "), "clients are told");
    if !advertised.addresses.is_empty() && advertised.addresses.iter().all(|a| a.is_loopback()) {
        tracing::warn!("only this host can connect: set --advertise to an address others reach");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        link = %config.link.display(),
        media_ops = %ops,
        shards = node.placement().alive().count(),
        "serving"
    );
}

/// `{"version","media_ops","media","link","pid"}` on one line of standard output.
fn print_ready_line(config: &Config, node: &Node, ops: std::net::SocketAddr) -> anyhow::Result<()> {
    let media: Vec<String> = node
        .shards()
        .flat_map(|(shard, _)| node.candidates(shard))
        .map(|address| address.to_string())
        .collect();
    let line = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "media_ops": ops.to_string(),
        "media": media,
        "link": config.link,
        "pid": std::process::id(),
    });
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("cannot print the ready line: standard output is closed")
}

/// Follows names and interfaces for as long as somebody listens.
async fn keep_resolving(config: &Config, to: watch::Sender<Advertised>) {
    let mut ticks = interval(ADVERTISE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now, and now was resolved at the start.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let config = config.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || host::advertised_now(&config)).await
        else {
            continue;
        };
        to.send_if_modified(|told| {
            let changed = *told != found;
            if changed {
                tracing::info!(addresses = ?found.addresses, "clients are told other addresses");
                for warning in &found.warnings {
                    tracing::warn!("{warning}");
                }
                *told = found;
            }
            changed
        });
    }
}

/// Hands the signals on; the log level is read again on SIGHUP.
async fn pass_signals(
    args: &Args,
    signals: &mut Signals,
    level: &LevelHandle,
    to: requests::Sender<Phase>,
) {
    loop {
        match signals.next().await {
            Request::Phase(phase) => {
                if to.send(phase).await.is_err() {
                    return;
                }
            }
            Request::Reload => {
                let reread = Config::from_args(args).and_then(|config| {
                    level.set(&config.log_level)?;
                    Ok(config.log_level)
                });
                match reread {
                    Ok(level) => tracing::info!(level, "SIGHUP: log level read again"),
                    Err(error) => tracing::error!("SIGHUP: nothing changed: {error:#}"),
                }
            }
        }
    }
}

/// Ends the threads and waits for them, but not for ever: a thread that hangs ends with the process.
fn stop(stopper: &Stopper, threads: Vec<JoinHandle<()>>) {
    stopper.stop();
    let (joined, all_joined) = mpsc::channel();
    let waiter = std::thread::Builder::new()
        .name("stop".to_owned())
        .spawn(move || {
            for thread in threads {
                // A panic was said when it happened.
                let _ = thread.join();
            }
            let _ = joined.send(());
        });
    if waiter.is_err() || all_joined.recv_timeout(STOP_TIMEOUT).is_err() {
        tracing::warn!("not every thread ended in time: the process ends without them");
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bail!("the operating system gives no randomness");
    }
    Ok(bytes)
}
