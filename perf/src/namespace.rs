//! A private network namespace: devices with any name, and nothing to clean up.
//!
//! A thread leaves the host's network namespace and does jobs inside the new one. The namespace has no
//! name: the kernel destroys it, devices included, when the last thread, process and socket in it is
//! gone, whether this program ended well, was interrupted or was killed. So two runs at once never meet,
//! and none leaves a trace.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow, bail};
use rustix::thread::gettid;

use crate::floor::sink;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that lives in its own network namespace. Threads, processes and sockets made by its jobs
/// live there too.
#[derive(Debug)]
pub(crate) struct Namespace {
    tid: i32,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// Makes a namespace whose only device is the loopback, up.
    ///
    /// # Errors
    /// Without the right to make namespaces (root, CAP_SYS_ADMIN), or without the `ip` program.
    pub(crate) fn new() -> anyhow::Result<Namespace> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, entered) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("namespace".to_owned())
            .spawn(move || {
                let result =
                    sink::leave_network_namespace().map(|()| gettid().as_raw_nonzero().get());
                let failed = result.is_err();
                let _receiver_waits = ready.send(result);
                if !failed {
                    inbox.iter().for_each(|job| job());
                }
            })?;
        let tid = entered
            .recv()
            .context("the namespace thread ended")?
            .context("cannot make a network namespace (needs root or CAP_SYS_ADMIN)")?;
        let namespace = Namespace {
            tid,
            jobs: Some(jobs),
            thread: Some(thread),
        };
        namespace.run(|| ip(["link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// The thread that lives in it: how `ip` can name the namespace.
    pub(crate) fn tid(&self) -> i32 {
        self.tid
    }

    /// Runs `job` in the namespace and returns what it returns.
    ///
    /// # Errors
    /// What the job returns, and when it panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (sender, result) = mpsc::channel();
        let jobs = self
            .jobs
            .as_ref()
            .expect("invariant: the sender is taken only by drop");
        jobs.send(Box::new(move || {
            let _caller_waits = sender.send(job());
        }))
        .map_err(|_| anyhow!("the namespace thread ended"))?;
        result
            .recv()
            .map_err(|_| anyhow!("a job in the namespace panicked"))?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Runs the `ip` program in the calling thread's namespace.
///
/// # Errors
/// With what `ip` said.
pub(crate) fn ip<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    let output = command
        .output()
        .context("cannot run `ip` (Debian package iproute2)")?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Device names as the calling thread sees them.
    fn devices() -> Vec<String> {
        std::fs::read_to_string("/proc/thread-self/net/dev")
            .unwrap()
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
            .collect()
    }

    #[test]
    fn two_at_once_use_the_same_device_name_and_leave_the_host_as_it_was() {
        let Ok(first) = Namespace::new() else {
            // Without the right to make namespaces there is nothing to leave behind.
            return;
        };
        let before = devices();
        let second = Namespace::new().unwrap();
        for namespace in [&first, &second] {
            let made = namespace.run(|| {
                ip([
                    "link", "add", "perf-a", "type", "veth", "peer", "name", "perf-b",
                ])
            });
            made.unwrap();
            let seen = namespace.run(|| Ok(devices())).unwrap();
            assert!(seen.iter().any(|name| name == "perf-a"));
        }
        assert_eq!(devices(), before);
        drop((first, second));
        assert_eq!(devices(), before);
    }

    #[test]
    fn what_a_job_returns_comes_back_and_a_failed_one_says_why() {
        let Ok(namespace) = Namespace::new() else {
            return;
        };
        assert_eq!(namespace.run(|| Ok(42)).unwrap(), 42);
        let error = namespace
            .run(|| ip(["link", "show", "nothing-here"]))
            .unwrap_err();
        assert!(error.to_string().contains("nothing-here"));
    }
}
