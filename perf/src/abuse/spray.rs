//! The thread an attack sends from: an even rate, whatever becomes of the packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use super::attack::Attack;

/// Packets are sent in groups, one a tick: a system call for each pause would cost more than the packets.
const TICK: Duration = Duration::from_millis(1);

/// Time that is made up for at once after the thread was kept from running; what is older is left out, or
/// a hiccup of this machine would hit the node as a burst.
const CATCH_UP_MAX: Duration = Duration::from_millis(5);

/// The attack yields its processor to publishers and viewers: their delays are not the node's.
const NICE: i32 = 5;

/// An attack that is under way.
#[derive(Debug)]
pub(crate) struct Spray {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Box<dyn Attack>, Sprayed)>,
}

/// What an attack has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sprayed {
    pub(crate) packets: u64,
    /// That the kernel did not take.
    pub(crate) refused: u64,
    pub(crate) took: Duration,
    /// Bytes the node sent to addresses only the attack uses.
    pub(crate) replies: u64,
}

impl Sprayed {
    /// Packets a second.
    pub(crate) fn rate(&self) -> f64 {
        self.packets as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl Spray {
    /// Attacks with `rate` packets a second until it is stopped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(mut attack: Box<dyn Attack>, rate: u32) -> anyhow::Result<Spray> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("attack".to_owned())
            .spawn(move || {
                let _only_a_courtesy = setpriority_process(Some(gettid()), NICE);
                let sprayed = spray(&mut *attack, rate, &stopped);
                (attack, sprayed)
            })?;
        Ok(Spray { stop, thread })
    }

    /// Stops, and gives the attack back for the next window.
    ///
    /// # Errors
    /// When the attack panicked.
    pub(crate) fn stop(self) -> anyhow::Result<(Box<dyn Attack>, Sprayed)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("it panicked"))
            .context("the attack's thread")
    }
}

fn spray(attack: &mut dyn Attack, rate: u32, stop: &AtomicBool) -> Sprayed {
    let begin = Instant::now();
    let gap = Duration::from_secs(1) / rate.max(1);
    let mut due = begin;
    let mut sprayed = Sprayed::default();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        due = due.max(now.checked_sub(CATCH_UP_MAX).unwrap_or(begin));
        while due <= now {
            match attack.fire() {
                Ok(()) => sprayed.packets += 1,
                // The queue is full, or a connected socket reports what ICMP said of an earlier packet.
                Err(_nothing_was_sent) => sprayed.refused += 1,
            }
            due += gap;
        }
        std::thread::sleep(TICK.min(due.saturating_duration_since(Instant::now())));
    }
    sprayed.took = begin.elapsed();
    sprayed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug)]
    struct Count(u64);

    impl Attack for Count {
        fn fire(&mut self) -> io::Result<()> {
            self.0 += 1;
            if self.0.is_multiple_of(4) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        }
    }

    #[test]
    fn what_was_sent_and_refused_is_counted_and_never_more_than_the_rate() {
        let spray = Spray::start(Box::new(Count(0)), 20_000).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let (_attack, sprayed) = spray.stop().unwrap();
        assert!(sprayed.packets > 0);
        assert!(sprayed.packets.abs_diff(3 * sprayed.refused) <= 3);
        let fired = sprayed.packets + sprayed.refused;
        assert!(fired as f64 <= 20_000.0 * sprayed.took.as_secs_f64() + 1.0);
    }
}
