//! Finds a path in a manifest, and describes what is there; shared by `ls` and `cat`.

use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use crate::control::text::escape;
use crate::format::{Content, Digest, Entry, Kind, LinkTable, Manifest, Meta, Name, Node, Tree};
use crate::store::Store;
use serde_json::{Map, Value};

/// A manifest opened for looking things up.
pub(super) struct Rootfs<'a> {
    pub store: &'a Store,
    pub digest: Digest,
    pub manifest: Manifest,
    links: LinkTable,
}

/// An inode found.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub meta: Meta,
    pub nlink: u64,
    pub node: Node,
}

impl<'a> Rootfs<'a> {
    /// Opens what `text` names: a ref or digest.
    pub(super) fn open(store: &'a Store, text: &str) -> Result<Self> {
        let doing = || format!("read `{text}`");
        let digest = store.resolve(text).doing(doing)?;
        let manifest = store.read_manifest(digest).doing(doing)?;
        let links = store.read_links(&manifest).doing(doing)?;
        Ok(Self { store, digest, manifest, links })
    }

    /// The root directory.
    pub(super) fn root(&self) -> Item {
        let root = &self.manifest.root;
        Item { meta: root.meta.clone(), nlink: 2 + u64::from(root.subtree.subdirs), node: Node::Dir(root.subtree) }
    }

    /// What is at `path`, given from the root; symbolic links aren't followed.
    pub(super) fn find(&self, path: &[u8]) -> Result<Item> {
        let shown = escape(path);
        let missing = || Error::new(Exit::NotFound, format!("no `{shown}` in `{}`", self.manifest.name));
        let mut item = self.root();
        for part in path.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".") {
            let Node::Dir(subtree) = &item.node else {
                let error = missing().because("a part of the path isn't a directory");
                return Err(error.help("symbolic links aren't followed; `cairnfs ls` shows where they point"));
            };
            let tree = self.store.read_tree(subtree.tree).doing(|| format!("look up `{shown}`"))?;
            let name = Name::new(part)
                .map_err(|why| missing().because(why.to_string()).help("`cairnfs ls` lists what is there"))?;
            let index = tree.find(name).ok_or_else(|| missing().help("`cairnfs ls` lists what is there"))?;
            item = self.item(tree.entry(index))?;
        }
        Ok(item)
    }

    /// A directory's tree.
    pub(super) fn tree(&self, digest: Digest) -> Result<Tree> {
        self.store.read_tree(digest).doing(|| "list a directory")
    }

    /// What an entry names.
    pub(super) fn item(&self, entry: Entry) -> Result<Item> {
        match entry {
            Entry::Inode(meta, node) => {
                let nlink = match &node {
                    Node::Dir(subtree) => 2 + u64::from(subtree.subdirs),
                    Node::Leaf(_) => 1,
                };
                Ok(Item { meta, nlink, node })
            }
            Entry::Linked(number) => {
                let inode = self.links.get(number).ok_or_else(|| {
                    Error::new(Exit::Corrupt, format!("`{}` is damaged", self.manifest.name))
                        .because(format!("an entry names linked inode {}, which its table doesn't have", number.0))
                        .help("import its source again, or use an earlier manifest")
                })?;
                Ok(Item { meta: inode.meta, nlink: inode.nlink.into(), node: Node::Leaf(inode.content) })
            }
        }
    }
}

impl Item {
    /// Its size as stat(2) would tell it; of a directory, the bytes of all beneath.
    pub(super) fn size(&self) -> u64 {
        match &self.node {
            Node::Dir(subtree) => subtree.bytes,
            Node::Leaf(Content::File { size, .. }) => *size,
            Node::Leaf(Content::Symlink(target)) => target.len() as u64,
            Node::Leaf(_) => 0,
        }
    }

    /// As `ls -l` writes the mode.
    pub(super) fn mode_text(&self) -> String {
        let bits = self.meta.mode.bits();
        let kind = match self.node.kind() {
            Kind::File => '-',
            Kind::Dir => 'd',
            Kind::Symlink => 'l',
            Kind::Char => 'c',
            Kind::Block => 'b',
            Kind::Fifo => 'p',
            Kind::Socket => 's',
        };
        let mut text = String::from(kind);
        for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
            let part = bits >> shift;
            text.push(if part & 4 != 0 { 'r' } else { '-' });
            text.push(if part & 2 != 0 { 'w' } else { '-' });
            text.push(match (part & 1 != 0, bits & special != 0) {
                (true, true) => set,
                (false, true) => unset,
                (true, false) => 'x',
                (false, false) => '-',
            });
        }
        text
    }

    /// Its modification time, RFC 3339 in UTC.
    pub(super) fn mtime(&self) -> String {
        let time = self.meta.mtime;
        jiff::Timestamp::new(time.secs(), time.nanos().try_into().unwrap_or(0))
            .map_or_else(|_| format!("{}.{:09}", time.secs(), time.nanos()), |time| time.to_string())
    }

    /// All of it as JSON.
    pub(super) fn json(&self, path: &[u8]) -> Value {
        let mut object = Map::new();
        put_bytes(&mut object, "path", path);
        object.insert("kind".into(), self.node.kind().as_str().into());
        object.insert("mode".into(), format!("{:04o}", self.meta.mode.bits()).into());
        object.insert("uid".into(), self.meta.uid.into());
        object.insert("gid".into(), self.meta.gid.into());
        object.insert("nlink".into(), self.nlink.into());
        object.insert("size".into(), self.size().into());
        object.insert("mtime".into(), self.mtime().into());
        match &self.node {
            Node::Dir(subtree) => {
                object.insert("entries".into(), subtree.entries.into());
                object.insert("digest".into(), subtree.tree.to_string().into());
            }
            Node::Leaf(Content::File { digest, .. }) => {
                object.insert("digest".into(), digest.to_string().into());
            }
            Node::Leaf(Content::Symlink(target)) => put_bytes(&mut object, "target", target),
            Node::Leaf(Content::Char(device) | Content::Block(device)) => {
                object.insert("rdev".into(), serde_json::json!({ "major": device.major, "minor": device.minor }));
            }
            Node::Leaf(Content::Fifo | Content::Socket) => {}
        }
        if !self.meta.xattrs.is_empty() {
            let names = self.meta.xattrs.as_slice().iter().map(|(name, _)| Value::from(escape(name)));
            object.insert("xattrs".into(), names.collect());
        }
        Value::Object(object)
    }
}

/// Text where the bytes are UTF-8; else escaped, with the exact bytes in `FIELD_hex`.
fn put_bytes(object: &mut Map<String, Value>, field: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            object.insert(field.to_owned(), text.into());
        }
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert(field.to_owned(), escape(bytes).into());
            object.insert(format!("{field}_hex"), hex.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Mode;

    #[test]
    fn modes_read_as_ls_writes_them() {
        let item = |bits, content| Item {
            meta: Meta { mode: Mode::from_bits(bits), ..Meta::default() },
            nlink: 1,
            node: Node::Leaf(content),
        };
        assert_eq!(item(0o4755, Content::Fifo).mode_text(), "prwsr-xr-x");
        assert_eq!(item(0o1644, Content::Socket).mode_text(), "srw-r--r-T");
        assert_eq!(item(0, Content::Symlink(b"x"[..].into())).mode_text(), "l---------");
    }
}
