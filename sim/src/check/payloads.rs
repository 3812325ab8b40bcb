//! What reaches a viewer is what a publisher sent.

/// Every packet opens with its session's keys and holds a whole stamp: damage on the way in must have been
/// dropped there.
#[derive(Clone, Copy, Debug)]
pub struct Payloads;

impl Payloads {
    /// Its name.
    pub const NAME: &'static str = "Payloads";
}
