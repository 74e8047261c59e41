//! The fuzz targets hold on their corpora and on thousands of inputs made of them, without a fuzzer.

#[path = "../../reactor/fuzz/mutation.rs"]
mod mutation;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

#[test]
fn request() {
    mutation::replay(&corpus("request"), 20_000, targets::request);
}

#[test]
fn path() {
    mutation::replay(&corpus("path"), 30_000, targets::path);
}

#[test]
fn chunked() {
    mutation::replay(&corpus("chunked"), 20_000, targets::chunked);
}

#[test]
fn field_values() {
    mutation::replay(&corpus("field_values"), 20_000, targets::field_values);
}

#[test]
fn listing() {
    mutation::replay(&corpus("listing"), 2_000, targets::listing);
}
