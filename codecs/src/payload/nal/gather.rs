//! NAL units gathered into an access unit.

use super::{NalForm, PREFIX_LEN, START_CODE};
use crate::bytes::put;
use crate::payload::depacketize::{Assembly, Flaw};

/// Where the unit begins whose fragments are coming in, if any.
#[derive(Clone, Copy, Debug)]
pub(in crate::payload) struct Gather {
    form: NalForm,
    open_at: Option<usize>,
}

impl Gather {
    pub(in crate::payload) fn new(form: NalForm) -> Gather {
        Gather {
            form,
            open_at: None,
        }
    }

    /// Appends a whole unit.
    pub(in crate::payload) fn unit(
        &mut self,
        frame: &mut Assembly,
        unit: &[u8],
    ) -> Result<(), Flaw> {
        self.open(frame, unit)?;
        self.close(frame)
    }

    /// Appends a fragment. `header` is the unit's own header, which stands before its first fragment.
    pub(in crate::payload) fn fragment(
        &mut self,
        frame: &mut Assembly,
        header: &[u8],
        fragment: &[u8],
        (start, end): (bool, bool),
    ) -> Result<(), Flaw> {
        if start {
            self.open(frame, header)?;
        }
        if self.open_at.is_none() {
            return Err(Flaw::Malformed);
        }
        frame.extend(fragment)?;
        if end { self.close(frame) } else { Ok(()) }
    }

    fn open(&mut self, frame: &mut Assembly, bytes: &[u8]) -> Result<(), Flaw> {
        if self.open_at.is_some() {
            // The last fragment of the unit before this one never came.
            return Err(Flaw::Malformed);
        }
        self.open_at = Some(frame.len());
        frame.extend(&START_CODE)?;
        frame.extend(bytes)
    }

    fn close(&mut self, frame: &mut Assembly) -> Result<(), Flaw> {
        let at = self.open_at.take().ok_or(Flaw::Malformed)?;
        if self.form == NalForm::LengthPrefixed {
            let len = frame.len().saturating_sub(at).saturating_sub(PREFIX_LEN);
            let len = u32::try_from(len).map_err(|_| Flaw::TooLong)?;
            put(frame.frame_mut(), at, &len.to_be_bytes()).map_err(|_| Flaw::TooLong)?;
        }
        Ok(())
    }

    pub(in crate::payload) fn finish(self) -> Result<(), Flaw> {
        match self.open_at {
            None => Ok(()),
            Some(_) => Err(Flaw::Incomplete),
        }
    }
}
