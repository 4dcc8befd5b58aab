//! POSIX access control lists as extended attributes hold them (`include/uapi/linux/posix_acl_xattr.h`).
//!
//! ```text
//! version u32 = 2 │ entries: tag u16 │ permissions u16 │ id u32      little-endian
//! ```
//! Only the bytes are here: which lists are valid is `vfs`'s to say, how archives spell them is `ingest`'s.

const VERSION: [u8; 4] = 2_u32.to_le_bytes();
const ENTRY_LEN: usize = 2 + 2 + 4;

/// Which of a file's two lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AclKind {
    /// Who may do what.
    Access,
    /// What new entries of a directory inherit.
    Default,
}

impl AclKind {
    /// The attribute that holds it.
    pub const fn xattr(self) -> &'static [u8] {
        match self {
            Self::Access => b"system.posix_acl_access",
            Self::Default => b"system.posix_acl_default",
        }
    }
}

/// Whom an entry is about. In the order in which a list has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AclTag {
    /// The owner.
    UserObj,
    /// The user with the entry's id.
    User,
    /// The owning group.
    GroupObj,
    /// The group with the entry's id.
    Group,
    /// The most that groups and named users get.
    Mask,
    /// Everybody else.
    Other,
}

impl AclTag {
    fn from_bits(bits: u16) -> Option<Self> {
        Some(match bits {
            0x01 => Self::UserObj,
            0x02 => Self::User,
            0x04 => Self::GroupObj,
            0x08 => Self::Group,
            0x10 => Self::Mask,
            0x20 => Self::Other,
            _ => return None,
        })
    }

    fn bits(self) -> u16 {
        match self {
            Self::UserObj => 0x01,
            Self::User => 0x02,
            Self::GroupObj => 0x04,
            Self::Group => 0x08,
            Self::Mask => 0x10,
            Self::Other => 0x20,
        }
    }
}

/// An entry of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AclEntry {
    /// Whom it is about.
    pub tag: AclTag,
    /// `rwx`; other bits are as they were read.
    pub perm: u16,
    /// The user or group of an entry that names one.
    pub id: u32,
}

impl AclEntry {
    /// The id of an entry that names nobody.
    pub const NO_ID: u32 = u32::MAX;
}

/// Bytes that aren't a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAcl {
    /// Not as long as whole entries are, or an entry about nobody known.
    #[error("an access control list is malformed")]
    Form,
    /// Another version.
    #[error("an access control list is of an unknown version")]
    Version,
}

/// The entries that an attribute's value holds, in its order.
pub fn decode_acl(value: &[u8]) -> Result<Vec<AclEntry>, BadAcl> {
    let (version, rest) = value.split_first_chunk::<4>().ok_or(BadAcl::Form)?;
    if *version != VERSION {
        return Err(BadAcl::Version);
    }
    rest.chunks(ENTRY_LEN).map(|bytes| decode_entry(bytes).ok_or(BadAcl::Form)).collect()
}

fn decode_entry(bytes: &[u8]) -> Option<AclEntry> {
    let &[tag_low, tag_high, perm_low, perm_high, ref id @ ..] = bytes else { return None };
    Some(AclEntry {
        tag: AclTag::from_bits(u16::from_le_bytes([tag_low, tag_high]))?,
        perm: u16::from_le_bytes([perm_low, perm_high]),
        id: u32::from_le_bytes(id.try_into().ok()?),
    })
}

/// The attribute's value for `entries`.
pub fn encode_acl(entries: &[AclEntry]) -> Vec<u8> {
    let mut value = VERSION.to_vec();
    for entry in entries {
        value.extend_from_slice(&entry.tag.bits().to_le_bytes());
        value.extend_from_slice(&entry.perm.to_le_bytes());
        value.extend_from_slice(&entry.id.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_has_bytes_and_they_lead_back() {
        let tags = [AclTag::UserObj, AclTag::User, AclTag::GroupObj, AclTag::Group, AclTag::Mask, AclTag::Other];
        let entries = tags.map(|tag| AclEntry { tag, perm: 5, id: 7 });
        let value = encode_acl(&entries);
        assert_eq!(decode_acl(&value).unwrap(), entries);
        assert_eq!(value[..12], *b"\x02\0\0\0\x01\0\x05\0\x07\0\0\0");
        for cut in 0..value.len() {
            assert_eq!(decode_acl(&value[..cut]).is_ok(), cut >= 4 && cut % ENTRY_LEN == 4, "{cut}");
        }
        assert_eq!(decode_acl(b"\x03\0\0\0"), Err(BadAcl::Version));
        assert_eq!(decode_acl(b"\x02\0\0\0\x03\0\x05\0\x07\0\0\0"), Err(BadAcl::Form));
    }
}
