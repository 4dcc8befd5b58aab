//! The 512-byte header of a tar member: old (v7), ustar, GNU and star forms.
//!
//! ```text
//!   0 name[100]  100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 checksum[8]  156 type  157 link[100]
//! 257 magic[8]   265 uname[32]  297 gname[32]  329 major[8]  337 minor[8]
//! 345 prefix[155] (ustar), prefix[131] (star);  386 4 x {offset[12], length[12]}  482 extended  483 real size[12] (GNU)
//! ```
//! Numbers are octal text, or big-endian two's complement with the first bit set.

use super::Problem;
use std::ops::Range;

/// The unit of an archive.
pub(super) const BLOCK: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_MAGIC: Range<usize> = 508..512;
const SPARSE: Range<usize> = 386..482;
const EXTENDED: usize = 482;
const REAL_SIZE: Range<usize> = 483..495;
const NUMBER: usize = 12;

/// A header whose checksum is right.
pub(super) struct Header([u8; BLOCK]);

impl Header {
    /// Checks the checksum, which some old programs computed over signed bytes.
    pub(super) fn new(block: [u8; BLOCK]) -> Result<Self, Problem> {
        let byte = |at: usize| if CHECKSUM.contains(&at) { b' ' } else { block[at] };
        let unsigned: i64 = (0..BLOCK).map(|at| i64::from(byte(at))).sum();
        let signed: i64 = (0..BLOCK).map(|at| i64::from(byte(at).cast_signed())).sum();
        match number(&block[CHECKSUM]) {
            Some(sum) if sum == unsigned || sum == signed => Ok(Self(block)),
            _ => Err(Problem::Checksum),
        }
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[TYPE]
    }

    /// The path, prefix included.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[NAME]);
        let prefix = match (self.is_ustar(), &self.0[STAR_MAGIC]) {
            (true, b"tar\0") => text(&self.0[STAR_PREFIX]),
            (true, _) => text(&self.0[PREFIX]),
            (false, _) => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, name].join(&b'/') }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[LINK]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, Problem> {
        // bits above the permissions, where programs put the type, are dropped
        Ok(self.field(MODE, "mode")? as u32 & 0o7777)
    }

    pub(super) fn uid(&self) -> Result<u64, Problem> {
        self.unsigned(UID, "owner")
    }

    pub(super) fn gid(&self) -> Result<u64, Problem> {
        self.unsigned(GID, "group")
    }

    pub(super) fn size(&self) -> Result<u64, Problem> {
        self.unsigned(SIZE, "size")
    }

    pub(super) fn mtime(&self) -> Result<i64, Problem> {
        self.field(MTIME, "time")
    }

    pub(super) fn device(&self) -> Result<(u32, u32), Problem> {
        let part =
            |range| u32::try_from(self.unsigned(range, "device number")?).map_err(|_| Problem::Number("device number"));
        Ok((part(MAJOR)?, part(MINOR)?))
    }

    /// Length of the whole file that a GNU sparse header describes.
    pub(super) fn real_size(&self) -> Result<u64, Problem> {
        self.unsigned(REAL_SIZE, "real size")
    }

    /// Pieces of a sparse file listed in a GNU header, and whether blocks with more follow.
    pub(super) fn sparse(&self) -> Result<(Vec<(u64, u64)>, bool), Problem> {
        Ok((pieces(&self.0[SPARSE])?, self.0[EXTENDED] != 0))
    }

    fn is_ustar(&self) -> bool {
        // GNU has "ustar  \0", and no prefix
        self.0[MAGIC].starts_with(b"ustar\0")
    }

    fn field(&self, range: Range<usize>, what: &'static str) -> Result<i64, Problem> {
        number(&self.0[range]).ok_or(Problem::Number(what))
    }

    fn unsigned(&self, range: Range<usize>, what: &'static str) -> Result<u64, Problem> {
        u64::try_from(self.field(range, what)?).map_err(|_| Problem::Number(what))
    }
}

