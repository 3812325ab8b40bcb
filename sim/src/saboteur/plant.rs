//! The bugs that can be planted, each with the checker that has to notice it.

use crate::check::{
    Bounds, Conservation, Continuity, KeyframeLimiter, Lengths, Liveness, Once, OneSeal, Payloads,
    Pictures, Repairs, Speech, Strangers, Subscriptions, SwitchPoints, Times,
};

macro_rules! plants {
    ($($(#[$doc:meta])* $name:ident => $checker:ident, $what:literal;)+) => {
        /// A bug to plant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Plant {
            $($(#[$doc])* $name,)+
        }

        impl Plant {
            /// Every bug.
            pub const ALL: &'static [Plant] = &[$(Plant::$name,)+];

            /// The checker that has to notice it.
            #[must_use]
            pub fn checker(self) -> &'static str {
                match self {
                    $(Plant::$name => $checker::NAME,)+
                }
            }

            /// What the bug does.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self {
                    $(Plant::$name => $what,)+
                }
            }
        }
    };
}

plants! {
    /// See [`Conservation`].
    LosesReceived => Conservation, "a datagram is taken in and neither accepted nor dropped";
    /// See [`Conservation`].
    LosesSelected => Conservation, "a packet is selected for a slot and neither sealed nor dropped";
    /// See [`Conservation`].
    SwallowsControl => Conservation, "a report is counted as sent and never leaves";
    /// See [`OneSeal`].
    SealsTwice => OneSeal, "an index is sealed again with another header extension";
    /// See [`Continuity`].
    LeavesHole => Continuity, "a slot skips a sequence number";
    /// See [`Pictures`].
    JumpsPictures => Pictures, "the picture ids of a slot jump";
    /// See [`Times`].
    RunsBackwards => Times, "one packet's timestamp is a second early";
    /// See [`Once`].
    ForwardsTwice => Once, "a packet is forwarded again in the place of the next";
    /// See [`SwitchPoints`].
    SwitchesAnywhere => SwitchPoints, "a slot begins with what is no keyframe";
    /// See [`Subscriptions`].
    LeaksRoom => Subscriptions, "a packet of another room is forwarded";
    /// See [`Payloads`].
    ForwardsDamage => Payloads, "a damaged payload is sealed and sent";
    /// See [`Repairs`].
    RepairsWrongly => Repairs, "a retransmission carries another packet than it names";
    /// See [`Lengths`].
    PadsTooMuch => Lengths, "a packet is padded by 90 bytes";
    /// See [`Strangers`].
    AnswersStranger => Strangers, "a datagram goes to an address nobody sent from";
    /// See [`Speech`].
    DelaysSpeech => Speech, "audio is sent behind the video of its turn";
    /// See [`KeyframeLimiter`].
    AsksTwice => KeyframeLimiter, "a publisher is asked twice for one keyframe";
    /// See [`Bounds`].
    LeaksSession => Bounds, "a session that ended is still held";
    /// See [`Liveness`].
    GoesSilent => Liveness, "nothing more is sent to one viewer, and all counts look right";
}
