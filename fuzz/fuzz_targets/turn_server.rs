#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sinnet_fuzz_bodies::turn_server(data));
