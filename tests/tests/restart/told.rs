//! A run of `lectern-perf restart`, and what it told.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// Exit status when everything was measured and a gate of time was missed.
const GATE_MISSED: i32 = 3;

/// Longest gap that may be added and longest absence of the API, milliseconds: twenty-five and five times
/// what is promised.
const GAP_MS_MAX: f64 = 500.0;
const API_MS_MAX: f64 = 5000.0;

/// What chapters told.
#[derive(Debug)]
pub(crate) struct Told(Value);

/// Two runs at once: both spend half of their time waiting for a stream that nobody publishes any more to be
/// forgotten.
static RUNS: LazyLock<[Told; 2]> = LazyLock::new(|| {
    // Only root may mount a disk that is small.
    let disk = if is_root() { ",disk" } else { "" };
    let faults = format!("media,descriptors,clock,kick{disk}");
    let lives = "kill,takeover,upgrade,freeze";
    [
        start(
            lives,
            &["--kills", "20", "--takeovers", "2", "--freeze", "4"],
        ),
        start(&faults, &["--media-kills", "5"]),
    ]
    .map(Told::of)
});

/// Kills, successors and sleep of the control plane.
pub(crate) fn lives() -> &'static Told {
    &RUNS[0]
}

/// Deaths of the data plane, and the fault matrix.
pub(crate) fn faults() -> &'static Told {
    &RUNS[1]
}

/// Whether the chapters that need it were run.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn start(chapters: &str, arguments: &[&str]) -> Child {
    Command::new(program("lectern-perf"))
        .args(["restart", "--json", "--only", chapters])
        .args(["--rooms", "3", "--viewers", "4"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Told {
    fn of(run: Child) -> Told {
        let output = run.wait_with_output().unwrap();
        let code = output.status.code();
        assert!(
            code == Some(0) || code == Some(GATE_MISSED),
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Told(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// A number of a chapter.
    pub(crate) fn number(&self, chapter: &str, name: &str) -> f64 {
        let number = self.0["medians"][chapter][name].as_f64();
        number.unwrap_or_else(|| panic!("{chapter} has no {name}: {:#}", self.0["medians"]))
    }

    /// No packet was lost or came that should not have, nothing was refused that must not be, every round was
    /// played, and nothing remained of the class.
    pub(crate) fn nobody_noticed(&self, chapter: &str, rounds: u32) {
        let figures = &self.0["medians"][chapter];
        let faults = figures["faults"].as_array().unwrap();
        assert!(faults.is_empty(), "{chapter}: {faults:#?}");
        assert_eq!(figures["rounds"], rounds, "{chapter}: {figures:#}");
        assert_eq!(figures["lost"], 0, "{chapter}: {:#}", self.0["rounds"]);
        assert_eq!(figures["wrong"], 0, "{chapter}: {:#}", self.0["rounds"]);
        let media = self.number(chapter, "packets");
        assert!(media >= 1000.0, "{chapter}: media flowed, {media} packets");
        let empty = self.number(chapter, "empty_after_s");
        assert!(empty <= 60.0, "{chapter}: empty after {empty} s");
        let gap = self.number(chapter, "added_gap_ms");
        assert!(
            gap <= GAP_MS_MAX,
            "{chapter}: {gap} ms more than in the calm"
        );
    }

    /// Newcomers were let in soon.
    pub(crate) fn api_was_back(&self, chapter: &str) {
        let back = self.number(chapter, "api_ms_max");
        assert!(back <= API_MS_MAX, "{chapter}: the API after {back} ms");
    }
}

/// A program that was built with this test.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // Tests stand in a folder beside the programs.
    let program = test.parent().unwrap().with_file_name(name);
    assert!(
        program.is_file(),
        "there is no {}: cargo build --workspace --bins",
        program.display()
    );
    program
}
