//! Replay windows by SSRC, bounded: a publisher that begins anew brings new SSRCs, as often as it likes, and
//! one that comes back to an old SSRC finds none of its packets forgotten.

use super::replay::ReplayWindow;
use crate::limits::{SSRCS_PER_SESSION_MAX, SSRCS_REMEMBERED_MAX};
use crate::reason::DropReason;

/// Where an SSRC stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has a window, at this position.
    Live(usize),
    /// It had one, and goes on above its highest index. The position is among the remembered.
    Remembered(usize),
    /// It never authenticated, and there is room for it.
    New,
}

/// The SSRCs of one key: [`SSRCS_PER_SESSION_MAX`] with a window, and of [`SSRCS_REMEMBERED_MAX`] more the
/// highest index.
///
/// When every window is taken, the one longest unused makes room. Its SSRC keeps its highest index, so that it
/// can come back strictly above it: what is lost with the window is only the permission to be overtaken. An
/// SSRC that authenticated is never forgotten, or its packets could be replayed (RFC 3711 section 3.3.2); when
/// nothing more can be remembered, SSRCs that were never seen are refused, and those that are known go on.
///
/// Live and remembered SSRCs stand in arrays of their own, so that the scan of a forged packet touches twenty
/// cache lines, and that of a good one usually ends at the one last used.
#[derive(Debug)]
pub(crate) struct Windows<W> {
    ssrcs: Vec<u32>,
    entries: Vec<W>,
    /// When each was last marked, counted in marks.
    used: Vec<u64>,
    marks: u64,
    recent: usize,
    remembered: Vec<u32>,
    /// Of each remembered SSRC, the highest index that authenticated.
    highest: Vec<u64>,
}

impl<const WORDS: usize> Windows<ReplayWindow<WORDS>> {
    pub(crate) fn new() -> Self {
        Windows {
            ssrcs: Vec::new(),
            entries: Vec::new(),
            used: Vec::new(),
            marks: 0,
            recent: 0,
            remembered: Vec::new(),
            highest: Vec::new(),
        }
    }

    /// How many SSRCs have authenticated.
    pub(crate) fn len(&self) -> usize {
        self.ssrcs.len() + self.remembered.len()
    }

    /// Where `ssrc` stands, or that there is no room for one more.
    pub(crate) fn find(&self, ssrc: u32) -> Result<Place, DropReason> {
        if self.ssrcs.get(self.recent) == Some(&ssrc) {
            return Ok(Place::Live(self.recent));
        }
        if let Some(at) = self.ssrcs.iter().position(|&known| known == ssrc) {
            return Ok(Place::Live(at));
        }
        if let Some(at) = self.remembered.iter().position(|&known| known == ssrc) {
            return Ok(Place::Remembered(at));
        }
        if self.ssrcs.len() < SSRCS_PER_SESSION_MAX || self.remembered.len() < SSRCS_REMEMBERED_MAX
        {
            return Ok(Place::New);
        }
        Err(DropReason::SsrcLimit)
    }

    /// The highest index that authenticated at a place that [`Windows::find`] named; `None` for a new SSRC.
    pub(crate) fn highest(&self, place: Place) -> Option<u64> {
        match place {
            Place::Live(at) => Some(self.entries[at].highest()),
            Place::Remembered(at) => Some(self.highest[at]),
            Place::New => None,
        }
    }

    /// Whether `index` may be opened.
    pub(crate) fn admits(&self, place: Place, index: u64) -> bool {
        match place {
            Place::Live(at) => self.entries[at].admits(index),
            Place::Remembered(at) => index > self.highest[at],
            Place::New => true,
        }
    }

    /// Notes an authenticated index of the SSRC that [`Windows::find`] found at `place`.
    pub(crate) fn mark(&mut self, place: Place, ssrc: u32, index: u64) {
        let at = match place {
            Place::Live(at) => {
                self.entries[at].mark(index);
                at
            }
            Place::Remembered(from) => {
                let mut window = ReplayWindow::resuming_above(self.highest[from]);
                window.mark(index);
                self.remembered.swap_remove(from);
                self.highest.swap_remove(from);
                self.insert(ssrc, window)
            }
            Place::New => self.insert(ssrc, ReplayWindow::starting_with(index)),
        };
        self.marks += 1;
        self.used[at] = self.marks;
        self.recent = at;
    }

