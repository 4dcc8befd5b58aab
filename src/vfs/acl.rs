//! POSIX access control lists: which are valid, and how list and mode follow each other, as acl(5) and the kernel's `posix_acl_*` have it.
//! The kernel checks permissions by them. Pure.

use super::error::{Result, VfsError};
use crate::format::{AclEntry, AclKind, AclTag, BadAcl, Mode, Xattrs, decode_acl, encode_acl};

/// The attribute of the access list.
pub const ACCESS: &[u8] = AclKind::Access.xattr();
/// The attribute of the list that new entries of a directory inherit.
pub const DEFAULT: &[u8] = AclKind::Default.xattr();

/// A valid list, in the kernel's order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acl(Vec<AclEntry>);

impl Acl {
    /// Parses and validates as `posix_acl_valid` does. `None` for a list without entries, which means none.
    pub fn parse(value: &[u8]) -> Result<Option<Self>> {
        let entries = decode_acl(value).map_err(|why| match why {
            BadAcl::Form => VfsError::Invalid,
            BadAcl::Version => VfsError::Unsupported,
        })?;
        if entries.is_empty() {
            return Ok(None);
        }
        let acl = Self(entries);
        if acl.is_valid() { Ok(Some(acl)) } else { Err(VfsError::Invalid) }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.0.iter().filter(|e| e.tag == tag).count();
        let only_rwx = self.0.iter().all(|e| e.perm & !7 == 0);
        let ordered = self.0.windows(2).all(|pair| pair[0].tag <= pair[1].tag);
        let needs_mask = count(AclTag::User) + count(AclTag::Group) > 0;
        only_rwx
            && ordered
            && [AclTag::UserObj, AclTag::GroupObj, AclTag::Other].iter().all(|&tag| count(tag) == 1)
            && count(AclTag::Mask) <= 1
            && (!needs_mask || count(AclTag::Mask) == 1)
    }

    fn perm(&self, tag: AclTag) -> Option<u16> {
        self.0.iter().find(|e| e.tag == tag).map(|e| e.perm)
    }

    /// The `rwxrwxrwx` that stat shows: the group's bits are the mask's when there is one.
    fn mode_bits(&self) -> u16 {
        let group = self.perm(AclTag::Mask).or(self.perm(AclTag::GroupObj)).unwrap_or(0);
        self.perm(AclTag::UserObj).unwrap_or(0) << 6 | group << 3 | self.perm(AclTag::Other).unwrap_or(0)
    }

    /// Whether the mode says all that the list says.
    fn is_minimal(&self) -> bool {
        self.0.iter().all(|e| matches!(e.tag, AclTag::UserObj | AclTag::GroupObj | AclTag::Other))
    }

    /// Changes the owner's, the group's (or mask's) and others' permissions by `change`, which gets the old ones and the mode's.
    fn with_mode(mut self, mode: Mode, change: impl Fn(u16, u16) -> u16) -> Self {
        let bits = mode.bits();
        let has_mask = self.perm(AclTag::Mask).is_some();
        for e in &mut self.0 {
            let wanted = match e.tag {
                AclTag::UserObj => bits >> 6 & 7,
                AclTag::GroupObj if !has_mask => bits >> 3 & 7,
                AclTag::Mask => bits >> 3 & 7,
                AclTag::Other => bits & 7,
                _ => continue,
            };
            e.perm = change(e.perm, wanted);
        }
        self
    }
}

/// The attributes after chmod(2): the access list follows the mode.
pub fn after_chmod(xattrs: &Xattrs, mode: Mode) -> Result<Xattrs> {
    let Some(acl) = xattrs.get(ACCESS).map(Acl::parse).transpose()?.flatten() else { return Ok(xattrs.clone()) };
    put(xattrs, ACCESS, &acl.with_mode(mode, |_, wanted| wanted))
}

/// Mode and attributes after the access list was set to `value`: the mode follows the list, and a list that says no more than the mode
/// isn't kept.
pub fn after_set_access(xattrs: &Xattrs, mode: Mode, value: &[u8]) -> Result<(Mode, Xattrs)> {
    let Some(acl) = Acl::parse(value)? else { return Ok((mode, xattrs.without(ACCESS))) };
    let special = mode.bits() & !0o777;
    let mode = Mode::from_bits(u32::from(special | acl.mode_bits()));
    let xattrs = if acl.is_minimal() { xattrs.without(ACCESS) } else { put(xattrs, ACCESS, &acl)? };
    Ok((mode, xattrs))
}

