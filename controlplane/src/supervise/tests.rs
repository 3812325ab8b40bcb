use clap::CommandFactory;

use super::*;
use crate::config::Flags;
use crate::supervise::child::tests::{PATIENCE, pid, script, start, starts, until, witness};

#[test]
fn the_printed_links_open_their_pages_and_hide_the_token_from_the_server() {
    let flags = Flags::default().with("default_room", "math-7");
    let (config, _) = Config::from_environment(&flags, []).unwrap();
    let keys = Keys::from_secret("k", "0123456789abcdef0123456789abcdef", "lectern").unwrap();
    let links = links(&config, &keys, "0.0.0.0:8080".parse().unwrap()).unwrap();
    for (link, page, publishes) in [
        (links.publish, "publish", true),
        (links.watch, "watch", false),
    ] {
        let (url, token) = link.split_once("#token=").unwrap();
        assert_eq!(url, format!("http://127.0.0.1:8080/{page}/math-7"));
        let claims = keys.verify_room(token).unwrap();
        assert!(claims.opens("math-7"));
        assert_eq!(claims.rights().may_publish(), publishes);
    }
}

#[test]
fn the_first_sigterm_drains_and_the_second_stops() {
    let run = Order::Run { hangups: 0 };
    let drain = run.after_sighup().after_sigterm();
    assert_eq!(drain, Order::Drain { hangups: 1 });
    assert_eq!(drain.after_sighup(), Order::Drain { hangups: 2 });
    assert_eq!(drain.after_sigterm(), Order::Stop);
    assert_eq!(Order::Stop.after_sighup().after_sigterm(), Order::Stop);
}

#[test]
fn ports_in_a_row_are_asked_for_again() {
    let at = |ports: &[u16]| -> Vec<SocketAddr> {
        let addresses = ["192.0.2.7", "127.0.0.1"];
        let on = |port: &u16| addresses.map(|ip| SocketAddr::new(ip.parse().unwrap(), *port));
        ports.iter().flat_map(on).collect()
    };
    assert_eq!(first_port(&at(&[40_000, 40_001, 40_002])), Some(40_000));
    assert_eq!(first_port(&at(&[34_567])), Some(34_567));
    assert_eq!(first_port(&at(&[34_567, 51_000])), None);
    assert_eq!(first_port(&[]), None);
}

#[test]
fn the_control_plane_gets_every_value_and_the_data_plane_its_own() {
    let flags = Flags::default()
        .with("http", "127.0.0.1:0")
        .with("open_tokens", "true")
        .with("media_port", "41000")
        .with("data_dir", "d");
    let (config, layers) = Config::from_environment(&flags, []).unwrap();
    let program = controlplane_program(&config, &layers).unwrap();
    let arguments = program.arguments();
    for expected in [
        "controlplane",
        "--http=127.0.0.1:0",
        "--open-tokens=true",
        "--link=d/link.sock",
    ] {
        assert!(
            arguments.iter().any(|argument| argument == expected),
            "{arguments:?}"
        );
    }
    let mut program = Program::new("data plane", PathBuf::from("lectern-dataplane"));
    place(&mut program, &config, &layers);
    for name in DATAPLANE_KEYS {
        set(&mut program, &layers, name);
    }
    let arguments = program.arguments();
    assert!(
        arguments
            .iter()
            .any(|argument| argument == "--media-port=41000")
    );
    assert!(
        arguments
            .iter()
            .all(|argument| !argument.starts_with("--shards")),
        "unset stays unset"
    );
    assert!(
        arguments
            .iter()
            .all(|argument| !argument.starts_with("--http"))
    );
}

#[test]
fn the_control_plane_knows_every_flag_that_it_is_given() {
    let (config, layers) = Config::from_environment(&Flags::default(), []).unwrap();
    let mut program = controlplane_program(&config, &layers).unwrap();
    for setting in layers.settings() {
        program.set(setting.key.name, "1");
    }
    let arguments = program.arguments();
    let words = std::iter::once("lectern").chain(arguments.iter().map(String::as_str));
    let known = crate::cli::Cli::command().try_get_matches_from(words);
    assert!(known.is_ok(), "{known:?}");
}

/// A node of two scripts, with the directories of both.
async fn node(of_dataplane: &tempfile::TempDir, of_controlplane: &tempfile::TempDir) -> Node {
    let (dataplane, _) = start(witness(of_dataplane)).await;
    let (mut controlplane, _) = start(script(
        of_controlplane,
        "echo $$ > pid; echo \"{\\\"start\\\":$n}\"; cat >/dev/null",
    ))
    .await;
    controlplane.set_on_drain(OnDrain::GoOn);
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    Node {
        dataplane,
        controlplane,
        ready: Ready {
            version: String::new(),
            http: anywhere,
            ops: anywhere,
            media_ops: anywhere,
            media: Vec::new(),
            data_dir: PathBuf::new(),
            pids: Pids {
                controlplane: 0,
                dataplane: 0,
            },
            links: Links {
                publish: String::new(),
                watch: String::new(),
            },
        },
    }
}

fn runs(dir: &tempfile::TempDir) -> bool {
    std::path::Path::new("/proc").join(pid(dir)).exists()
}

#[tokio::test]
async fn a_drain_ends_the_data_plane_first_and_the_control_plane_after_it() {
    let (media, web) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = node(&media, &web).await;
    let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
    let kept = tokio::spawn(node.keep(receiver));
    orders.send_replace(Order::Drain { hangups: 0 });
    until(|| media.path().join("signals").exists()).await;
    assert!(runs(&web), "people in the running classes still need it");
    std::fs::write(media.path().join("may_end"), "").unwrap();
    tokio::time::timeout(PATIENCE, kept).await.unwrap().unwrap();
    assert!(!runs(&web));
    assert_eq!((starts(&media), starts(&web)), (1, 1));
}

#[tokio::test]
async fn a_stop_during_a_drain_ends_both_within_two_seconds() {
    let (media, web) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // It has sessions left, and is deaf to the end of its standard input: the worst case.
    let node = node(&media, &web).await;
    let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
    let kept = tokio::spawn(node.keep(receiver));
    orders.send_replace(Order::Drain { hangups: 0 });
    until(|| media.path().join("signals").exists()).await;
    let since = std::time::Instant::now();
    orders.send_replace(Order::Stop);
    tokio::time::timeout(PATIENCE, kept).await.unwrap().unwrap();
    assert!(
        since.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        since.elapsed()
    );
    assert!(!runs(&web));
    assert_eq!((starts(&media), starts(&web)), (1, 1));
}
