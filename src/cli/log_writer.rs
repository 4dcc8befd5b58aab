//! Where log lines go: standard error, without ever failing, and not more of them than a disk bears.
//!
//! A daemon's log is a file of the store's filesystem. A line that can't be written there must not end the daemon, and requests that
//! fail over and over must not fill the disk that they fail on: beyond a burst, lines are left out and counted.

use parking_lot::Mutex;
use std::io::{self, Write};
use std::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may come at once.
const BURST: f64 = 200.0;
/// Lines a second in the long run.
const RATE: f64 = 5.0;

/// Makes writers for the subscriber.
#[derive(Debug)]
pub struct LogWriter {
    bucket: Mutex<Bucket>,
}

/// What may still be written: a token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    /// Write, after saying how many lines were left out.
    WriteAfter(u64),
    LeaveOut,
}

impl Bucket {
    fn judge(&mut self, now: Instant) -> Verdict {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * RATE).min(BURST);
        self.filled = now;
        if self.tokens < 1.0 {
            self.left_out += 1;
            return Verdict::LeaveOut;
        }
        self.tokens -= 1.0;
        match std::mem::take(&mut self.left_out) {
            0 => Verdict::Write,
            count => Verdict::WriteAfter(count),
        }
    }
}

impl LogWriter {
    /// A full bucket.
    pub fn new() -> Self {
        Self { bucket: Mutex::new(Bucket { tokens: BURST, filled: Instant::now(), left_out: 0 }) }
    }
}

/// Writes one line, or not.
#[derive(Debug)]
pub struct Line<'a>(&'a LogWriter);

impl Write for Line<'_> {
    /// Never fails: there is nobody to tell.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let verdict = self.0.bucket.lock().judge(Instant::now());
        let mut stderr = io::stderr().lock();
        if let Verdict::WriteAfter(count) = verdict {
            let _unheard = writeln!(stderr, "({count} lines were left out here)");
        }
        if verdict != Verdict::LeaveOut {
            let _unheard = stderr.write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_written_and_a_flood_is_counted() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: BURST, filled: start, left_out: 0 };
        let burst = (0..1000).filter(|_| bucket.judge(start) == Verdict::Write).count();
        assert_eq!(burst, BURST as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(bucket.judge(later), Verdict::WriteAfter(1000 - burst as u64));
        assert_eq!(bucket.judge(later), Verdict::Write);
    }
}
