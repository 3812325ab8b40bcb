//! CPU time and processor affinity.
//!
//! Our own threads read their precise clock. Threads of another process are read from
//! `/proc/<pid>/task/<tid>/schedstat`, whose first field is nanoseconds spent on a processor. The kernel
//! brings that field up to date when the thread is scheduled or at a tick, so a thread that is running
//! at the moment of reading may be one tick (1 to 4 ms) behind; windows of a second keep that below half
//! a percent.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// CPU time the calling thread has used since it began.
pub(crate) fn this_thread() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time this process has used since it began, all threads.
pub(crate) fn this_process() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

/// Scheduler time of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// On a processor.
    pub(crate) run: Duration,
    /// Ready to run, while something else did.
    pub(crate) wait: Duration,
}

impl CpuTime {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            run: self.run.saturating_sub(earlier.run),
            wait: self.wait.saturating_sub(earlier.wait),
        }
    }
}

/// What a process has used: the sum over its threads that are alive.
///
/// # Errors
/// When the process is gone, or the kernel was built without `CONFIG_SCHED_INFO`.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<CpuTime> {
    of_tasks(Path::new(&format!("/proc/{pid}/task")))
}

fn of_tasks(tasks: &Path) -> anyhow::Result<CpuTime> {
    let mut total = CpuTime::default();
    let mut threads = 0_u32;
    let listing =
        fs::read_dir(tasks).with_context(|| format!("cannot read {}", tasks.display()))?;
    for entry in listing {
        let path = entry?.path().join("schedstat");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let thread = parse_schedstat(&text)
                    .with_context(|| format!("{} reads {text:?}", path.display()))?;
                total.run += thread.run;
                total.wait += thread.wait;
                threads += 1;
            }
            // The thread ended between the listing and the reading.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    if threads == 0 {
        bail!("{} lists no thread with a schedstat", tasks.display());
    }
    Ok(total)
}

/// ESRCH: procfs answers so for a thread that ended after its file was opened.
const NO_SUCH_PROCESS: i32 = 3;

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

/// A `schedstat` line: nanoseconds on a processor, nanoseconds waiting for one, and the number of time
/// slices.
fn parse_schedstat(text: &str) -> Option<CpuTime> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let run = fields.next()?.ok()?;
    let wait = fields.next()?.ok()?;
    let _slices = fields.next()?.ok()?;
    Some(CpuTime {
        run: Duration::from_nanos(run),
        wait: Duration::from_nanos(wait),
    })
}

/// Which processors the measured side and the load generator run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The processor of the floors and of the node's shard.
    pub(crate) measured: usize,
    /// The processor of the load generator; the same one where there is only one.
    pub(crate) loader: usize,
}

impl Cores {
    /// The first two processors this process may use.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn choose() -> anyhow::Result<Cores> {
        let allowed = sched_getaffinity(None).context("cannot read the processor affinity")?;
        Ok(Cores::among(
            (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)),
        ))
    }

    fn among(mut allowed: impl Iterator<Item = usize>) -> Cores {
        let measured = allowed.next().unwrap_or(0);
        Cores {
            measured,
            loader: allowed.next().unwrap_or(measured),
        }
    }

    /// Whether load generator and measured side share one processor.
    pub(crate) fn shared(self) -> bool {
        self.measured == self.loader
    }
}

/// Keeps the calling thread, and the threads and processes it starts, on one processor.
///
/// # Errors
/// When the processor is offline or not allowed.
pub(crate) fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on processor {cpu}"))
}

/// The processors the calling thread may use now, to be given back by [`Affinity::restore`].
#[derive(Clone, Debug)]
pub(crate) struct Affinity(CpuSet);

impl Affinity {
    /// Remembers the calling thread's.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn current() -> anyhow::Result<Affinity> {
        Ok(Affinity(
            sched_getaffinity(None).context("cannot read the processor affinity")?,
        ))
    }

    /// Applies it to the calling thread.
    ///
    /// # Errors
    /// When the processors are no longer allowed.
    pub(crate) fn restore(&self) -> anyhow::Result<()> {
        sched_setaffinity(None, &self.0).context("cannot restore the processor affinity")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(run: u64, wait: u64) -> CpuTime {
        CpuTime {
            run: Duration::from_nanos(run),
            wait: Duration::from_nanos(wait),
        }
    }

    #[test]
    fn run_time_is_the_first_field_and_malformed_lines_are_refused() {
        assert_eq!(
            parse_schedstat("1234567890 42 7\n"),
            Some(time(1_234_567_890, 42))
        );
        for malformed in ["", "12", "12 13", "x 1 2", "-1 1 2", "1 y 2"] {
            assert_eq!(parse_schedstat(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn threads_of_a_process_are_added_and_vanished_ones_skipped() {
        let tasks = tempfile::tempdir().unwrap();
        for (tid, line) in [("10", "1000 5 1\n"), ("11", "2500 0 3\n")] {
            fs::create_dir(tasks.path().join(tid)).unwrap();
            fs::write(tasks.path().join(tid).join("schedstat"), line).unwrap();
        }
        fs::create_dir(tasks.path().join("12")).unwrap();
        assert_eq!(of_tasks(tasks.path()).unwrap(), time(3500, 5));
        assert_eq!(time(3500, 5).since(time(500, 1)), time(3000, 4));
    }

    #[test]
    fn a_process_without_readable_threads_is_an_error_not_zero() {
        let empty = tempfile::tempdir().unwrap();
        assert!(of_tasks(empty.path()).is_err());
        assert!(of_tasks(&empty.path().join("gone")).is_err());
    }

    #[test]
    fn two_processors_are_told_apart_and_one_is_shared() {
        assert_eq!(
            Cores::among([2, 5, 7].into_iter()),
            Cores {
                measured: 2,
                loader: 5
            }
        );
        let single = Cores::among(std::iter::once(3));
        assert!(single.shared());
        assert_eq!(single.measured, 3);
    }
}
