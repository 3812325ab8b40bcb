//! Viewers whom the node offers a session, instead of answering their offer.

use dataplane_api::command::{Accept, Command, Setup};
use dataplane_api::ids::SessionId;
use dataplane_api::reply::Reply;

use super::{Client, Member, Part, PeerId, World};
use crate::peer::Peer;
use crate::wired::ViewerPlan;

impl World {
    /// A viewer that got an offer of what `publisher` publishes and will answer it with `setup`. It begins its
    /// checks at once, as one would whose answer is slower than they are.
    ///
    /// # Panics
    /// When the node refuses it, or in a world of peers without handshakes.
    pub fn offer(&mut self, publisher: PeerId, setup: Setup) -> PeerId {
        let (id, address) = self.next_peer();
        let session = SessionId(id);
        let room = self.members[publisher.0].room;
        let plan = ViewerPlan {
            voice: self.has_voice(publisher),
            ..ViewerPlan::default()
        };
        let (mut client, slots) = self.handshaking_viewer(plan, id, address);
        let shard = self.node.place_of_room(room.0);
        let name = u32::try_from(room.0).unwrap_or(0);
        self.tap.admit(session, name, shard, None, &slots);
        let admitted = self.order_admit(session, room, None, slots);
        handshaking(&mut client).answer(&admitted, &self.node.fingerprint(), setup);
        let part = Part::Watches(plan);
        let viewer = self.add_answered(client, address, session, room, part);
        self.switch(viewer, publisher);
        viewer
    }

    /// The answer of a viewer that was offered a session reaches the node.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn accept(&mut self, viewer: PeerId, setup: Setup) {
        let Member {
            client, session, ..
        } = &mut self.members[viewer.0];
        let order = Accept {
            session: *session,
            remote: handshaking(client).remote_transport(setup),
            tag: None,
            codecs: Vec::new(),
            extensions: None,
        };
        let reply = self.node.order(self.now, Command::Accept(order));
        assert!(matches!(reply, Reply::Admitted(_)), "{reply:?}");
    }
}

fn handshaking(client: &mut Client) -> &mut Peer {
    match client {
        Client::Handshaking(peer) => peer,
        Client::Wired(_) => panic!("a peer with a real handshake"),
    }
}
