#![no_main]

#[allow(dead_code, reason = "each fuzz target is one of these")]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::path(bytes));
