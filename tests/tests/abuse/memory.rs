//! What a piece of a story costs in memory: live bytes and peak of this thread's heap.

/// What an attack left behind and what it needed meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Bytes that are still held at its end; negative when it freed more than it took.
    pub(crate) kept: i64,
    /// The most bytes that were held at once.
    pub(crate) peak: u64,
}

/// Runs `attack`. Only this thread is counted, so tests beside it do not disturb; the crypto library's own
/// heap (C) is not.
pub(crate) fn cost(attack: impl FnOnce()) -> Cost {
    let info = allocation_counter::measure(attack);
    Cost {
        kept: info.bytes_current,
        peak: info.bytes_max,
    }
}

/// How often this thread allocated within `work`.
pub(crate) fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

/// Runs `attack`, prints what it kept a packet, and asserts that this is below one bit: what it takes may be
/// the growth of a buffer that keeps its capacity, never something for each packet.
pub(crate) fn assert_nothing_kept(what: &str, packets: u64, attack: impl FnOnce()) {
    let Cost { kept, peak } = cost(attack);
    let hundredths = kept * 100 / i64::try_from(packets).unwrap();
    let (sign, hundredths) = (if hundredths < 0 { "-" } else { "" }, hundredths.abs());
    eprintln!(
        "{what}: {packets} packets, {kept} bytes kept, {sign}{}.{:02} a packet, peak {peak}",
        hundredths / 100,
        hundredths % 100,
    );
    assert!(
        kept * 8 < i64::try_from(packets).unwrap(),
        "{what} keeps {kept} bytes of {packets} packets"
    );
}

#[test]
fn what_is_kept_is_counted() {
    let mut kept = Vec::new();
    let cost = cost(|| {
        kept.push(vec![0u8; 10_000]);
        drop(vec![0u8; 90_000]);
    });
    assert!((10_000..11_000).contains(&cost.kept), "{cost:?}");
    assert!((100_000..101_000).contains(&cost.peak), "{cost:?}");
}
