//! Whose turn it is to wait for the next request, and how.
//!
//! Waking a thread of another processor takes longer than answering most requests, above all in a virtual machine. While one program sends
//! requests densely, each right after the last was answered, the kernel would wake a thread for each. So then a single thread takes them all,
//! and watches for the next one for a moment before it goes to sleep; the others keep out of its way:
//!
//! ```text
//!            answered            dense, others wait in read(2)            ┌──────┐  quiet for a moment
//!   read(2) ─────────▶ rest ───────────────────────────────────────────▶ │ aside │ ─────────────────────▶ read(2)
//!                       │  │                                             └──────┘
//!                       │  └─ dense, all others are aside ─▶ watch ─▶ a request, or none for a moment ─▶ read(2)
//!                       └──── else ───────────────────────────────────────────────────────────────────▶ read(2)
//! ```
//! The kernel wakes those who wait in read(2) for every request, whoever watches; so nobody watches before all others are aside.
//!
//! Invariants
//! - A thread stays aside only while requests begin or end: when none has for [`QUIET`], since there are none or the one thread is held up
//!   by its request, it goes back to read(2). So nothing waits much longer for a thread than it would without turns.
//! - A mount without requests costs nothing: who watches in vain reads, and those aside go back by themselves.
//! - Watching in vain makes it rarer: the next time takes twice as many dense requests.
//! - Requests of several programs, or threads, are for all of this program's threads to take.
//!
//! Locking: none. All is counters, on which only times hang and never what is answered; a count that is seen late costs a moment.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The next request follows densely when it comes so soon after the last was answered; so long it is watched for.
const SOON: u64 = 100;
/// In microseconds, as all times here: when for so long no request began or ended, nobody stays aside.
const QUIET: u64 = 1000;
/// So many requests of one program, more than others, make it dense.
const DENSE: u32 = 16;
/// What is dense stays so for some requests that aren't: so many in a row count beyond,
const SLACK: u32 = 48;
/// against one of another program,
const OTHER: u32 = 4;
/// and against one that comes late.
const LATE: u32 = 8;
/// After each time that watching didn't pay, it takes twice as many, so many times.
const DOUBT_MAX: u32 = 8;
/// Watching pays when it has caught so many requests for one time in vain.
const PAYS: u32 = 16;
/// How often it is looked again whether there is a request, in turns of a loop that does nothing.
const PAUSE: u32 = 16;

/// The turns of one mount's threads.
#[derive(Debug)]
pub(super) struct Turns {
    /// The connection to the kernel; without it, or with a single processor, nobody watches.
    device: OnceLock<OwnedFd>,
    threads: usize,
    started: Instant,
    /// Threads that keep aside.
    aside: AtomicUsize,
    /// The thread that sent the last request it waits for.
    program: AtomicU32,
    /// When a request last began or ended.
    heard: AtomicU64,
    watched: AtomicBool,
    /// How many more requests of late were dense than not.
    row: AtomicU32,
    /// How often of late watching didn't pay.
    doubt: AtomicU32,
    /// Requests that were watched for since it was in vain.
    caught: AtomicU32,
}

/// A request is being handled; when dropped, it has been answered.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// How watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    Caught,
    InVain,
}

