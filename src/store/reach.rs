//! What a manifest reaches: its trees, its table of linked inodes, and their blobs. Its parent is information, and not reached.

use super::Store;
use super::error::Result;
use crate::format::{Content, Digest, Entry, LinkNumber, Node};
use std::collections::HashSet;

/// As what an object was reached. One object can be reached as several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// A manifest.
    Manifest,
    /// A directory.
    Tree,
    /// A table of linked inodes.
    Links,
    /// A file's content; it isn't read.
    Blob,
}

impl Store {
    /// Shows `visit` the manifest and everything that it reaches, before each is read. Where `visit` says `false`, what lies beneath is
    /// left out: that is for objects seen before in the same role, for one that was a blob before may be a tree now. Objects in the trash are
    /// read there. Stops at the first object that can't be read.
    pub fn reach(&self, manifest: Digest, visit: &mut dyn FnMut(Digest, Role) -> bool) -> Result<()> {
        if !visit(manifest, Role::Manifest) {
            return Ok(());
        }
        let content = self.decode_manifest(manifest, &self.peek_object(manifest)?)?;
        if let Some(links) = content.links.filter(|links| visit(*links, Role::Links)) {
            self.reach_links(links, visit)?;
        }
        let mut open = vec![content.root.subtree.tree];
        while let Some(digest) = open.pop() {
            if visit(digest, Role::Tree) {
                self.reach_tree(digest, &mut open, visit)?;
            }
        }
        Ok(())
    }

    /// The manifest and everything that it reaches, each object once.
    pub fn closure(&self, manifest: Digest) -> Result<HashSet<Digest>> {
        let mut walked = HashSet::new();
        self.reach(manifest, &mut |digest, role| walked.insert((digest, role)))?;
        Ok(walked.into_iter().map(|(digest, _)| digest).collect())
    }

    fn reach_links(&self, links: Digest, visit: &mut dyn FnMut(Digest, Role) -> bool) -> Result<()> {
        let table = self.decode_links(links, self.peek_object(links)?)?;
        for inode in (0..table.len()).filter_map(|number| table.get(LinkNumber(number))) {
            visit_content(&inode.content, visit);
        }
        Ok(())
    }

    fn reach_tree(
        &self,
        digest: Digest,
        open: &mut Vec<Digest>,
        visit: &mut dyn FnMut(Digest, Role) -> bool,
    ) -> Result<()> {
        let tree = self.decode_tree(digest, self.peek_object(digest)?)?;
        for (_, entry) in tree.iter() {
            match entry {
                Entry::Inode(_, Node::Dir(subtree)) => open.push(subtree.tree),
                Entry::Inode(_, Node::Leaf(content)) => visit_content(&content, visit),
                Entry::Linked(_) => {}
            }
        }
        Ok(())
    }
}

fn visit_content(content: &Content, visit: &mut dyn FnMut(Digest, Role) -> bool) {
    if let Content::File { digest, .. } = content {
        visit(*digest, Role::Blob);
    }
}
