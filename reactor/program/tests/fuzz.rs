//! The fuzz targets hold on their corpora and on thousands of inputs made of them, without a fuzzer.

#[path = "../../fuzz/mutation.rs"]
mod mutation;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn option_values() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/option_values");
    mutation::replay(&corpus, 30_000, targets::option_values);
}