/// The longest path that a header holds.
pub(super) const NAME_MAX: usize = 100;

/// A ustar header with what fits of a member: numbers and paths that don't are left to records before it.
pub(super) fn encode(member: &super::write::Member) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |range: Range<usize>, bytes: &[u8]| {
        let length = bytes.len().min(range.len());
        block[range.start..range.start + length].copy_from_slice(&bytes[..length]);
    };
    put(NAME, &member.path);
    put(LINK, &member.link);
    put(MODE, &octal::<7>(member.mode.into()).unwrap_or_default());
    put(UID, &octal::<7>(member.uid.into()).unwrap_or_else(zero));
    put(GID, &octal::<7>(member.gid.into()).unwrap_or_else(zero));
    put(SIZE, &i64::try_from(member.size).ok().and_then(octal::<11>).unwrap_or_else(zero));
    put(MTIME, &octal::<11>(member.mtime.0).unwrap_or_else(zero));
    put(MAJOR, &octal::<7>(member.device.0.into()).unwrap_or_else(|| binary(member.device.0)));
    put(MINOR, &octal::<7>(member.device.1.into()).unwrap_or_else(|| binary(member.device.1)));
    put(MAGIC, b"ustar\x0000");
    put(TYPE..TYPE + 1, &[member.kind]);
    put(CHECKSUM, b"        ");
    let sum: i64 = block.iter().map(|&byte| i64::from(byte)).sum();
    // 512 bytes of at most 255 make a sum of 6 digits
    let digits = octal::<6>(sum).unwrap_or_default();
    block[CHECKSUM.start..CHECKSUM.start + digits.len()].copy_from_slice(&digits);
    block[CHECKSUM.start + digits.len()] = 0;
    block
}

/// A number as `DIGITS` octal digits, if it fits.
pub(super) fn octal<const DIGITS: usize>(number: i64) -> Option<Vec<u8>> {
    let text = format!("{:0DIGITS$o}", u64::try_from(number).ok()?);
    (text.len() == DIGITS).then(|| text.into_bytes())
}

fn zero() -> Vec<u8> {
    vec![b'0'; 7]
}

/// A number in the binary form of an 8-byte field.
fn binary(number: u32) -> Vec<u8> {
    [&[0x80, 0, 0, 0], &number.to_be_bytes()[..]].concat()
}

/// Pieces in a block that continues a GNU sparse header: 21 of them, and whether another block follows.
pub(super) fn sparse_block(block: &[u8; BLOCK]) -> Result<(Vec<(u64, u64)>, bool), Problem> {
    const LISTED: usize = 21 * 2 * NUMBER;
    Ok((pieces(&block[..LISTED])?, block[LISTED] != 0))
}

fn pieces(fields: &[u8]) -> Result<Vec<(u64, u64)>, Problem> {
    let unsigned = |field| number(field).and_then(|n| u64::try_from(n).ok()).ok_or(Problem::Sparse("a bad number"));
    let used = fields.chunks_exact(2 * NUMBER).filter(|pair| pair[0] != 0 || pair[NUMBER] != 0);
    used.map(|pair| Ok((unsigned(&pair[..NUMBER])?, unsigned(&pair[NUMBER..])?))).collect()
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number field; an empty one is 0.
fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(&first) if first & 0x80 != 0 => {
            // the first bit marks the form, the second is the sign
            let sign = if first & 0x40 == 0 { 0 } else { -1_i128 };
            let start = (sign << 7) | i128::from(first & 0x7f);
            let value = field[1..].iter().fold(start, |value, &byte| value << 8 | i128::from(byte));
            i64::try_from(value).ok()
        }
        _ => {
            let digits = text(field).trim_ascii();
            if digits.is_empty() {
                return Some(0);
            }
            digits.iter().try_fold(0_i64, |value, &digit| match digit {
                b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
                _ => None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_twos_complement() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777"), Some(0o7777_7777));
        assert_eq!(number(b"12x45\0\0\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 1, 0, 0, 2]), Some(0x0100_0002));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
