//! A connection on its way into a room.

use dataplane_api::ids::{RoomId, SessionId};

use super::registry::Registry;
use super::room::{Input, Refusal};
use crate::node::Pending;

/// A connection that its room has taken and whose client has no answer yet. Dropped before
/// [`Admission::keep`], whether by an error or because the client went away in the middle, it leaves
/// nothing behind, here and in the data plane.
#[derive(Debug)]
pub struct Admission {
    registry: Registry,
    room: String,
    room_id: RoomId,
    session: SessionId,
    kept: bool,
}

impl Admission {
    pub(super) fn new(
        registry: Registry,
        room: String,
        room_id: RoomId,
        session: SessionId,
    ) -> Admission {
        Admission {
            registry,
            room,
            room_id,
            session,
            kept: false,
        }
    }

    /// The room's handle, for `Admit`.
    #[must_use]
    pub fn room_id(&self) -> RoomId {
        self.room_id
    }

    /// The data plane has admitted the session and its part of the orders is due: `Published` or
    /// `Admitted`. The orders of its own are returned, to be awaited.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when the session was closed meanwhile.
    pub fn proceed(&self, input: Input) -> Result<Vec<Pending>, Refusal> {
        self.registry.proceed(&self.room, self.session, input)
    }

    /// The client has its answer: the connection stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.kept {
            self.registry.abandon(self.session);
        }
    }
}
