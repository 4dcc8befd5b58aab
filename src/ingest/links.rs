//! Inodes that may have several names: collected while a source is read, numbered when all of it has been seen.
//!
//! Invariant: candidates stand in the order of their first name in sorted pre-order, so numbers depend on nothing but the source.
//! A candidate of which one name was seen is an ordinary file: its other names lie elsewhere.

use crate::format::{Content, Entry, LinkNumber, LinkedInode, Meta, Node};

/// A candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkId(u32);

#[derive(Debug, Default)]
struct Candidate {
    inode: Option<(Meta, Content)>,
    names: u32,
}

/// All candidates so far.
#[derive(Debug, Default)]
pub(crate) struct Candidates(Vec<Candidate>);

/// What became of the candidates.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    entries: Vec<Option<Entry>>,
    /// The inodes with several names, by number.
    pub(crate) table: Vec<Option<LinkedInode>>,
}

impl Candidates {
    /// A new candidate; `None` when there are more than can be numbered.
    pub(crate) fn add(&mut self) -> Option<LinkId> {
        let id = u32::try_from(self.0.len()).ok().filter(|&id| id < u32::MAX)?;
        self.0.push(Candidate::default());
        Some(LinkId(id))
    }

    /// Counts a name.
    pub(crate) fn name(&mut self, id: LinkId) {
        let names = &mut self.0[id.0 as usize].names;
        *names = names.saturating_add(1);
    }

    /// Tells what the inode is.
    pub(crate) fn fill(&mut self, id: LinkId, meta: Meta, content: Content) {
        self.0[id.0 as usize].inode = Some((meta, content));
    }

    /// Gives numbers to the inodes with several names. Those never filled have no entry.
    pub(crate) fn number(self) -> Numbered {
        let mut numbered = Numbered::default();
        for Candidate { inode, names } in self.0 {
            let entry = inode.map(|(meta, content)| match names {
                0 | 1 => Entry::Inode(meta, Node::Leaf(content)),
                nlink => {
                    // fits: there are no more numbers than candidates
                    let number = LinkNumber(numbered.table.len() as u32);
                    numbered.table.push(Some(LinkedInode { meta, nlink, content }));
                    Entry::Linked(number)
                }
            });
            numbered.entries.push(entry);
        }
        numbered
    }
}

impl Numbered {
    /// What a name of the candidate says.
    pub(crate) fn entry(&self, id: LinkId) -> Option<Entry> {
        self.entries.get(id.0 as usize).cloned().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inodes_with_several_names_are_numbered_and_in_order() {
        let mut candidates = Candidates::default();
        let ids: Vec<LinkId> = (0..3).map(|_| candidates.add().unwrap()).collect();
        for (id, names) in [(ids[2], 3), (ids[1], 1), (ids[0], 2)] {
            (0..names).for_each(|_| candidates.name(id));
            candidates.fill(id, Meta::default(), Content::Fifo);
        }
        let numbered = candidates.number();
        assert_eq!(numbered.entry(ids[0]), Some(Entry::Linked(LinkNumber(0))));
        assert_eq!(numbered.entry(ids[1]), Some(Entry::Inode(Meta::default(), Node::Leaf(Content::Fifo))));
        assert_eq!(numbered.entry(ids[2]), Some(Entry::Linked(LinkNumber(1))));
        assert_eq!(numbered.table.iter().flatten().map(|inode| inode.nlink).collect::<Vec<_>>(), [2, 3]);
    }
}
