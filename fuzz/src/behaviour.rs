//! What a target saw while it ran: the runner's substitute for coverage.
//!
//! A target notes outcomes (an error, a kind, the size class of a result), not values: a value that never
//! repeats would make every input look new.

use std::cell::RefCell;
use std::fmt::Debug;

/// Most notes of one execution; what comes after is nothing new.
const NOTES_MAX: usize = 256;

thread_local! {
    static NOTES: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// One thing seen, as a number that is equal when the thing is.
pub type Note = u32;

/// Notes that `what` had `value`.
pub fn note(what: &str, value: u64) {
    let hash = fnv(fnv(OFFSET, what.as_bytes()), &value.to_le_bytes());
    // Folding keeps more of the hash than cutting.
    let note = (hash ^ hash >> 32) & u64::from(u32::MAX);
    let note = u32::try_from(note).expect("invariant: 32 bits");
    NOTES.with_borrow_mut(|notes| {
        if notes.len() < NOTES_MAX && !notes.contains(&note) {
            notes.push(note);
        }
    });
}

/// Notes the name of an outcome: the variant of an error, without what it carries.
pub fn outcome(what: &str, outcome: &impl Debug) {
    let text = format!("{outcome:?}");
    let name = text.split(['(', ' ', '{']).next().unwrap_or_default();
    note(what, fnv(OFFSET, name.as_bytes()));
}

/// Notes a size by its power of two.
pub fn size(what: &str, size: usize) {
    note(what, u64::from(usize::BITS - size.leading_zeros()));
}

/// Forgets what was noted on this thread.
pub fn begin() {
    NOTES.with_borrow_mut(Vec::clear);
}

/// What was noted on this thread since [`begin`].
#[must_use]
pub fn notes() -> Vec<Note> {
    NOTES.with_borrow(Clone::clone)
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, which is the same in every build.
pub(crate) fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// [`fnv`] from its beginning.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    fnv(OFFSET, bytes)
}
