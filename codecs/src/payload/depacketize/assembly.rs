//! The buffer in which a frame is gathered, behind one that may still be polled.

/// Why a frame is not yielded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::payload) enum Flaw {
    Incomplete,
    Malformed,
    TooLong,
}

/// What a payload says about being the first of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::payload) enum Beginning {
    /// It is the first, whatever came before it.
    Always,
    /// It may stand inside a frame, but after a loss a frame can be taken to begin with it: all that could
    /// come before it is something no decoder needs.
    AfterLoss,
    /// It is the first only when it follows on the last packet of a frame.
    InOrder,
    /// It goes on with something.
    Never,
}

/// One bounded buffer. Positions count from the beginning of the frame being gathered.
#[derive(Debug)]
pub(in crate::payload) struct Assembly {
    bytes: Vec<u8>,
    bytes_max: usize,
    begin: usize,
    pub(in crate::payload) keyframe: bool,
}

impl Assembly {
    pub(super) fn new(bytes_max: usize) -> Assembly {
        Assembly {
            bytes: Vec::new(),
            bytes_max,
            begin: 0,
            keyframe: false,
        }
    }

    pub(super) fn begin(&mut self) {
        self.begin = self.bytes.len();
        self.keyframe = false;
    }

    /// Ends the frame where it is, returns where it stands.
    pub(super) fn end(&mut self) -> (usize, usize) {
        let begin = self.begin;
        self.begin = self.bytes.len();
        (begin, self.bytes.len())
    }

    pub(super) fn discard(&mut self) {
        self.bytes.truncate(self.begin);
    }

    /// Frees what stands before the frame being gathered.
    pub(super) fn forget_before(&mut self) {
        if self.begin > 0 {
            self.bytes.drain(..self.begin.min(self.bytes.len()));
            self.begin = 0;
        }
    }

    pub(super) fn slice(&self, begin: usize, end: usize) -> &[u8] {
        self.bytes.get(begin..end).unwrap_or_default()
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(in crate::payload) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.begin)
    }

    pub(in crate::payload) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame so far.
    pub(in crate::payload) fn frame(&self) -> &[u8] {
        self.bytes.get(self.begin..).unwrap_or_default()
    }

    pub(in crate::payload) fn frame_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.begin..).unwrap_or_default()
    }

    pub(in crate::payload) fn extend(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        let len = self.bytes.len().saturating_add(piece.len());
        if len > self.bytes_max {
            return Err(Flaw::TooLong);
        }
        if len > self.bytes.capacity() {
            // Doubling keeps the copies few; the limit cuts the last doubling short.
            let capacity = self.bytes.capacity().saturating_mul(2);
            let capacity = capacity.max(len).min(self.bytes_max);
            let more = capacity.saturating_sub(self.bytes.len());
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Keeps the first `len` octets of the frame.
    pub(in crate::payload) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.begin.saturating_add(len));
    }

    /// Moves everything from `from` on to `to`, and makes the frame longer or shorter by the difference. What
    /// stands between them afterwards is for the caller to write.
    pub(in crate::payload) fn shift(&mut self, from: usize, to: usize) -> Result<(), Flaw> {
        let end = self.len();
        if let Some(more) = to.checked_sub(from) {
            for _ in 0..more {
                self.extend(&[0])?;
            }
        }
        let to_end = to.saturating_add(end.saturating_sub(from));
        if from <= end && to_end <= self.len() {
            self.frame_mut().copy_within(from..end, to);
        }
        self.truncate(to_end);
        Ok(())
    }
}
