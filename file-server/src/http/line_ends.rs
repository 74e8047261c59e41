//! Ends of lines: a line feed without a carriage return before it is none.

/// Whether a head, which has at least 18 bytes, has such a line feed.
///
/// It is looked for in blocks of one size, of which the last overlaps the one before: a block takes a few instructions.
#[inline]
pub(super) fn has_bare_line_feed(head: &[u8]) -> bool {
    let is_bare = |&[before, byte]: &[u8; 2]| (byte == b'\n') & (before != b'\r');
    let in_block = |block: &[u8; BLOCK + 1]| {
        let (before, after) = (&block[..BLOCK], &block[1..]);
        before.iter().zip(after).fold(false, |found, (&before, &byte)| found | is_bare(&[before, byte]))
    };
    let mut blocks = (0..head.len()).step_by(BLOCK).map_while(|start| head[start..].first_chunk());
    let last = head.last_chunk();
    head[0] == b'\n' || last.is_none_or(in_block) || blocks.any(in_block)
}

/// How many bytes are looked at together.
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_line_feed_is_found_wherever_it_is() {
        for length in 18..80 {
            for place in 0..length {
                let mut head = vec![b'a'; length];
                head[place] = b'\n';
                assert!(has_bare_line_feed(&head), "{place} of {length}");
                if let Some(before) = place.checked_sub(1) {
                    head[before] = b'\r';
                    assert!(!has_bare_line_feed(&head), "{place} of {length}");
                }
            }
        }
    }
}
