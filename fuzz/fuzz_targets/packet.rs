//! Any packet: `cargo +nightly fuzz run packet`.
#![no_main]

#[path = "../../tests/suite/any_packet.rs"]
mod any_packet;

libfuzzer_sys::fuzz_target!(|packet: &[u8]| any_packet::goes_through(packet));
