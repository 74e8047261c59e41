//! Where bytes stand in a slice.

use std::io::BufRead;

/// The place of the first `wanted`.
pub(crate) fn find_byte(bytes: &[u8], wanted: u8) -> Option<usize> {
    let mut rest = bytes;
    // On a slice this is the C library's memchr(3), many bytes at a time, where `Iterator::position` looks at each.
    let passed = rest.skip_until(wanted).expect("reading memory does not fail");
    (passed > 0 && bytes[passed - 1] == wanted).then(|| passed - 1)
}

/// The place of the first `wanted`, which is not empty, that begins at `from` or later.
pub(crate) fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(passed) = find_byte(bytes.get(at..)?, wanted[0]) {
        at += passed;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_byte_is_found_where_it_first_stands(bytes in prop::collection::vec(0..4_u8, 0..80), wanted in 0..4_u8) {
            prop_assert_eq!(find_byte(&bytes, wanted), bytes.iter().position(|&byte| byte == wanted));
        }

        #[test]
        fn a_sequence_is_found_where_it_first_stands(
            bytes in prop::collection::vec(0..2_u8, 0..40),
            wanted in prop::collection::vec(0..2_u8, 1..4),
            from in 0..50_usize,
        ) {
            let begins = |&at: &usize| bytes.get(at..).is_some_and(|rest| rest.starts_with(&wanted));
            prop_assert_eq!(find(&bytes, &wanted, from), (from..bytes.len()).find(begins));
        }
    }
}
