//! Whatever bytes are accepted as a tree are what the encoder writes for it, and all lookups answer.

#![no_main]

use cairnfs::format::{Tree, encode_tree, tree_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tree) = Tree::decode(bytes.to_vec()) else { return };
    let entries: Vec<_> = tree.iter().map(|(name, entry)| (name.to_buf(), entry)).collect();
    let encoded = encode_tree(&entries).expect("what was decoded can be encoded");
    assert_eq!(encoded.bytes, bytes);
    assert_eq!(tree.subtree(encoded.subtree.tree), encoded.subtree);
    let mut end = 1;
    for index in 0..tree.len() {
        let offset = tree.offset(index);
        assert_eq!(offset, end);
        end = if index + 1 < tree.len() { tree.offset(index + 1) } else { encoded.subtree.entries + 1 };
        assert_eq!(tree.find(tree.name(index)), Some(index));
        assert_eq!(tree.find_offset(offset), Some(index));
        assert_eq!(tree.find_offset(end - 1), Some(index));
    }
    assert_eq!(tree.find_offset(end), None);
    tree_json(&tree);
});
