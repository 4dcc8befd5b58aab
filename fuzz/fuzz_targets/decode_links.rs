//! Whatever bytes are accepted as a table of linked inodes are what the encoder writes for it.

#![no_main]

use cairnfs::format::{LinkNumber, LinkTable, encode_links, links_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = LinkTable::decode(bytes.to_vec()) else { return };
    let slots: Vec<_> = table.iter().collect();
    assert_eq!(encode_links(&slots).expect("what was decoded can be encoded"), bytes);
    assert_eq!(table.get(LinkNumber(table.len())), None);
    links_json(&table);
});
