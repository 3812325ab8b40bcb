//! Every target for a fixed number of executions: the same inputs in every run of `make test`.

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use fuzz::runner::{entries, table};
use fuzz::{Campaign, Effort, Report, Shape, Target, hex};

const SEED: u64 = 0x1ec7;

/// Two threads, because `make test` is measured on two cores.
const THREADS: usize = 2;

#[test]
fn every_target_holds() {
    let queue = Mutex::new(fuzz::all().into_iter());
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(target) = queue.lock().unwrap().next() else {
                        return;
                    };
                    let effort = Effort::Executions(target.executions);
                    let report = Campaign::new(target, SEED).run(effort, |_| {});
                    reports.lock().unwrap().push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|report| report.target);
    // The handle and not `print!`: the harness would keep it, and the counts belong into the log.
    let text = table(&reports);
    std::io::stdout().lock().write_all(text.as_bytes()).unwrap();
    let findings: Vec<String> = reports
        .iter()
        .flat_map(|report| &report.findings)
        .map(ToString::to_string)
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert_eq!(reports.len(), fuzz::all().len());
}

/// A target as simple as a target can be: it fails on one pattern of three octets.
fn planted(bytes: &[u8]) {
    fuzz::behaviour::size("length", bytes.len());
    for triple in bytes.windows(3) {
        fuzz::behaviour::note("first", u64::from(triple[0] == 0x16));
        if triple[0] == 0x16 {
            fuzz::behaviour::note("second", u64::from(triple[1] == 0xfe));
            assert!(triple[1..] != [0xfe, 0x01], "planted");
        }
    }
}

/// A target that keeps what it is given, eight times over.
fn hungry(bytes: &[u8]) {
    fuzz::behaviour::size("length", bytes.len() / 32);
    let kept: Vec<Vec<u8>> = (0..8).map(|_| bytes.to_vec()).collect();
    std::hint::black_box(kept);
}

fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        seeds: || vec![b"nothing of interest at all".to_vec()],
        shape: Shape::Octets,
        length_max: 1_000,
        allocation_max: Some(4_096),
        executions: 0,
        words: &[],
    }
}

fn run(target: Target, seed: u64, executions: u64) -> Report {
    Campaign::new(target, seed).run(Effort::Executions(executions), |_| {})
}

#[test]
fn a_planted_bug_is_found_and_made_small() {
    let report = run(target("planted", planted), 1, 400_000);
    let [finding] = report.findings.as_slice() else {
        panic!("{:?}", report.findings)
    };
    assert_eq!(finding.input, [0x16, 0xfe, 0x01], "{finding}");
    assert!(finding.site.contains("fuzz.rs:") && finding.message == "planted");
    assert!(finding.to_string().ends_with("3 octets: 16fe01"));
}

#[test]
fn without_notes_the_planted_bug_is_out_of_reach() {
    // What the notes are worth: one chance in 2^24 a window, against three steps of one in 2^8.
    let blind = |bytes: &[u8]| {
        planted(bytes);
        fuzz::behaviour::begin();
    };
    let report = run(target("planted_blind", blind), 1, 40_000);
    assert_eq!((report.findings.len(), report.kept), (0, 0));
}

#[test]
fn memory_is_an_oracle() {
    let hungry = Target {
        seeds: || vec![vec![7; 400]],
        ..target("hungry", hungry)
    };
    let report = run(hungry, 1, 20_000);
    let [finding] = report.findings.as_slice() else {
        panic!("{:?}", report.findings)
    };
    assert_eq!(finding.site, "memory");
    // The least that is too much: 8 x 512 is what is allowed, the list itself takes the rest.
    assert!((400..=513).contains(&finding.input.len()), "{finding}");
    assert!(finding.input.iter().all(|&octet| octet == 0));
}

#[test]
fn a_seed_decides_everything() {
    let demux = fuzz::all()
        .into_iter()
        .find(|target| target.name == "vp9")
        .unwrap();
    let result = |seed| {
        let report = run(demux, seed, 3_000);
        (
            report.kept,
            report.behaviours,
            report.executions,
            report.cover,
        )
    };
    assert_eq!(result(1), result(1));
    assert_ne!(result(1).3, result(2).3);
}

#[test]
fn every_committed_file_belongs_to_a_target_and_reads() {
    let names: Vec<&str> = fuzz::all().iter().map(|target| target.name).collect();
    let mut files = 0;
    for directory in ["corpus", "crashes"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        for entry in std::fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "hex") {
                continue;
            }
            files += 1;
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let name = if directory == "corpus" {
                Some(stem)
            } else {
                stem.rsplit_once('-').map(|(name, _)| name)
            };
            assert!(
                name.is_some_and(|name| names.contains(&name)),
                "{}",
                path.display()
            );
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                assert!(hex::decode(line).is_some(), "{}", path.display());
            }
        }
    }
    let replayed: usize = fuzz::all().iter().map(|target| entries(target).len()).sum();
    assert!(
        replayed > 500,
        "{replayed} inputs of {files} files and the vectors"
    );
}
