//! A published track: its encodings, who watches it, and what its streams look like on arrival.

mod arrivals;
mod keyframe;
mod receiver;
mod stream;
mod track;

pub(crate) use receiver::{Bound, Receiver};
pub(crate) use stream::SenderClock;
pub(crate) use track::{Subscriber, Track};
