//! A published track: its encodings, who watches it, and what its streams look like on arrival.

mod arrivals;
mod clock;
mod keyframe;
mod nack;
mod policer;
mod receiver;
mod stream;
mod track;

pub(crate) use clock::{SenderClock, middle_32, ntp_of_us, ticks_between};
pub(crate) use keyframe::{KeyframeRate, WishLimit};
pub use nack::{GiveUp, NackStats};
pub(crate) use nack::{RoundTrip, Way};
pub(crate) use policer::Policer;
pub(crate) use receiver::{Bound, Media, Receiver};
pub(crate) use stream::{Late, Packet, Stream};
pub(crate) use track::{Subscriber, Track};
