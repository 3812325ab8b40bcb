//! Panics as results: where and why, without a line on the terminal for each.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panicked {
    /// `file:line` of the panic, the same for all inputs that run into it.
    pub(super) site: String,
    /// What it said.
    pub(super) message: String,
}

struct Watch {
    watching: bool,
    /// Of the panics since the watch began, the last.
    last: Option<Panicked>,
    count: u64,
}

thread_local! {
    static WATCH: RefCell<Watch> = const {
        RefCell::new(Watch { watching: false, last: None, count: 0 })
    };
}

/// Runs `work` and says how it panicked, if it did, and how many panics it caught itself.
pub(super) fn catch(work: impl FnOnce()) -> (Option<Panicked>, u64) {
    install();
    WATCH.with_borrow_mut(|watch| {
        *watch = Watch {
            watching: true,
            last: None,
            count: 0,
        };
    });
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    WATCH.with_borrow_mut(|watch| {
        watch.watching = false;
        match outcome {
            Ok(()) => (None, watch.count),
            // A payload that `resume_unwind` threw passed no hook.
            Err(_) => {
                let unknown = || Panicked {
                    site: "unknown".to_owned(),
                    message: "resumed".to_owned(),
                };
                let last = watch.last.take().unwrap_or_else(unknown);
                (Some(last), watch.count.saturating_sub(1))
            }
        }
    })
}

/// The hook is the process's: threads that are not watched keep the one there was.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let watched = WATCH.with_borrow_mut(|watch| {
                if watch.watching {
                    watch.count += 1;
                    let site = info
                        .location()
                        .map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
                    let message = info.payload_as_str().unwrap_or("no text").to_owned();
                    watch.last = Some(Panicked { site, message });
                }
                watch.watching
            });
            if !watched {
                previous(info);
            }
        }));
    });
}
