//! What a mount counts: each operation's number, errors and latency, and how files were opened.
//!
//! Everything is declared once, with name and meaning, in the two tables below. All counters are relaxed atomics: a snapshot is not one
//! moment, but no counter ever runs backwards.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Latency buckets: bucket 0 counts operations under 1 µs, bucket n those of 2^(n-1) µs to under 2^n µs, the last all longer ones.
pub const BUCKETS: usize = 24;

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident $name:literal $meaning:literal;)*) => {
        /// A request of the kernel.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Op { $($(#[$doc])* $variant,)* }

        const OPERATIONS: &[(&str, &str)] = &[$(($name, $meaning),)*];
    };
}

operations! {
    Lookup "lookup" "find a name in a directory";
    Forget "forget" "drop inodes that the kernel no longer knows";
    GetAttr "getattr" "read attributes";
    SetAttr "setattr" "change mode, owner, size or times";
    ReadLink "readlink" "read a symbolic link";
    MakeNode "mknod" "make a file, device, fifo or socket";
    MakeDir "mkdir" "make a directory";
    Symlink "symlink" "make a symbolic link";
    Unlink "unlink" "remove a name";
    RemoveDir "rmdir" "remove a directory";
    Rename "rename" "rename or exchange";
    Link "link" "add a name to an inode";
    Create "create" "make and open a file";
    Open "open" "open a file";
    Read "read" "read, where passthrough doesn't serve it";
    Write "write" "write, where passthrough doesn't serve it";
    Release "release" "close a file for the last time";
    Fsync "fsync" "put a file on disk";
    FsyncDir "fsyncdir" "put a directory on disk";
    ReadDir "readdir" "list a directory, with attributes";
    StatFs "statfs" "totals of the filesystem";
    GetXattr "getxattr" "read an extended attribute";
    ListXattr "listxattr" "list extended attributes";
    SetXattr "setxattr" "set an extended attribute";
    RemoveXattr "removexattr" "remove an extended attribute";
    Fallocate "fallocate" "reserve or punch";
    Seek "lseek" "find data or a hole";
    CopyRange "copy_file_range" "copy between files";
    Other "other" "requests that are left to the kernel: opendir, flush, ioctl, poll";
}

macro_rules! events {
    ($($field:ident $meaning:literal;)*) => {
        /// Counters beside the operations.
        #[derive(Debug, Default)]
        pub(super) struct Events { $(pub(super) $field: AtomicU64,)* }

        const EVENTS: &[(&str, &str, fn(&Events) -> &AtomicU64)] =
            &[$((stringify!($field), $meaning, |events| &events.$field),)*];
    };
}

events! {
    opens_passthrough "Opens whose reads and writes the kernel does on the host file itself";
    opens_cached "Opens that are read and written through the daemon and the page cache";
    backings_registered "Host files registered with the kernel for passthrough";
    backings_reused "Opens that found their host file registered already";
    backings_failed "Host files that the kernel didn't take for passthrough";
    reopens_elsewhere "Opens sent round again, for older descriptors read the former content";
    listed_ahead "Directories listed ahead of a program that walks the tree";
    panics "Requests answered EIO because of a bug in this program";
}

/// The names and meanings of the counters beside the operations.
pub fn events() -> impl Iterator<Item = (&'static str, &'static str)> {
    EVENTS.iter().map(|(name, meaning, _)| (*name, *meaning))
}

/// One operation's counters.
#[derive(Debug, Default)]
struct OpCounters {
    count: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// The counters of one mount.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    operations: Vec<OpCounters>,
    pub(super) events: Events,
}

impl Default for Metrics {
    fn default() -> Self {
        let operations = OPERATIONS.iter().map(|_| OpCounters::default()).collect();
        Self { started: Instant::now(), operations, events: Events::default() }
    }
}

/// One operation, at the moment of the snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct OpSnapshot {
    /// Stable name.
    pub name: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// Requests answered.
    pub count: u64,
    /// Of these, answered with an errno.
    pub errors: u64,
    /// Nanoseconds spent, all requests together. Many take less than a microsecond, so that whole ones would add up to nothing.
    pub nanos: u64,
    /// Requests by latency; see [`BUCKETS`].
    pub buckets: Vec<u64>,
}

/// One counter, at the moment of the snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct EventSnapshot {
    /// Stable name.
    pub name: &'static str,
    /// What is counted.
    pub meaning: &'static str,
    /// How many.
    pub count: u64,
}