    /// Gives `ssrc` a window, that of the one longest unused when all are taken.
    fn insert(&mut self, ssrc: u32, window: ReplayWindow<WORDS>) -> usize {
        if self.ssrcs.len() < SSRCS_PER_SESSION_MAX {
            self.ssrcs.push(ssrc);
            self.entries.push(window);
            self.used.push(0);
            return self.ssrcs.len() - 1;
        }
        let (at, _) = (0..)
            .zip(&self.used)
            .min_by_key(|&(_, used)| used)
            .expect("invariant: every window is taken, and there are some");
        self.remembered.push(self.ssrcs[at]);
        self.highest.push(self.entries[at].highest());
        self.ssrcs[at] = ssrc;
        self.entries[at] = window;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::replay::RtpReplayWindow;

    const LIVE: u32 = 32;
    const REMEMBERED: u32 = 256;

    /// Takes a packet as an opener does whose tags are all right.
    fn take(
        windows: &mut Windows<RtpReplayWindow>,
        ssrc: u32,
        index: u64,
    ) -> Result<(), DropReason> {
        let place = windows.find(ssrc)?;
        if !windows.admits(place, index) {
            return Err(DropReason::SrtpReplay);
        }
        windows.mark(place, ssrc, index);
        Ok(())
    }

    /// SSRCs 1 to `ssrcs`, each with the indices 100 and 110.
    fn filled(ssrcs: u32) -> Windows<RtpReplayWindow> {
        let mut windows = Windows::new();
        for ssrc in 1..=ssrcs {
            for index in [100, 110] {
                take(&mut windows, ssrc, index).unwrap();
            }
        }
        windows
    }

    #[test]
    fn a_new_ssrc_takes_the_window_longest_unused() {
        let mut windows = filled(LIVE);
        take(&mut windows, 1, 111).unwrap();
        take(&mut windows, LIVE + 1, 1).unwrap();
        assert_eq!(windows.find(1), Ok(Place::Live(0)), "it was used since");
        assert_eq!(windows.find(2), Ok(Place::Remembered(0)));
        assert_eq!(windows.len(), 33);
    }

    #[test]
    fn an_ssrc_that_comes_back_goes_on_above_its_highest_index() {
        let mut windows = filled(LIVE + 1);
        assert_eq!(windows.find(1), Ok(Place::Remembered(0)));
        for seen_or_not in [100, 105, 110] {
            let refused = take(&mut windows, 1, seen_or_not);
            assert_eq!(refused, Err(DropReason::SrtpReplay));
        }
        assert_eq!(windows.find(1), Ok(Place::Remembered(0)), "nothing of it");
        take(&mut windows, 1, 115).unwrap();
        // It has a window again, which says no to all that lies below, and yes to what was overtaken since.
        for seen_or_not in [100, 105, 110, 115] {
            let refused = take(&mut windows, 1, seen_or_not);
            assert_eq!(refused, Err(DropReason::SrtpReplay));
        }
        take(&mut windows, 1, 112).unwrap();
        assert_eq!(take(&mut windows, 1, 112), Err(DropReason::SrtpReplay));
        assert_eq!(windows.find(2), Ok(Place::Remembered(0)), "in its turn");
        // Far above, the window lies behind what was seen.
        take(&mut windows, 2, 5_000).unwrap();
        assert_eq!(take(&mut windows, 2, 110), Err(DropReason::SrtpReplay));
        take(&mut windows, 2, 4_500).unwrap();
    }

    #[test]
    fn who_cannot_be_remembered_is_refused_and_who_is_known_goes_on() {
        let mut windows = filled(LIVE + REMEMBERED);
        assert_eq!(windows.find(5_000), Err(DropReason::SsrcLimit));
        for round in 0..3 {
            for ssrc in 1..=LIVE + REMEMBERED {
                let replayed = take(&mut windows, ssrc, 110 + round);
                assert_eq!(replayed, Err(DropReason::SrtpReplay), "{ssrc}");
                take(&mut windows, ssrc, 111 + round).unwrap();
            }
            assert_eq!(windows.find(5_000), Err(DropReason::SsrcLimit));
        }
        assert_eq!(windows.ssrcs.len(), SSRCS_PER_SESSION_MAX);
        assert_eq!(windows.remembered.len(), SSRCS_REMEMBERED_MAX);
    }
}