impl Turns {
    /// For a mount that is served by so many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            device: OnceLock::new(),
            threads,
            started: Instant::now(),
            aside: AtomicUsize::new(0),
            program: AtomicU32::new(0),
            heard: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            row: AtomicU32::new(0),
            doubt: AtomicU32::new(0),
            caught: AtomicU32::new(0),
        }
    }

    /// The connection's descriptor, for watching.
    pub(super) fn watch_on(&self, device: OwnedFd) {
        if thread::available_parallelism().is_ok_and(|processors| processors.get() > 1) {
            // A mount begins once.
            let _first = self.device.set(device);
        }
    }

    /// A request begins that `program`, by the number of its thread, waits for.
    pub(super) fn begin(&self, program: u32) -> Turn<'_> {
        let after = self.hear();
        let same = self.program.swap(program, Relaxed) == program;
        let row = self.row.load(Relaxed);
        let row = match (same, after < SOON) {
            (true, true) => (row + 1).min(self.is_dense_from() + SLACK),
            (false, _) => row.saturating_sub(OTHER),
            (true, false) => row.saturating_sub(LATE),
        };
        self.row.store(row, Relaxed);
        Turn(self)
    }

    /// A request begins that nobody waits for: the program that caused it goes on.
    pub(super) fn begin_unawaited(&self) -> Turn<'_> {
        self.hear();
        Turn(self)
    }

    /// Returns how long nothing was heard.
    fn hear(&self) -> u64 {
        let now = self.now();
        now.saturating_sub(self.heard.swap(now, Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn is_dense_from(&self) -> u32 {
        DENSE << self.doubt.load(Relaxed)
    }

    fn is_dense(&self) -> bool {
        self.row.load(Relaxed) >= self.is_dense_from()
    }

    /// A request has been answered.
    fn rest(&self) {
        self.hear();
        let Some(device) = self.device.get() else { return };
        if !self.is_dense() {
            return;
        }
        if let Some(place) = self.step_aside() {
            self.wait_aside(place);
        } else if !self.watched.swap(true, Relaxed) {
            let outcome = self.watch(device);
            self.watched.store(false, Relaxed);
            self.learn(outcome);
        }
    }

    /// The place among those aside; `None` when all others are there already.
    fn step_aside(&self) -> Option<u32> {
        let room = |aside| (aside + 1 < self.threads).then_some(aside + 1);
        let before = self.aside.fetch_update(Relaxed, Relaxed, room).ok()?;
        u32::try_from(before).ok()
    }

    fn wait_aside(&self, place: u32) {
        // One looks often; the later the others, the less it costs.
        let look = Duration::from_micros(QUIET << place.min(4));
        loop {
            thread::sleep(look);
            if !self.is_dense() || self.now().saturating_sub(self.heard.load(Relaxed)) > QUIET {
                break;
            }
        }
        self.aside.fetch_sub(1, Relaxed);
    }

    /// Waits a moment for a request, without sleeping.
    fn watch(&self, device: &OwnedFd) -> Watch {
        let until = self.now() + SOON;
        loop {
            let mut request = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
            // An error, as when the mount ends, is for read(2) to tell.
            if poll(&mut request, PollTimeout::ZERO) != Ok(0) {
                return Watch::Caught;
            }
            if self.now() >= until {
                return Watch::InVain;
            }
            (0..PAUSE).for_each(|_| std::hint::spin_loop());
        }
    }

    fn learn(&self, outcome: Watch) {
        if outcome == Watch::Caught {
            self.caught.fetch_add(1, Relaxed);
        } else if self.caught.swap(0, Relaxed) >= PAYS {
            self.doubt.store(0, Relaxed);
        } else {
            self.row.store(0, Relaxed);
            self.doubt.store((self.doubt.load(Relaxed) + 1).min(DOUBT_MAX), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Barrier;

    /// Turns of two threads that have come to be dense, on a pipe in the kernel's place.
    fn dense() -> (Turns, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let turns = Turns::new(2);
        turns.device.set(reader.into()).unwrap();
        turns.row.store(DENSE, Relaxed);
        (turns, writer)
    }

    #[test]
    fn a_request_ends_watching_and_so_does_the_end_of_the_mount() {
        let (turns, mut writer) = dense();
        let device = turns.device.get().unwrap();
        assert_eq!(turns.watch(device), Watch::InVain);
        writer.write_all(b"x").unwrap();
        assert_eq!(turns.watch(device), Watch::Caught);
        let (turns, writer) = dense();
        drop(writer);
        assert_eq!(turns.watch(turns.device.get().unwrap()), Watch::Caught);
    }

    #[test]
    fn nobody_stays_aside_while_the_other_thread_is_held_up_by_its_request() {
        let (turns, _writer) = dense();
        let (held_up, freed) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                let _turn = turns.begin(1);
                held_up.wait();
                freed.wait();
            });
            held_up.wait();
            turns.row.store(DENSE + SLACK, Relaxed);
            // Goes aside, as the other may come back at once; and returns though it doesn't.
            drop(turns.begin_unawaited());
            assert_eq!((turns.aside.load(Relaxed), turns.caught.load(Relaxed)), (0, 0));
            assert!(turns.is_dense());
            freed.wait();
        });
    }

    #[test]
    fn a_lone_thread_watches_and_others_step_aside_but_one() {
        let (turns, _writer) = dense();
        assert_eq!(turns.step_aside(), Some(0));
        assert_eq!(turns.step_aside(), None);
        assert_eq!(Turns::new(1).step_aside(), None);
    }

    #[test]
    fn what_does_not_pay_is_done_ever_more_rarely() {
        let (turns, _writer) = dense();
        assert!(turns.is_dense());
        for times in 1..=DOUBT_MAX + 1 {
            turns.learn(Watch::InVain);
            assert_eq!(turns.is_dense_from(), DENSE << times.min(DOUBT_MAX));
            assert!(!turns.is_dense());
        }
        (0..PAYS).for_each(|_| turns.learn(Watch::Caught));
        turns.learn(Watch::InVain);
        assert_eq!(turns.is_dense_from(), DENSE);
    }

    #[test]
    fn requests_of_several_programs_are_not_dense() {
        let (turns, _writer) = dense();
        turns.row.store(0, Relaxed);
        // Nothing rests here, so that nobody waits.
        let begin = |program| std::mem::forget(turns.begin(program));
        (0..4 * DENSE).for_each(|request| begin(request % 2));
        assert!(!turns.is_dense());
    }

    #[test]
    fn without_a_connection_to_watch_on_or_dense_requests_nobody_waits() {
        let turns = Turns::new(2);
        turns.row.store(DENSE, Relaxed);
        drop(turns.begin_unawaited());
        let (turns, _writer) = dense();
        turns.row.store(0, Relaxed);
        drop(turns.begin_unawaited());
        assert_eq!((turns.caught.load(Relaxed), turns.doubt.load(Relaxed), turns.aside.load(Relaxed)), (0, 0, 0));
    }
}
