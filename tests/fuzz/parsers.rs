//! The parsers under libFuzzer.
#![no_main]

mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::run(data));
