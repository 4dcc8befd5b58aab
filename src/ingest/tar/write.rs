//! Writes members in PAX form: a ustar header, and before it an extended header with what that can't hold.

use super::header::{self, BLOCK};
use std::io::{self, Write};

/// Archives end at a multiple of this, as tapes did and readers expect.
const RECORD: u64 = 20 * BLOCK as u64;

/// A member to write.
pub(in crate::ingest) struct Member {
    pub(in crate::ingest) kind: u8,
    pub(in crate::ingest) path: Vec<u8>,
    pub(in crate::ingest) link: Vec<u8>,
    pub(in crate::ingest) mode: u16,
    pub(in crate::ingest) uid: u32,
    pub(in crate::ingest) gid: u32,
    pub(in crate::ingest) size: u64,
    pub(in crate::ingest) mtime: (i64, u32),
    pub(in crate::ingest) device: (u32, u32),
    /// Records besides those for what doesn't fit the header.
    pub(in crate::ingest) records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Member {
    pub(in crate::ingest) fn new(kind: u8, path: Vec<u8>) -> Self {
        let (link, records) = (Vec::new(), Vec::new());
        Self { kind, path, link, mode: 0, uid: 0, gid: 0, size: 0, mtime: (0, 0), device: (0, 0), records }
    }

    /// Says that the data begin with the map of a sparse file of this length. Its path moves into a record, so that a program that doesn't know
    /// the form doesn't take the data for the file.
    pub(in crate::ingest) fn make_sparse(&mut self, size: u64) {
        let placeholder = [b"GNUSparseFile.0/", base(&self.path)].concat();
        let path = std::mem::replace(&mut self.path, truncated(placeholder));
        let record = |key: &[u8], value: Vec<u8>| (key.to_vec(), value);
        self.records.push(record(b"GNU.sparse.major", b"1".to_vec()));
        self.records.push(record(b"GNU.sparse.minor", b"0".to_vec()));
        self.records.push(record(b"GNU.sparse.name", path));
        self.records.push(record(b"GNU.sparse.realsize", size.to_string().into_bytes()));
    }

    /// All records, in the order in which they are written.
    fn pax(&self) -> Vec<u8> {
        let mut pax = Vec::new();
        let (secs, nanos) = self.mtime;
        if self.path.len() > header::NAME_MAX {
            record(&mut pax, b"path", &self.path);
        }
        if self.link.len() > header::NAME_MAX {
            record(&mut pax, b"linkpath", &self.link);
        }
        if nanos != 0 || header::octal::<11>(secs).is_none() {
            record(&mut pax, b"mtime", decimal_time(secs, nanos).as_bytes());
        }
        for (key, id) in [(&b"uid"[..], self.uid), (b"gid", self.gid)] {
            if header::octal::<7>(id.into()).is_none() {
                record(&mut pax, key, id.to_string().as_bytes());
            }
        }
        if i64::try_from(self.size).ok().and_then(header::octal::<11>).is_none() {
            record(&mut pax, b"size", self.size.to_string().as_bytes());
        }
        for (key, value) in &self.records {
            record(&mut pax, key, value);
        }
        pax
    }
}

/// Writes an archive. Between `begin` and `end` come the data of a member that has any.
pub(in crate::ingest) struct TarWriter<W> {
    output: W,
    written: u64,
}

impl<W: Write> TarWriter<W> {
    pub(in crate::ingest) fn new(output: W) -> Self {
        Self { output, written: 0 }
    }

    /// Writes the headers of a member.
    pub(in crate::ingest) fn begin(&mut self, member: &Member) -> io::Result<()> {
        let pax = member.pax();
        if !pax.is_empty() {
            let mut extended = Member::new(b'x', truncated([b"PaxHeaders/", base(&member.path)].concat()));
            (extended.mode, extended.size) = (0o644, pax.len() as u64);
            self.data(&header::encode(&extended))?;
            self.data(&pax)?;
            self.end()?;
        }
        self.data(&header::encode(member))
    }

    /// Writes data of the current member.
    pub(in crate::ingest) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    /// Pads the data of the current member.
    pub(in crate::ingest) fn end(&mut self) -> io::Result<()> {
        self.pad(BLOCK as u64)
    }

    /// Ends the archive, and gives the output back.
    pub(in crate::ingest) fn finish(mut self) -> io::Result<W> {
        self.data(&[0; 2 * BLOCK])?;
        self.pad(RECORD)?;
        Ok(self.output)
    }

    fn pad(&mut self, unit: u64) -> io::Result<()> {
        while !self.written.is_multiple_of(unit) {
            let short = (unit - self.written % unit).min(BLOCK as u64) as usize;
            self.data(&[0; BLOCK][..short])?;
        }
        Ok(())
    }
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(pax: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while body + length.to_string().len() != length {
        length = body + length.to_string().len();
    }
    pax.extend_from_slice(format!("{length} ").as_bytes());
    pax.extend_from_slice(key);
    pax.push(b'=');
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

/// Seconds as a decimal fraction; before the epoch, the nanoseconds count backwards.
fn decimal_time(secs: i64, nanos: u32) -> String {
    let text = match (secs < 0, nanos) {
        (_, 0) => return secs.to_string(),
        (false, _) => format!("{secs}.{nanos:09}"),
        (true, _) => format!("-{}.{:09}", (secs + 1).unsigned_abs(), 1_000_000_000 - nanos),
    };
    text.trim_end_matches('0').to_owned()
}

/// Last component of a path, without a slash at its end.
fn base(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

fn truncated(mut path: Vec<u8>) -> Vec<u8> {
    path.truncate(header::NAME_MAX);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for (value, expected) in [(2, "7 k="), (4, "9 k="), (5, "11 k="), (93, "99 k="), (94, "101 k=")] {
            let mut pax = Vec::new();
            record(&mut pax, b"k", &vec![b'v'; value]);
            assert!(pax.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&pax));
            let length: usize = expected.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(pax.len(), length);
        }
    }

    #[test]
    fn times_before_the_epoch() {
        assert_eq!(decimal_time(5, 120_000_000), "5.12");
        assert_eq!(decimal_time(-2, 500_000_000), "-1.5");
        assert_eq!(decimal_time(-1, 250_000_000), "-0.75");
        assert_eq!(decimal_time(-7, 0), "-7");
    }
}
