//! POSIX access control lists, as the kernel hands them over: extended attributes with `struct posix_acl_xattr_header` and entries
//! (include/uapi/linux/posix_acl_xattr.h). Pure.
//!
//! The kernel checks permissions by them; the filesystem keeps list and mode in step, as acl(5) and the kernel's `posix_acl_*` do.

use super::error::{Result, VfsError};
use crate::format::{Mode, Xattrs};

/// The attribute of the access list.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute of the list that new entries of a directory inherit.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// A valid list, in the kernel's order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acl(Vec<Entry>);

impl Acl {
    /// Parses and validates as `posix_acl_valid` does. `None` for a list without entries, which means none.
    pub fn parse(value: &[u8]) -> Result<Option<Self>> {
        let (version, rest) = value.split_first_chunk::<4>().ok_or(VfsError::Invalid)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(VfsError::Unsupported);
        }
        if rest.len() % 8 != 0 {
            return Err(VfsError::Invalid);
        }
        let entries: Vec<Entry> = rest
            .chunks_exact(8)
            .map(|e| Entry {
                tag: u16::from_le_bytes([e[0], e[1]]),
                perm: u16::from_le_bytes([e[2], e[3]]),
                id: u32::from_le_bytes([e[4], e[5], e[6], e[7]]),
            })
            .collect();
        if entries.is_empty() {
            return Ok(None);
        }
        let acl = Self(entries);
        if acl.is_valid() { Ok(Some(acl)) } else { Err(VfsError::Invalid) }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.0.iter().filter(|e| e.tag == tag).count();
        let known = self
            .0
            .iter()
            .all(|e| e.perm & !7 == 0 && matches!(e.tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER));
        let ordered = self.0.windows(2).all(|pair| pair[0].tag <= pair[1].tag);
        let needs_mask = count(USER) + count(GROUP) > 0;
        known
            && ordered
            && [USER_OBJ, GROUP_OBJ, OTHER].iter().all(|&tag| count(tag) == 1)
            && count(MASK) <= 1
            && (!needs_mask || count(MASK) == 1)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_le_bytes().to_vec();
        for e in &self.0 {
            out.extend_from_slice(&e.tag.to_le_bytes());
            out.extend_from_slice(&e.perm.to_le_bytes());
            out.extend_from_slice(&e.id.to_le_bytes());
        }
        out
    }

    fn perm(&self, tag: u16) -> Option<u16> {
        self.0.iter().find(|e| e.tag == tag).map(|e| e.perm)
    }

    /// The `rwxrwxrwx` that stat shows: the group's bits are the mask's when there is one.
    fn mode_bits(&self) -> u16 {
        let group = self.perm(MASK).or(self.perm(GROUP_OBJ)).unwrap_or(0);
        self.perm(USER_OBJ).unwrap_or(0) << 6 | group << 3 | self.perm(OTHER).unwrap_or(0)
    }

    /// Whether the mode says all that the list says.
    fn is_minimal(&self) -> bool {
        self.0.iter().all(|e| matches!(e.tag, USER_OBJ | GROUP_OBJ | OTHER))
    }

    /// Changes the owner's, the group's (or mask's) and others' permissions by `change`, which gets the old ones and the mode's.
    fn with_mode(mut self, mode: Mode, change: impl Fn(u16, u16) -> u16) -> Self {
        let bits = mode.bits();
        let has_mask = self.perm(MASK).is_some();
        for e in &mut self.0 {
            let wanted = match e.tag {
                USER_OBJ => bits >> 6 & 7,
                GROUP_OBJ if !has_mask => bits >> 3 & 7,
                MASK => bits >> 3 & 7,
                OTHER => bits & 7,
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
    xattrs.with(name, &acl.encode()).map_err(|_| VfsError::TooBig)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        Acl(entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect()).encode()
    }

    fn full() -> Vec<u8> {
        acl(&[(USER_OBJ, 7, !0), (USER, 6, 1000), (GROUP_OBJ, 5, !0), (MASK, 6, !0), (OTHER, 0, !0)])
    }

    #[test]
    fn the_mask_is_the_group_of_the_mode() {
        let (mode, xattrs) = after_set_access(&Xattrs::default(), Mode::from_bits(0o4700), &full()).unwrap();
        assert_eq!(mode.bits(), 0o4760);
        let xattrs = after_chmod(&xattrs, Mode::from_bits(0o741)).unwrap();
        let kept = Acl::parse(xattrs.get(ACCESS).unwrap()).unwrap().unwrap();
        assert_eq!((kept.perm(MASK), kept.perm(GROUP_OBJ), kept.perm(OTHER)), (Some(4), Some(5), Some(1)));
    }

    #[test]
    fn a_list_that_says_no_more_than_the_mode_is_not_kept() {
        let minimal = acl(&[(USER_OBJ, 6, !0), (GROUP_OBJ, 4, !0), (OTHER, 4, !0)]);
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
            &acl(&[(USER_OBJ, 7, 0)]),
            &acl(&[(USER_OBJ, 9, 0), (GROUP_OBJ, 0, 0), (OTHER, 0, 0)]),
        ] {
            assert!(Acl::parse(bad).is_err(), "{bad:?}");
        }
        let without_mask = acl(&[(USER_OBJ, 7, 0), (USER, 7, 5), (GROUP_OBJ, 0, 0), (OTHER, 0, 0)]);
        assert!(Acl::parse(&without_mask).is_err());
        assert_eq!(Acl::parse(&VERSION.to_le_bytes()).unwrap(), None);
    }
}
