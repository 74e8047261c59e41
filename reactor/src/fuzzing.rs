//! What fuzz targets ask of readers of what the kernel writes, which are no part of the library's face.

use crate::sources::file_event;
use crate::sys::ancillary;

#[cfg(test)]
#[path = "../fuzz/mutation.rs"]
mod mutation;

/// Control messages beside a datagram are read within the bytes that there are, whatever these are.
pub fn control_messages(bytes: &[u8]) {
    ancillary::check(bytes);
}

/// So are events of files.
pub fn file_events(bytes: &[u8]) {
    file_event::check(bytes);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::mutation;

    /// Few under Miri, which takes a thousand times as long.
    fn replay(target: &str, run: impl Fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        mutation::replay(&corpus, if cfg!(miri) { 10 } else { 50_000 }, run);
    }

    #[test]
    fn control_messages() {
        replay("control_messages", super::control_messages);
    }

    #[test]
    fn file_events() {
        replay("file_events", super::file_events);
    }
}
