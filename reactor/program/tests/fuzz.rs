//! The fuzz targets hold on their corpora and on thousands of inputs made of them, without a fuzzer.

#[path = "../../fuzz/mutation.rs"]
mod mutation;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

#[test]
fn option_values() {
    mutation::replay(&corpus("option_values"), 30_000, targets::option_values);
}

#[test]
fn proxy_header() {
    mutation::replay(&corpus("proxy_header"), 30_000, targets::proxy_header);
}
