//! `fuzz`: the targets for as long as one likes.
//!
//! ```text
//! fuzz [--seconds N | --executions N] [--seed N] [--threads N] [--keep] [TARGET...]
//! ```
//! `FUZZ_SECONDS` and `FUZZ_EXECUTIONS` are the same by environment; both are for each target. Findings are
//! written to `fuzz/crashes`, and the exit status is 1.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the report is this program's output")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fuzz::runner::{keep, table, write_crash};
use fuzz::{Campaign, Effort, Finding, Report, Target};

/// How often a running target says where it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

struct Options {
    effort: Effort,
    seed: u64,
    threads: usize,
    keep: bool,
    targets: Vec<Target>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("fuzz: {what}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    let reports = run(&options);
    print!("{}", table(&reports));
    let clean = reports.iter().all(|report| report.findings.is_empty());
    for report in &reports {
        if options.keep {
            let target = options
                .targets
                .iter()
                .find(|target| target.name == report.target);
            let seeds = target.map(|target| (target.seeds)()).unwrap_or_default();
            let new: Vec<Vec<u8>> = report
                .cover
                .iter()
                .filter(|input| !seeds.contains(input))
                .cloned()
                .collect();
            if let Err(error) = keep(report.target, &new) {
                eprintln!(
                    "fuzz: the corpus of {} was not written: {error}",
                    report.target
                );
            }
        }
    }
    ExitCode::from(u8::from(!clean))
}

fn run(options: &Options) -> Vec<Report> {
    let queue = Mutex::new(options.targets.iter());
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while let Some(target) = next(&queue) {
                    let mut told = Instant::now();
                    let report =
                        Campaign::new(*target, options.seed).run(options.effort, |executions| {
                            if told.elapsed() >= PROGRESS_INTERVAL {
                                told = Instant::now();
                                println!("{}: {executions}", target.name);
                            }
                        });
                    println!(
                        "{}: {} done, {} findings",
                        target.name,
                        report.executions,
                        report.findings.len()
                    );
                    // At once: a run that is cut short keeps what it found.
                    report.findings.iter().for_each(tell);
                    reports
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push(report);
                }
            });
        }
    });
    let mut reports = reports
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    reports.sort_by_key(|report| report.target);
    reports
}

/// Says a finding and writes it for committing.
fn tell(finding: &Finding) {
    println!("{finding}");
    match write_crash(finding.target, &finding.input) {
        Ok(path) => println!("  {}", path.display()),
        Err(error) => eprintln!("fuzz: the finding was not written: {error}"),
    }
}

fn next<'t>(queue: &Mutex<std::slice::Iter<'t, Target>>) -> Option<&'t Target> {
    queue
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .next()
}

fn options() -> Result<Options, String> {
    let environment = |name| {
        std::env::var(name)
            .ok()
            .map(|value| number(name, &value))
            .transpose()
    };
    let mut options = Options {
        effort: match (
            environment("FUZZ_SECONDS")?,
            environment("FUZZ_EXECUTIONS")?,
        ) {
            (Some(seconds), _) => Effort::Time(Duration::from_secs(seconds)),
            (None, executions) => Effort::Executions(executions.unwrap_or(10_000)),
        },
        // Another seed each time, said so that it can be said again.
        seed: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs()),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        keep: false,
        targets: Vec::new(),
    };
    let all = fuzz::all();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a number"))?;
            number(&argument, &value)
        };
        match argument.as_str() {
            "--seconds" => options.effort = Effort::Time(Duration::from_secs(value()?)),
            "--executions" => options.effort = Effort::Executions(value()?),
            "--seed" => options.seed = value()?,
            "--threads" => options.threads = usize::try_from(value()?.max(1)).unwrap_or(1),
            "--keep" => options.keep = true,
            name => match all.iter().find(|target| target.name == name) {
                Some(target) => options.targets.push(*target),
                None => {
                    let names: Vec<&str> = all.iter().map(|target| target.name).collect();
                    return Err(format!(
                        "no target `{name}`; there are {}",
                        names.join(", ")
                    ));
                }
            },
        }
    }
    if options.targets.is_empty() {
        options.targets = all;
    }
    Ok(options)
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("{name} needs a number, not `{value}`"))
}
