use std::path::{Path, PathBuf};

use super::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(in crate::supervise) struct Said {
    start: u32,
}

/// A program of a few lines that counts its starts in `n` and in a file, and runs in the directory.
pub(in crate::supervise) fn script(dir: &tempfile::TempDir, body: &str) -> Program {
    let text = format!(
        "cd {dir}; n=$(($(cat count 2>/dev/null || echo 0) + 1)); echo $n > count\n{body}",
        dir = dir.path().display()
    );
    let mut program = Program::new("test program", PathBuf::from("/bin/sh"));
    for word in ["-c", &text, "sh"] {
        program.word(word);
    }
    program
}

pub(in crate::supervise) async fn start(program: Program) -> (Child, Said) {
    let (_orders, mut receiver) = watch::channel(Order::Run { hangups: 0 });
    Child::start(program, &mut receiver).await.unwrap().unwrap()
}

pub(in crate::supervise) fn starts(dir: &tempfile::TempDir) -> u32 {
    let text = std::fs::read_to_string(dir.path().join("count")).unwrap();
    // Empty in the moment in which the program writes it.
    text.trim().parse().unwrap_or(0)
}

#[tokio::test]
async fn a_process_is_ready_when_it_says_so_and_ends_with_its_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let program = script(&dir, "echo \"{\\\"start\\\":$n}\"; cat >/dev/null");
    let (child, said) = start(program).await;
    assert_eq!(said.start, 1);
    let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
    let kept = tokio::spawn(child.keep::<Said>(receiver));
    orders.send_replace(Order::Stop);
    timeout(Duration::from_secs(5), kept)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(starts(&dir), 1);
}

#[tokio::test]
async fn a_process_that_dies_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    // Dies at its first two starts, right after it said that it is ready.
    let program = script(
        &dir,
        "echo \"{\\\"start\\\":$n}\"; [ $n -lt 3 ] && exit 7; cat >/dev/null",
    );
    let (child, _) = start(program).await;
    let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
    let kept = tokio::spawn(child.keep::<Said>(receiver));
    timeout(Duration::from_secs(5), async {
        while starts(&dir) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    orders.send_replace(Order::Stop);
    timeout(Duration::from_secs(5), kept)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(starts(&dir), 3);
}

#[tokio::test]
async fn a_process_that_ends_before_it_is_ready_is_an_error_with_its_status() {
    let dir = tempfile::tempdir().unwrap();
    let (_orders, mut receiver) = watch::channel(Order::Run { hangups: 0 });
    let failed = Child::start::<Said>(script(&dir, "exit 3"), &mut receiver).await;
    let error = failed.unwrap_err().to_string();
    assert_eq!(
        error,
        "the test program did not start (exit status: 3); its own message stands above"
    );
}

#[tokio::test]
async fn a_stop_during_the_start_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let program = script(
        &dir,
        &format!("echo $$ > {}; cat >/dev/null", pid.display()),
    );
    let (orders, mut receiver) = watch::channel(Order::Run { hangups: 0 });
    let starting = Child::start::<Said>(program, &mut receiver);
    let stopping = async {
        while std::fs::read_to_string(&pid).map_or(true, |text| text.is_empty()) {
            tokio::task::yield_now().await;
        }
        orders.send_replace(Order::Stop);
    };
    let (started, ()) = tokio::join!(starting, stopping);
    assert!(started.unwrap().is_none());
    let pid = std::fs::read_to_string(&pid).unwrap();
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "reaped, not a zombie"
    );
}

/// A node's worth of patience for a busy machine.
pub(in crate::supervise) const PATIENCE: Duration = Duration::from_secs(10);

pub(in crate::supervise) async fn until(mut done: impl FnMut() -> bool) {
    timeout(PATIENCE, async {
        while !done() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

/// Says that it is ready and writes down each signal it gets; SIGTERM ends it once `may_end` exists.
pub(in crate::supervise) fn witness(dir: &tempfile::TempDir) -> Program {
    script(
        dir,
        "trap 'echo hup >> signals' HUP; trap 'echo term >> signals; draining=1' TERM
         echo \"{\\\"start\\\":$n}\"
         while [ -z \"$draining\" ] || [ ! -e may_end ]; do sleep 0.01; done",
    )
}

pub(in crate::supervise) fn pid(dir: &tempfile::TempDir) -> String {
    let text = std::fs::read_to_string(dir.path().join("pid")).unwrap();
    text.trim().to_owned()
}

fn signals(dir: &tempfile::TempDir) -> String {
    std::fs::read_to_string(dir.path().join("signals")).unwrap_or_default()
}

#[tokio::test]
async fn a_drain_ends_a_process_in_its_own_time_and_does_not_start_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let (child, _) = start(witness(&dir)).await;
    let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
    let kept = tokio::spawn(child.keep::<Said>(receiver));
    orders.send_replace(Order::Drain { hangups: 0 });
    until(|| signals(&dir) == "term\n").await;
    // What comes during a drain is passed on, and says nothing of the drain a second time.
    orders.send_replace(Order::Drain { hangups: 1 });
    until(|| signals(&dir) == "term\nhup\n").await;
    assert!(!kept.is_finished(), "it has sessions left");
    std::fs::write(dir.path().join("may_end"), "").unwrap();
    timeout(PATIENCE, kept).await.unwrap().unwrap();
    assert_eq!(starts(&dir), 1);
}

#[tokio::test]
async fn a_process_that_goes_on_hears_nothing_of_a_drain_and_is_still_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let program = script(
        &dir,
        "echo $$ > pid; echo \"{\\\"start\\\":$n}\"; cat >/dev/null",
    );
    let (mut child, _) = start(program).await;
    child.set_on_drain(OnDrain::GoOn);
    let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
    let kept = tokio::spawn(child.keep::<Said>(receiver));
    orders.send_replace(Order::Drain { hangups: 0 });
    let status = std::process::Command::new("kill")
        .args(["-KILL", &pid(&dir)])
        .status();
    assert!(status.unwrap().success());
    until(|| starts(&dir) == 2).await;
    orders.send_replace(Order::Stop);
    timeout(PATIENCE, kept).await.unwrap().unwrap();
    assert_eq!(starts(&dir), 2);
}

#[tokio::test]
async fn a_process_that_hangs_is_left_alone_until_all_is_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let program = script(
        &dir,
        "echo $$ > pid; echo \"{\\\"start\\\":$n}\"; kill -STOP $$; cat >/dev/null",
    );
    let (child, _) = start(program).await;
    let (orders, receiver) = watch::channel(Order::Run { hangups: 0 });
    let kept = tokio::spawn(child.keep::<Said>(receiver));
    orders.send_replace(Order::Drain { hangups: 0 });
    // SIGTERM waits with the stopped process: only an order to stop ends it.
    let stopped = Instant::now();
    orders.send_replace(Order::Stop);
    timeout(PATIENCE, kept).await.unwrap().unwrap();
    assert!(stopped.elapsed() >= STOP_TIME_MAX, "it was given its time");
    assert!(!Path::new("/proc").join(pid(&dir)).exists());
    assert_eq!(starts(&dir), 1);
}
