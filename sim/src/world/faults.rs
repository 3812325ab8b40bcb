//! What goes wrong around the peers, and what must hold when it stops.

use std::net::SocketAddr;

use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;
use rand::RngExt;

use super::{Part, PeerId, World};
use crate::check::Liveness;
use crate::network::{Conditions, Delivery, Way};
use crate::wired::Screen;

impl World {
    /// A NAT gives a peer another port: what goes to the old one is lost.
    pub fn rebind(&mut self, peer: PeerId) {
        let place = peer.0;
        let before = self.members[place].seen_at;
        let mut after = before;
        after.set_port(before.port().wrapping_add(1_000).max(1_024));
        self.members[place].seen_at = after;
        if self.at.get(&before) == Some(&place) {
            self.at.remove(&before);
        }
        self.at.insert(after, place);
        self.was_at.insert(after, place);
        let session = self.members[place].session;
        self.tap.introduce(session, after);
    }

    /// From now on `forger` sends with the source address of `victim`, whom the answers reach.
    pub fn forge(&mut self, forger: PeerId, victim: PeerId) {
        let of_victim = self.members[victim.0].seen_at;
        let before = std::mem::replace(&mut self.members[forger.0].seen_at, of_victim);
        self.at.remove(&before);
    }

    /// Cuts a peer's cable, or plugs it in again.
    pub fn plug(&mut self, peer: PeerId, plugged: bool) {
        self.members[peer.0].plugged = plugged;
    }

    /// Changes the conditions of one peer's link, one way.
    pub fn change(&mut self, peer: PeerId, way: Way, change: impl FnOnce(&mut Conditions)) {
        let link = self.members[peer.0].link;
        self.network.change(link, way, change);
    }

    /// Nothing passes a peer's link, or everything again.
    pub fn black_out(&mut self, peer: PeerId, ways: &[Way], blackout: bool) {
        for &way in ways {
            self.change(peer, way, |conditions| conditions.blackout = blackout);
        }
    }

    /// A datagram from somebody the node does not know, arriving at once.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) {
        let mut delivery = Delivery {
            from,
            to: self.node.address(0),
            bytes: bytes.to_vec(),
        };
        self.node.receive(self.now, &mut delivery);
    }

    /// A number below `end`, from the world's own dice.
    pub fn dice(&mut self, end: u64) -> u64 {
        self.rng.random_range(0..end.max(1))
    }

    /// The faults stop; three seconds later every connected viewer must see and hear again what was captured
    /// after they stopped. Peers with real handshakes are judged by their stories.
    pub fn recover(&mut self) {
        let since = self.now;
        self.network.set(Conditions::CLEAN);
        self.node.refuse_sends(0);
        self.run_ms(crate::check::RECOVERY_US_MAX / 1_000);
        let mut found = Vec::new();
        for member in &self.members {
            let (Part::Watches(_), Some(publisher)) = (member.part, member.watches) else {
                continue;
            };
            let publisher = &self.members[publisher.0];
            let here = |m: &super::Member| m.plugged && !m.gone;
            let super::Client::Wired(viewer) = &member.client else {
                continue;
            };
            let super::Client::Wired(source) = &publisher.client else {
                continue;
            };
            if !here(member) || !here(publisher) || source.is_frozen() {
                continue;
            }
            for screen in viewer.screens() {
                if screen.kind() == MediaKind::Audio && !source.has_voice() {
                    continue;
                }
                if !Liveness::judge(since, newest(screen)) {
                    found.push(format!(
                        "{:?} of session {} showed last what was captured at {:?}",
                        screen.kind(),
                        member.session,
                        newest(screen)
                    ));
                }
            }
        }
        for what in found {
            self.tap.report_mut().add(Liveness::NAME, self.now, what);
        }
        self.assert_sound();
    }
}

fn newest(screen: &Screen) -> Option<Micros> {
    screen.shown().last().map(|shown| shown.captured)
}
