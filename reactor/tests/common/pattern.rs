//! A stream of bytes in which every loss, doubling and swap shows.

use std::sync::LazyLock;

/// One period of the stream. Its length is prime, so no buffer size divides it.
static PERIOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x2545_f491_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..65_521).map(|_| byte()).collect()
});

/// Fills `into` with the bytes of the stream from `offset` on.
pub(crate) fn fill_pattern(offset: usize, into: &mut [u8]) {
    let mut filled = 0;
    while filled < into.len() {
        let from = &PERIOD[(offset + filled) % PERIOD.len()..];
        let count = from.len().min(into.len() - filled);
        into[filled..filled + count].copy_from_slice(&from[..count]);
        filled += count;
    }
}

/// `length` bytes of the stream from `offset` on.
pub(crate) fn pattern(offset: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill_pattern(offset, &mut bytes);
    bytes
}

/// Fails, naming the place, unless these are the bytes of the stream from `offset` on.
#[track_caller]
pub(crate) fn assert_pattern(offset: usize, bytes: &[u8]) {
    let expected = pattern(offset, bytes.len());
    if bytes != expected {
        let place = bytes.iter().zip(&expected).position(|(is, should)| is != should);
        panic!("the stream differs at byte {}", offset + place.unwrap_or(0));
    }
}
