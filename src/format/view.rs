//! Trees and link tables as JSON, for people and scripts to read. Nothing reads it back.
//!
//! Bytes that are UTF-8 are shown as they are. Others are shown escaped (`%` and two digits for each byte that isn't visible ASCII), with
//! the exact bytes in a field `..._hex` beside them; where there is no such field, the text is exact.

use super::text::{escape, hex};
use super::{Content, Entry, LinkTable, LinkedInode, Meta, Mode, Node, Subtree, Tree, Xattrs};
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

/// A tree object: its sums, and its entries in order.
pub fn tree_json(tree: &Tree) -> Value {
    let entry = |(index, (name, entry)): (usize, (super::Name<'_>, Entry))| {
        let mut object = Object::new();
        put_bytes(&mut object, "name", name.as_bytes());
        put_entry(&mut object, &entry);
        object.insert("offset".to_owned(), tree.offset(index).into());
        Value::Object(object)
    };
    let (entries, bytes, dirs, subdirs) = tree.sums();
    let listed: Vec<Value> = tree.iter().enumerate().map(entry).collect();
    let beneath = json!({"entries": entries, "bytes": bytes, "dirs": dirs});
    json!({"type": "tree", "version": Tree::VERSION, "beneath": beneath, "subdirs": subdirs, "entries": listed})
}

/// A table of linked inodes: its slots in order, `null` for a free one.
pub fn links_json(table: &LinkTable) -> Value {
    let slots: Vec<Value> = table.iter().map(|slot| slot.map_or(Value::Null, |inode| linked_json(&inode))).collect();
    json!({"type": "links", "version": LinkTable::VERSION, "slots": slots})
}

fn linked_json(inode: &LinkedInode) -> Value {
    let LinkedInode { meta, nlink, content } = inode;
    let mut object = Object::new();
    object.insert("kind".to_owned(), content.kind().as_str().into());
    object.insert("nlink".to_owned(), (*nlink).into());
    put_meta(&mut object, meta);
    put_content(&mut object, content);
    Value::Object(object)
}

fn put_entry(object: &mut Object, entry: &Entry) {
    match entry {
        Entry::Linked(number) => {
            object.insert("kind".to_owned(), "linked".into());
            object.insert("link".to_owned(), number.0.into());
        }
        Entry::Inode(meta, node) => {
            object.insert("kind".to_owned(), node.kind().as_str().into());
            put_meta(object, meta);
            match node {
                Node::Leaf(content) => put_content(object, content),
                Node::Dir(Subtree { tree, entries, bytes, dirs, subdirs }) => {
                    object.insert("tree".to_owned(), tree.to_string().into());
                    object.insert("beneath".to_owned(), json!({"entries": entries, "bytes": bytes, "dirs": dirs}));
                    object.insert("subdirs".to_owned(), (*subdirs).into());
                }
            }
        }
    }
}

fn put_meta(object: &mut Object, meta: &Meta) {
    let Meta { mode, uid, gid, mtime, xattrs } = meta;
    object.insert("mode".to_owned(), mode_text(*mode).into());
    object.insert("uid".to_owned(), (*uid).into());
    object.insert("gid".to_owned(), (*gid).into());
    object.insert("mtime".to_owned(), json!({"secs": mtime.secs(), "nanos": mtime.nanos()}));
    if !xattrs.is_empty() {
        object.insert("xattrs".to_owned(), xattrs_json(xattrs));
    }
}

fn put_content(object: &mut Object, content: &Content) {
    match content {
        Content::File { digest, size } => {
            object.insert("digest".to_owned(), digest.to_string().into());
            object.insert("size".to_owned(), (*size).into());
        }
        Content::Symlink(target) => put_bytes(object, "target", target),
        Content::Char(device) | Content::Block(device) => {
            object.insert("rdev".to_owned(), json!({"major": device.major, "minor": device.minor}));
        }
        Content::Fifo | Content::Socket => {}
    }
}

fn put_bytes(object: &mut Object, field: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            object.insert(field.to_owned(), text.into());
        }
        Err(_) => {
            object.insert(field.to_owned(), escape(bytes).into());
            object.insert(format!("{field}_hex"), hex(bytes).into());
        }
    }
}

/// Escaped names, values in hexadecimal, as in manifests.
fn xattrs_json(xattrs: &Xattrs) -> Value {
    xattrs.as_slice().iter().map(|(name, value)| (escape(name), Value::from(hex(value)))).collect::<Object>().into()
}

/// Four octal digits, as in manifests.
pub(super) fn mode_text(mode: Mode) -> String {
    format!("{:04o}", mode.bits())
}

#[cfg(test)]
mod tests {
    use super::super::{Digest, LinkNumber, NameBuf, Timestamp, encode_links, encode_tree};
    use super::*;

    #[test]
    fn a_tree_shows_every_field() {
        let xattrs = Xattrs::new(vec![(b"user.a"[..].into(), b"\x01"[..].into())]).unwrap();
        let mtime = Timestamp::new(-3, 4).unwrap();
        let meta = Meta { mode: Mode::from_bits(0o4755), uid: 1, gid: 2, mtime, xattrs };
        let digest = Digest::of(b"x");
        let entries = [
            ("é".as_bytes(), Entry::Inode(meta, Node::Leaf(Content::File { digest, size: 7 }))),
            (b"\xff%", Entry::Linked(LinkNumber(3))),
        ];
        let entries = entries.map(|(name, entry)| (NameBuf::new(name).unwrap(), entry));
        let tree = Tree::decode(encode_tree(&entries).unwrap().bytes).unwrap();
        let expected = json!({
            "type": "tree", "version": 1, "beneath": {"entries": 2, "bytes": 7, "dirs": 0}, "subdirs": 0,
            "entries": [
                {"name": "é", "kind": "file", "mode": "4755", "uid": 1, "gid": 2, "mtime": {"secs": -3, "nanos": 4},
                 "xattrs": {"user.a": "01"}, "digest": digest.to_string(), "size": 7, "offset": 1},
                {"name": "%ff%25", "name_hex": "ff25", "kind": "linked", "link": 3, "offset": 2},
            ],
        });
        assert_eq!(tree_json(&tree), expected);
    }

    #[test]
    fn a_table_shows_free_slots() {
        let content = Content::Symlink(b"\xfe"[..].into());
        let slots = [None, Some(LinkedInode { meta: Meta::default(), nlink: 2, content })];
        let table = LinkTable::decode(encode_links(&slots).unwrap()).unwrap();
        let shown = links_json(&table);
        assert_eq!(shown["slots"][0], Value::Null);
        assert_eq!(shown["slots"][1]["target_hex"], "fe");
        assert_eq!(shown["slots"][1]["nlink"], 2);
    }
}
