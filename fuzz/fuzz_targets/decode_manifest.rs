//! Whatever bytes are accepted as a manifest are what the encoder writes for it.

#![no_main]

use cairnfs::format::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert_eq!(manifest.encode(), bytes);
    manifest.check().expect("what was decoded passes the check");
});