/// All counters of a mount.
#[derive(Debug, Clone, Serialize)]
pub struct MetricsSnapshot {
    /// Seconds since the mount was made.
    pub uptime_seconds: u64,
    /// Every operation, used or not.
    pub operations: Vec<OpSnapshot>,
    /// Every other counter.
    pub events: Vec<EventSnapshot>,
}

impl Metrics {
    /// Counts one request and its outcome.
    pub(super) fn record(&self, op: Op, took: Duration, failed: bool) {
        let counters = &self.operations[op as usize];
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        counters.count.fetch_add(1, Relaxed);
        counters.errors.fetch_add(u64::from(failed), Relaxed);
        counters.nanos.fetch_add(nanos, Relaxed);
        counters.buckets[bucket(nanos / 1000)].fetch_add(1, Relaxed);
    }

    /// All counters now.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let operations = OPERATIONS.iter().zip(&self.operations).map(|(&(name, meaning), counters)| OpSnapshot {
            name,
            meaning,
            count: counters.count.load(Relaxed),
            errors: counters.errors.load(Relaxed),
            nanos: counters.nanos.load(Relaxed),
            buckets: counters.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
        });
        let events = EVENTS.iter().map(|&(name, meaning, counter)| EventSnapshot {
            name,
            meaning,
            count: counter(&self.events).load(Relaxed),
        });
        MetricsSnapshot {
            uptime_seconds: self.started.elapsed().as_secs(),
            operations: operations.collect(),
            events: events.collect(),
        }
    }
}

impl OpSnapshot {
    /// Within which time `percent` of the requests were answered, as exactly as the buckets tell: the upper end of the one that it
    /// falls in; that of the last, which has no end, is twice its beginning. `None` when there were no requests.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        // the counters aren't read at one instant: the total is what the buckets add up to
        let total: u64 = self.buckets.iter().sum();
        let mut sum = 0;
        let at = self.buckets.iter().position(|count| {
            sum += count;
            u128::from(sum) * 100 >= u128::from(total) * u128::from(percent)
        });
        at.filter(|_| total > 0).map(|bucket| Duration::from_micros(1 << bucket))
    }
}

impl MetricsSnapshot {
    /// The count of one event or operation by its stable name.
    pub fn count(&self, name: &str) -> Option<u64> {
        let operation = self.operations.iter().find(|op| op.name == name).map(|op| op.count);
        operation.or_else(|| self.events.iter().find(|event| event.name == name).map(|event| event.count))
    }
}

fn bucket(micros: u64) -> usize {
    let bits = (u64::BITS - micros.leading_zeros()) as usize;
    bits.min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8, 1024].map(bucket), [0, 1, 2, 2, 3, 3, 4, 11]);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn every_request_is_counted_under_its_own_name() {
        let metrics = Metrics::default();
        metrics.record(Op::Lookup, Duration::from_micros(5), false);
        metrics.record(Op::Lookup, Duration::from_micros(9), true);
        metrics.record(Op::Other, Duration::from_nanos(600), true);
        metrics.record(Op::Other, Duration::from_nanos(600), false);
        metrics.events.opens_cached.fetch_add(3, Relaxed);
        let snapshot = metrics.snapshot();
        let lookup = snapshot.operations.iter().find(|op| op.name == "lookup").unwrap();
        assert_eq!((lookup.count, lookup.errors, lookup.nanos), (2, 1, 14_000));
        assert_eq!((lookup.buckets[3], lookup.buckets[4]), (1, 1));
        let other = snapshot.operations.iter().find(|op| op.name == "other").unwrap();
        assert_eq!((other.count, other.errors, other.nanos, other.buckets[0]), (2, 1, 1200, 2));
        assert_eq!(snapshot.count("opens_cached"), Some(3));
        assert_eq!(snapshot.count("nonsense"), None);
    }

    #[test]
    fn percentiles_are_the_upper_ends_of_buckets() {
        let metrics = Metrics::default();
        let percentile = |percent| {
            let snapshot = metrics.snapshot();
            snapshot
                .operations
                .iter()
                .find(|op| op.name == "open")
                .unwrap()
                .percentile(percent)
                .map(|time| time.as_micros())
        };
        assert_eq!(percentile(50), None);
        for _ in 0..99 {
            metrics.record(Op::Open, Duration::from_micros(5), false);
        }
        assert_eq!([50, 99, 100].map(percentile), [Some(8); 3]);
        metrics.record(Op::Open, Duration::from_micros(5000), false);
        assert_eq!([50, 99, 100].map(percentile), [Some(8), Some(8), Some(8192)]);
    }
}
