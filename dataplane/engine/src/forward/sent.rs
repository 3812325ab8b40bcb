//! What each run of the last flush carried: an edge reports a run that did not leave before the next flush,
//! and its packets then count as never sent (contracts.md 14).

use crate::outbox::RunId;
use crate::table::Key;

/// One packet of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentPacket {
    /// Position in the session's slots.
    pub(crate) slot: u16,
    /// The 48-bit SRTP index.
    pub(crate) index: u64,
    pub(crate) payload_len: usize,
}

/// What a run carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Packets of slots, for the first time.
    Media,
    /// One packet again.
    Again {
        /// On a retransmission stream.
        rtx: bool,
        /// What it cost its session's budget, in bytes.
        cost: u64,
    },
}

/// One run of the last flush.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentRun {
    run: RunId,
    pub(crate) session: Key,
    pub(crate) load: Load,
    /// One past its last packet.
    end: usize,
}

/// The runs of one flush but for those of control. Keeps its capacity, so that a shard in its stride does not allocate.
#[derive(Debug, Default)]
pub(crate) struct SentRuns {
    runs: Vec<SentRun>,
    packets: Vec<SentPacket>,
}

impl SentRuns {
    /// A new flush begins: whatever failed of the last one was reported.
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.packets.clear();
    }

    /// A packet of the run that is being filled.
    pub(crate) fn push(&mut self, packet: SentPacket) {
        self.packets.push(packet);
    }

    /// The run with the packets pushed since the last one.
    pub(crate) fn commit(&mut self, run: RunId, session: Key, load: Load) {
        self.runs.push(SentRun {
            run,
            session,
            load,
            end: self.packets.len(),
        });
    }

    /// A run and its last `packets` packets; `None` for one that carried none of a slot.
    pub(crate) fn tail(&self, run: RunId, packets: usize) -> Option<(SentRun, &[SentPacket])> {
        let at = self.runs.binary_search_by_key(&run, |sent| sent.run).ok()?;
        let sent = self.runs.get(at)?;
        let start = match at.checked_sub(1) {
            Some(before) => self.runs.get(before)?.end,
            None => 0,
        };
        let start = sent.end.saturating_sub(packets).max(start);
        Some((*sent, self.packets.get(start..sent.end)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn a_run_is_found_with_its_last_packets_and_no_others() {
        let mut sent = SentRuns::default();
        let session = Table::default().insert(());
        let mut index = 0;
        for (run, packets) in [(3, 2), (7, 3)] {
            for _ in 0..packets {
                index += 1;
                sent.push(SentPacket {
                    slot: 0,
                    index,
                    payload_len: 1,
                });
            }
            sent.commit(RunId(run), session, Load::Media);
        }
        let tail = |run, packets| {
            let (_, packets) = sent.tail(RunId(run), packets)?;
            Some(packets.iter().map(|p| p.index).collect::<Vec<_>>())
        };
        assert_eq!(tail(3, 1), Some(vec![2]));
        assert_eq!(tail(7, 2), Some(vec![4, 5]));
        assert_eq!(tail(7, 9), Some(vec![3, 4, 5]), "never another run's");
        assert_eq!(tail(5, 1), None, "no media");
    }
}
