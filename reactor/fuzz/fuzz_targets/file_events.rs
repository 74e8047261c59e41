#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reactor::fuzzing::file_events(bytes));