/// Mode and attributes of something new in a directory with attributes `parent`: a default list replaces the umask.
pub fn inherit(parent: &Xattrs, mode: Mode, umask: u32, is_dir: bool) -> Result<(Mode, Xattrs)> {
    let Some(default) = parent.get(DEFAULT).map(Acl::parse).transpose()?.flatten() else {
        return Ok((Mode::from_bits(u32::from(mode.bits()) & !(umask & 0o777)), Xattrs::default()));
    };
    let access = default.clone().with_mode(mode, |had, wanted| had & wanted);
    let special = mode.bits() & !0o777;
    let mode = Mode::from_bits(u32::from(special | access.mode_bits()));
    let mut xattrs = Xattrs::default();
    if !access.is_minimal() {
        xattrs = put(&xattrs, ACCESS, &access)?;
    }
    if is_dir {
        xattrs = put(&xattrs, DEFAULT, &default)?;
    }
    Ok((mode, xattrs))
}

fn put(xattrs: &Xattrs, name: &[u8], acl: &Acl) -> Result<Xattrs> {
    xattrs.with(name, &encode_acl(&acl.0)).map_err(|_| VfsError::TooBig)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(AclTag, u16, u32)]) -> Vec<u8> {
        encode_acl(&entries.iter().map(|&(tag, perm, id)| AclEntry { tag, perm, id }).collect::<Vec<_>>())
    }

    fn full() -> Vec<u8> {
        acl(&[
            (AclTag::UserObj, 7, !0),
            (AclTag::User, 6, 1000),
            (AclTag::GroupObj, 5, !0),
            (AclTag::Mask, 6, !0),
            (AclTag::Other, 0, !0),
        ])
    }

    #[test]
    fn the_mask_is_the_group_of_the_mode() {
        let (mode, xattrs) = after_set_access(&Xattrs::default(), Mode::from_bits(0o4700), &full()).unwrap();
        assert_eq!(mode.bits(), 0o4760);
        let xattrs = after_chmod(&xattrs, Mode::from_bits(0o741)).unwrap();
        let kept = Acl::parse(xattrs.get(ACCESS).unwrap()).unwrap().unwrap();
        assert_eq!(
            (kept.perm(AclTag::Mask), kept.perm(AclTag::GroupObj), kept.perm(AclTag::Other)),
            (Some(4), Some(5), Some(1))
        );
    }

    #[test]
    fn a_list_that_says_no_more_than_the_mode_is_not_kept() {
        let minimal = acl(&[(AclTag::UserObj, 6, !0), (AclTag::GroupObj, 4, !0), (AclTag::Other, 4, !0)]);
        let (mode, xattrs) = after_set_access(&Xattrs::default(), Mode::from_bits(0o777), &minimal).unwrap();
        assert_eq!((mode.bits(), xattrs.is_empty()), (0o644, true));
    }

    #[test]
    fn a_default_list_replaces_the_umask() {
        let parent = Xattrs::default().with(DEFAULT, &full()).unwrap();
        let (mode, xattrs) = inherit(&parent, Mode::from_bits(0o666), 0o077, false).unwrap();
        assert_eq!(mode.bits(), 0o660);
        assert!(xattrs.get(ACCESS).is_some() && xattrs.get(DEFAULT).is_none());
        let (_, xattrs) = inherit(&parent, Mode::from_bits(0o777), 0o077, true).unwrap();
        assert_eq!(xattrs.get(DEFAULT), Some(&full()[..]));
        let (mode, _) = inherit(&Xattrs::default(), Mode::from_bits(0o666), 0o027, false).unwrap();
        assert_eq!(mode.bits(), 0o640);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &b""[..],
            b"\x02\0\0",
            b"\x02\0\0\0x",
            &acl(&[(AclTag::UserObj, 7, 0)]),
            &acl(&[(AclTag::UserObj, 9, 0), (AclTag::GroupObj, 0, 0), (AclTag::Other, 0, 0)]),
        ] {
            assert!(Acl::parse(bad).is_err(), "{bad:?}");
        }
        let without_mask =
            acl(&[(AclTag::UserObj, 7, 0), (AclTag::User, 7, 5), (AclTag::GroupObj, 0, 0), (AclTag::Other, 0, 0)]);
        assert!(Acl::parse(&without_mask).is_err());
        assert_eq!(Acl::parse(&encode_acl(&[])).unwrap(), None);
    }
}
