//! One thread's private tree, as POSIX has it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

pub const ROOT: usize = 0;

#[derive(Clone)]
pub enum Node {
    Dir(BTreeMap<String, usize>),
    File { content: Vec<u8>, mode: u32, attribute: Option<Vec<u8>> },
    Symlink(String),
}

/// Nodes by number; one that no directory names is unlinked.
pub struct Model {
    pub nodes: Vec<Node>,
}

/// A name in the tree.
pub struct Place {
    pub dir: usize,
    pub name: String,
    pub path: String,
}

pub fn file(content: &[u8]) -> Node {
    Node::File { content: content.to_vec(), mode: 0o644, attribute: None }
}

impl Model {
    pub fn new() -> Self {
        Self { nodes: vec![Node::Dir(BTreeMap::new())] }
    }

    pub fn entries(&self, dir: usize) -> &BTreeMap<String, usize> {
        match &self.nodes[dir] {
            Node::Dir(entries) => entries,
            _ => panic!("not a directory"),
        }
    }

    pub fn entries_mut(&mut self, dir: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.nodes[dir] {
            Node::Dir(entries) => entries,
            _ => panic!("not a directory"),
        }
    }

    pub fn get(&self, place: &Place) -> Option<usize> {
        self.entries(place.dir).get(&place.name).copied()
    }

    pub fn put(&mut self, place: &Place, node: usize) {
        self.entries_mut(place.dir).insert(place.name.clone(), node);
    }

    pub fn remove(&mut self, place: &Place) {
        self.entries_mut(place.dir).remove(&place.name);
    }

    pub fn add(&mut self, place: &Place, node: Node) -> usize {
        self.nodes.push(node);
        self.put(place, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub fn is_dir(&self, node: usize) -> bool {
        matches!(self.nodes[node], Node::Dir(_))
    }

    /// Whether `inner` is `outer` or beneath it.
    pub fn is_within(&self, inner: usize, outer: usize) -> bool {
        inner == outer
            || (self.is_dir(outer) && self.entries(outer).values().any(|&child| self.is_within(inner, child)))
    }

    /// Every directory with its path, the root's being empty.
    pub fn dirs(&self) -> Vec<(usize, String)> {
        let mut all = vec![(ROOT, String::new())];
        let mut next = 0;
        while next < all.len() {
            let (dir, path) = all[next].clone();
            for (name, &child) in self.entries(dir) {
                if self.is_dir(child) {
                    all.push((child, format!("{path}{name}/")));
                }
            }
            next += 1;
        }
        all
    }

    fn names_of(&self, node: usize) -> usize {
        let dirs = self.dirs();
        dirs.iter().flat_map(|(dir, _)| self.entries(*dir).values()).filter(|&&child| child == node).count()
    }

    /// The directory `host` is as the model says.
    pub fn assert_same(&self, host: &Path) {
        for (dir, path) in self.dirs() {
            let at = host.join(&path);
            let mut found: Vec<String> =
                fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            found.sort();
            let expected: Vec<String> = self.entries(dir).keys().cloned().collect();
            assert_eq!(found, expected, "names in {}", at.display());
            let subdirs = self.entries(dir).values().filter(|&&child| self.is_dir(child)).count();
            assert_eq!(fs::symlink_metadata(&at).unwrap().nlink(), subdirs as u64 + 2, "links of {}", at.display());
            for (name, &child) in self.entries(dir) {
                self.assert_same_leaf(&at.join(name), child);
            }
        }
    }

    fn assert_same_leaf(&self, at: &Path, node: usize) {
        let metadata = fs::symlink_metadata(at).unwrap();
        match &self.nodes[node] {
            Node::Dir(_) => assert!(metadata.is_dir(), "{} is no directory", at.display()),
            Node::Symlink(target) => assert_eq!(fs::read_link(at).unwrap().to_str().unwrap(), target),
            Node::File { content, mode, attribute } => {
                assert!(metadata.is_file(), "{} is no file", at.display());
                assert_same_bytes(&fs::read(at).unwrap(), content, at);
                assert_eq!(metadata.permissions().mode() & 0o7777, *mode, "mode of {}", at.display());
                assert_eq!(metadata.nlink(), self.names_of(node) as u64, "links of {}", at.display());
                assert_eq!(&xattr::get(at, "user.test").unwrap(), attribute, "attribute of {}", at.display());
            }
        }
    }
}

pub fn assert_same_bytes(found: &[u8], expected: &[u8], at: &Path) {
    if found != expected {
        let first = found.iter().zip(expected).position(|(a, b)| a != b);
        panic!("{}: {} bytes for {}, first other at {first:?}", at.display(), found.len(), expected.len());
    }
}
