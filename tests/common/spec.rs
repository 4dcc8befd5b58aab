//! Trees written down in code.

use cairnfs::format::{
    Content, Device, Digest, EncodedTree, Entry, LinkNumber, LinkedInode, Manifest, ManifestKind, Meta, Mode, NameBuf,
    Node, RootMeta, Subtree, Timestamp, Totals, Xattr, Xattrs, encode_links, encode_tree,
};
use cairnfs::store::{Store, Writer};
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::Path;

/// What a path is, besides its metadata.
#[derive(Clone)]
enum What {
    Dir,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Node(Content),
    /// Another name of the file at this path.
    SameAs(Vec<u8>),
}

#[derive(Clone)]
struct Item {
    what: What,
    mode: u32,
    owner: (u32, u32),
    mtime: Timestamp,
    xattrs: Vec<Xattr>,
}

/// A tree: paths relative to the root, `/` between parts. Parents come by themselves. The last call about a path counts.
#[derive(Clone)]
pub struct Spec {
    items: BTreeMap<Vec<u8>, Item>,
}

impl Default for Spec {
    fn default() -> Self {
        Self::new()
    }
}

impl Spec {
    /// A root directory, 0755, of root, and nothing in it.
    pub fn new() -> Self {
        let mut spec = Self { items: BTreeMap::new() };
        spec.put(b"", What::Dir, 0o755);
        spec
    }

    /// What is in a directory of the host: files, directories and symbolic links, with modes, owners and times.
    pub fn from_dir(path: &Path) -> Self {
        let mut spec = Self::new();
        spec.read(path, b"");
        spec
    }

    fn read(&mut self, host: &Path, at: &[u8]) {
        for entry in std::fs::read_dir(host).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let path = join(at, entry.file_name().as_bytes());
            let what = if metadata.is_dir() {
                What::Dir
            } else if metadata.is_symlink() {
                What::Symlink(std::fs::read_link(entry.path()).unwrap().as_os_str().as_bytes().to_vec())
            } else if metadata.is_file() {
                What::File(std::fs::read(entry.path()).unwrap())
            } else {
                continue;
            };
            let is_dir = matches!(what, What::Dir);
            self.put(&path, what, metadata.mode());
            let item = self.items.get_mut(&path).unwrap();
            item.owner = (metadata.uid(), metadata.gid());
            item.mtime = metadata.modified().unwrap().into();
            if is_dir {
                self.read(&entry.path(), &path);
            }
        }
    }

    fn put(&mut self, path: &[u8], what: What, mode: u32) {
        if let Some(slash) = path.iter().rposition(|&byte| byte == b'/') {
            let parent = &path[..slash];
            if !self.items.contains_key(parent) {
                self.put(parent, What::Dir, 0o755);
            }
        }
        let mtime = Timestamp::new(1_700_000_000, 123_456_789).unwrap();
        let item = Item { what, mode, owner: (0, 0), mtime, xattrs: Vec::new() };
        self.items.insert(path.to_vec(), item);
    }

    pub fn dir(mut self, path: &str) -> Self {
        self.put(path.as_bytes(), What::Dir, 0o755);
        self
    }

    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.put(path.as_bytes(), What::File(content.into()), 0o644);
        self
    }

    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        self.put(path.as_bytes(), What::Symlink(target.as_bytes().to_vec()), 0o777);
        self
    }

    pub fn fifo(mut self, path: &str) -> Self {
        self.put(path.as_bytes(), What::Node(Content::Fifo), 0o644);
        self
    }

    pub fn char_device(mut self, path: &str, major: u32, minor: u32) -> Self {
        self.put(path.as_bytes(), What::Node(Content::Char(Device { major, minor })), 0o666);
        self
    }

    /// One more name of the file at `of`.
    pub fn link(mut self, path: &str, of: &str) -> Self {
        self.put(path.as_bytes(), What::SameAs(of.as_bytes().to_vec()), 0);
        self
    }

    pub fn mode(mut self, path: &str, mode: u32) -> Self {
        self.item(path).mode = mode;
        self
    }

    pub fn owner(mut self, path: &str, uid: u32, gid: u32) -> Self {
        self.item(path).owner = (uid, gid);
        self
    }

    pub fn xattr(mut self, path: &str, name: &str, value: &[u8]) -> Self {
        self.item(path).xattrs.push((name.as_bytes().into(), value.into()));
        self
    }

    /// The same tree inside of directory `dir`.
    pub fn within(&self, dir: &str) -> Self {
        let mut spec = Self::new();
        for (path, item) in &self.items {
            let inside = |path: &[u8]| if path.is_empty() { dir.into() } else { join(dir.as_bytes(), path) };
            let mut item = item.clone();
            if let What::SameAs(of) = &mut item.what {
                *of = inside(of);
            }
            spec.items.insert(inside(path), item);
        }
        spec
    }

    /// Makes the tree at `root`, which isn't there yet, by system calls.
    pub fn write_to(&self, root: &Path) {
        let at = |path: &[u8]| if path.is_empty() { root.into() } else { root.join(std::ffi::OsStr::from_bytes(path)) };
        for (path, item) in &self.items {
            let path = at(path);
            match &item.what {
                What::Dir => std::fs::create_dir(&path).unwrap(),
                What::File(bytes) => std::fs::write(&path, bytes).unwrap(),
                What::Symlink(target) => symlink(std::ffi::OsStr::from_bytes(target), &path).unwrap(),
                What::Node(content) => make_node(content, &path),
                What::SameAs(_) => continue,
            }
            item.write_meta(&path);
        }
        for (path, item) in &self.items {
            if let What::SameAs(of) = &item.what {
                std::fs::hard_link(at(of), at(path)).unwrap();
            }
        }
        // Making entries moved the times of directories.
        for (path, item) in self.items.iter().filter(|(_, item)| matches!(item.what, What::Dir)) {
            item.write_times(&at(path));
        }
    }

    fn item(&mut self, path: &str) -> &mut Item {
        self.items.get_mut(path.as_bytes()).expect("the path is in the tree")
    }

    /// Puts the tree into `store` and returns its manifest.
    pub fn store(&self, store: &Store) -> Digest {
        let writer = store.writer("a test").unwrap();
        let mut build = Build { spec: self, writer: &writer, links: Vec::new(), numbers: HashMap::new(), files: 0 };
        build.number_links();
        let root = build.dir(b"");
        let table = (!build.links.is_empty()).then(|| encode_links(&build.links).unwrap());
        let linked_bytes: u64 = build.links.iter().flatten().map(|inode| size(&inode.content)).sum();
        let manifest = Manifest {
            name: "test".parse().unwrap(),
            created_at: "2025-01-31T23:59:59Z".to_owned(),
            parent: None,
            kind: ManifestKind::Rootfs,
            labels: BTreeMap::new(),
            root: RootMeta { subtree: root, meta: self.items[&b""[..]].meta() },
            links: table.map(|table| writer.put_bytes(&table).unwrap().digest),
            totals: Totals {
                entries: root.entries,
                files: build.files + build.links.len() as u64,
                bytes: root.bytes + linked_bytes,
            },
        };
        let digest = writer.put_manifest(&manifest).unwrap();
        writer.barrier().unwrap();
        digest
    }
}

