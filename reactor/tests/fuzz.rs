//! The fuzz targets hold on their corpora and on thousands of inputs made of them, without a fuzzer.

#[path = "../fuzz/mutation.rs"]
mod mutation;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// Few under Miri, which takes a thousand times as long.
fn replay(target: &str, count: u64, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    mutation::replay(&corpus, if cfg!(miri) { 10 } else { count }, run);
}

#[test]
fn addresses() {
    replay("address", 50_000, targets::address);
}

#[test]
fn hosts() {
    replay("host", 20_000, targets::host);
}

#[test]
fn a_stream_in_pieces() {
    replay("splits", 5_000, targets::splits);
}
