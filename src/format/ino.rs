//! Inode numbers: what the base's trees imply, the layer records, and the filesystem answers with.

use super::LinkNumber;

/// An inode number. Clean inodes are numbered in pre-order of the base, the root being 1; linked inodes from 2^40 by their number in
/// the base's table; new ones from 2^41. Numbers from 2^42 are never used here: the adapter has them (control directory, aliases).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(1);
    /// First number of linked inodes.
    pub const LINKED: Self = Self(1 << 40);
    /// First number of new inodes.
    pub const NEW: Self = Self(1 << 41);
    /// First number that the filesystem never gives out.
    pub const END: Self = Self(1 << 42);

    /// Whether the base numbers it in pre-order.
    pub fn is_clean_range(self) -> bool {
        self < Self::LINKED
    }

    /// The number of an inode with several names.
    pub fn of_link(number: LinkNumber) -> Self {
        Self(Self::LINKED.0 + u64::from(number.0))
    }

    /// The slot of the table of linked inodes that it means, if any.
    pub fn link_number(self) -> Option<LinkNumber> {
        let index = self.0.checked_sub(Self::LINKED.0)?;
        u32::try_from(index).ok().map(LinkNumber)
    }

    /// Whether it is a number of the base's table of linked inodes.
    pub fn is_linked_range(self) -> bool {
        (Self::LINKED..Self::NEW).contains(&self)
    }
}
