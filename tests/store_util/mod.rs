//! Small stores and manifests for tests.
#![allow(dead_code, reason = "each test program uses a part")]

use cairnfs::format::{
    Content, Digest, Entry, LinkedInode, Manifest, ManifestKind, Meta, NameBuf, Node, RefName, RootMeta, Subtree,
    Totals, encode_links, encode_tree,
};
use cairnfs::store::{Store, Writer};
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A store in a folder that goes away with the value.
pub fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::init(&folder.path().join("store")).unwrap();
    (folder, store)
}

pub fn name(text: &str) -> RefName {
    text.parse().unwrap()
}

/// Puts a tree of files with these contents, named `0`, `1`, ...
pub fn put_tree(writer: &Writer, contents: &[&[u8]], inside: Option<Subtree>) -> Subtree {
    let mut entries: Vec<(NameBuf, Entry)> = Vec::new();
    for (index, content) in contents.iter().enumerate() {
        let put = writer.put_bytes(content).unwrap();
        let leaf = Node::Leaf(Content::File { digest: put.digest, size: put.size });
        entries.push((NameBuf::new(format!("{index:04}").into_bytes()).unwrap(), Entry::Inode(Meta::default(), leaf)));
    }
    if let Some(inside) = inside {
        entries.push((NameBuf::new(*b"sub").unwrap(), Entry::Inode(Meta::default(), Node::Dir(inside))));
    }
    let tree = encode_tree(&entries).unwrap();
    assert_eq!(writer.put_bytes(&tree.bytes).unwrap().digest, tree.subtree.tree);
    tree.subtree
}

pub fn manifest(root: Subtree, label: &str, parent: Option<Digest>, links: Option<Digest>) -> Manifest {
    Manifest {
        name: name("test"),
        created_at: "2024-01-02T03:04:05Z".to_owned(),
        parent,
        kind: ManifestKind::Rootfs,
        labels: BTreeMap::from([("label".to_owned(), label.to_owned())]),
        root: RootMeta { subtree: root, meta: Meta::default() },
        links,
        totals: Totals { entries: root.entries, files: 0, bytes: root.bytes },
    }
}

/// Puts a manifest with a file per content in the root, and one in a folder and one in the table of linked inodes, both named by `label`.
pub fn put_manifest(writer: &Writer, label: &str, contents: &[&[u8]]) -> Digest {
    put_child(writer, label, contents, None)
}

pub fn put_child(writer: &Writer, label: &str, contents: &[&[u8]], parent: Option<Digest>) -> Digest {
    let inside = put_tree(writer, &[format!("inside {label}").as_bytes()], None);
    let root = put_tree(writer, contents, Some(inside));
    let linked = writer.put_bytes(format!("linked {label}").as_bytes()).unwrap();
    let content = Content::File { digest: linked.digest, size: linked.size };
    let table = encode_links(&[Some(LinkedInode { meta: Meta::default(), nlink: 2, content })]).unwrap();
    let links = writer.put_bytes(&table).unwrap().digest;
    writer.put_manifest(&manifest(root, label, parent, Some(links))).unwrap()
}

/// Reads and verifies everything that a manifest reaches; the number of objects.
pub fn verify(store: &Store, manifest: Digest) -> usize {
    let all = store.closure(manifest).unwrap();
    for digest in &all {
        store.verify_object(*digest).unwrap();
    }
    all.len()
}

/// Names all objects.
pub fn objects(store: &Store) -> Vec<Digest> {
    let mut all = Vec::new();
    store
        .list_objects(&mut |listed| {
            if let cairnfs::store::Listed::Object(digest) = listed {
                all.push(digest);
            }
        })
        .unwrap();
    all
}