impl Item {
    fn meta(&self) -> Meta {
        Meta {
            mode: Mode::from_bits(self.mode),
            uid: self.owner.0,
            gid: self.owner.1,
            mtime: self.mtime,
            xattrs: Xattrs::new(self.xattrs.clone()).unwrap(),
        }
    }

    fn write_meta(&self, path: &Path) {
        lchown(path, Some(self.owner.0), Some(self.owner.1)).unwrap();
        if !matches!(self.what, What::Symlink(_)) {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(self.mode)).unwrap();
        }
        for (name, value) in &self.xattrs {
            xattr::set(path, std::ffi::OsStr::from_bytes(name), value).unwrap();
        }
        self.write_times(path);
    }

    fn write_times(&self, path: &Path) {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
        let time = Timespec { tv_sec: self.mtime.secs(), tv_nsec: self.mtime.nanos().into() };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn make_node(content: &Content, path: &Path) {
    use rustix::fs::{CWD, FileType, Mode as Bits, makedev, mknodat};
    let (kind, device) = match content {
        Content::Char(device) => (FileType::CharacterDevice, *device),
        Content::Block(device) => (FileType::BlockDevice, *device),
        Content::Fifo => (FileType::Fifo, Device::default()),
        Content::Socket => (FileType::Socket, Device::default()),
        Content::File { .. } | Content::Symlink(_) => unreachable!("not a node"),
    };
    mknodat(CWD, path, kind, Bits::from_raw_mode(0o600), makedev(device.major, device.minor)).unwrap();
}

struct Build<'a> {
    spec: &'a Spec,
    writer: &'a Writer,
    links: Vec<Option<LinkedInode>>,
    numbers: HashMap<Vec<u8>, LinkNumber>,
    files: u64,
}

impl Build<'_> {
    fn number_links(&mut self) {
        let mut nlink: BTreeMap<&[u8], u32> = BTreeMap::new();
        for item in self.spec.items.values() {
            if let What::SameAs(of) = &item.what {
                *nlink.entry(of).or_insert(1) += 1;
            }
        }
        for (path, nlink) in nlink {
            let item = &self.spec.items[path];
            let inode = LinkedInode { meta: item.meta(), nlink, content: self.content(&item.what) };
            self.numbers.insert(path.to_vec(), LinkNumber(self.links.len() as u32));
            self.links.push(Some(inode));
        }
    }

    fn content(&self, what: &What) -> Content {
        match what {
            What::File(bytes) => {
                let put = self.writer.put_bytes(bytes).unwrap();
                Content::File { digest: put.digest, size: put.size }
            }
            What::Symlink(target) => Content::Symlink(target.as_slice().into()),
            What::Node(content) => content.clone(),
            What::Dir | What::SameAs(_) => unreachable!("not a leaf"),
        }
    }

    fn dir(&mut self, path: &[u8]) -> Subtree {
        let spec = self.spec;
        let inside = |other: &[u8]| {
            let name = if path.is_empty() { other } else { other.strip_prefix(path)?.strip_prefix(b"/")? };
            (!name.is_empty() && !name.contains(&b'/')).then(|| name.to_vec())
        };
        let mut entries: Vec<(NameBuf, Entry)> = Vec::new();
        for (other, item) in &spec.items {
            let Some(name) = inside(other) else { continue };
            let entry = match &item.what {
                What::SameAs(of) => Entry::Linked(self.numbers[of]),
                _ if self.numbers.contains_key(other) => Entry::Linked(self.numbers[other]),
                What::Dir => Entry::Inode(item.meta(), Node::Dir(self.dir(other))),
                leaf => {
                    self.files += 1;
                    Entry::Inode(item.meta(), Node::Leaf(self.content(leaf)))
                }
            };
            entries.push((NameBuf::new(name).unwrap(), entry));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let EncodedTree { bytes, subtree } = encode_tree(&entries).unwrap();
        self.writer.put_bytes(&bytes).unwrap();
        subtree
    }
}

fn size(content: &Content) -> u64 {
    match content {
        Content::File { size, .. } => *size,
        _ => 0,
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}
