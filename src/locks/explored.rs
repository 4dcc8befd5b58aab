//! Locks and threads for tests: `parking_lot`'s and the operating system's, unless [`explore`] runs.
//!
//! Within it, a lock is two: shuttle's, which decides whose turn it is, and around the value the real one, which is then always free.
//! The locks of the database and of the store stay native: no other task runs while one of them is held.
//!
//! Protocols that span more than one lock, and what explores them
//!
//! | locks, outermost first | what must hold | test |
//! |---|---|---|
//! | stripe of `copy_locks` > `tree_lock` > `inodes` > `source` | a file is copied once; what any writer wrote stays | `vfs::explored::copies::copy_up_against_*` |
//! | `tree_lock` > `inodes` > `source` | a handle reads what is written, also beside a copy-up; a host file is that of the content it is named by | `a_reader_against_*`, `the_host_file_of_*` |
//! | `inodes` > `handles`, `source` | a data file is open for writing only while a handle is | `a_writing_file_*` |
//! | `forgotten`, `inodes`, `tree_lock` | an inode without a name is gone, whoever speaks last | `copy_up_against_unlink_*`, `names::a_write_handle_*`, `fuse::explored::the_end_*` |
//! | `tree_lock` twice: sync, then settle | a copy has its origin until it is on disk | `fsync_against_*` |
//! | `tree_lock`, then none, then `tree_lock`, with `frozen` | a snapshot is of one instant, no write is lost, no blob is written, no data file left or missing | `vfs::explored::snapshots::*` |
//! | stripe of `copy_locks` against the end of a snapshot | what a copy-up reads is there | `copy_up_against_the_end_*` |
//! | stripe of `copy_locks` > `partials` > `tree_lock` | of a file copied up by range each block comes over once, what was cut off stays off, a snapshot sees no half of a change | `vfs::explored::ranges::*` |
//! | `tree_lock` > `views` | a kept listing is that of the names there are | `names::a_kept_listing_*` |
//! | `tree_lock` > `reserved`, and `next` | names have one winner; links are counted right; no number is given twice, none that isn't reserved | the rest of `names` |
//! | shard of `modes` > `kept`; `aliases` > shard of `counts`; and all of the above beneath | the kernel never meets two backings of a node; what was written is seen; other files aren't touched; no table keeps anything | `fuse::explored` |
//! | `open`, `turn`, `waiting` | commands that change something run one at a time, and none after the end | `control::explored` |
//!
//! Single locks, or used one after the other with nothing between that has to hold: `Holding`'s (under `turn`), `ControlDir`'s handles,
//! the cache of trees, the session's farewell.

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// How many orders of each kind a protocol runs in; `CAIRNFS_TEST_SEQUENCES` says otherwise.
const ORDERS: usize = 200;
/// How often PCT lets another thread overtake: most faults need no more.
const DEPTH: usize = 3;
/// Real code runs on these stacks.
const STACK: usize = 1 << 20;

/// Runs a protocol in many orders of its threads, half of them by chance and half by probabilistic concurrency testing (PCT). `prepare` is
/// run once and makes what outlives one order; `once` runs the threads and checks what they left. A failure prints the order, which
/// `shuttle::replay` takes. `CAIRNFS_TEST_SEED` chooses other orders.
pub fn explore<S: Send + Sync + 'static>(prepare: impl FnOnce() -> S, once: impl Fn(&Arc<S>) + Send + Sync + 'static) {
    let (orders, seed) = (orders(), number("CAIRNFS_TEST_SEED").unwrap_or(1));
    let mut config = shuttle::Config::new();
    config.stack_size = STACK;
    config.silence_warnings = true;
    let (setting, once) = (Arc::new(prepare()), Arc::new(once));
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let (setting, once) = (setting.clone(), once.clone());
        shuttle::Runner::new(scheduler, config.clone()).run(move || once(&setting));
    };
    run(Box::new(RandomScheduler::new_from_seed(seed, orders)));
    run(Box::new(PctScheduler::new_from_seed(seed, DEPTH, orders)));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// How many orders of each kind a protocol runs in.
pub fn orders() -> usize {
    number("CAIRNFS_TEST_SEQUENCES").map_or(ORDERS, |orders| orders as usize)
}

/// Runs tasks side by side and waits for all of them.
pub fn together(tasks: Vec<Box<dyn FnOnce() + Send>>) {
    let tasks: Vec<_> = tasks.into_iter().map(|task| shuttle::thread::spawn(task)).collect();
    for task in tasks {
        task.join().unwrap();
    }
}

/// Whether shuttle decides here.
fn exploring() -> bool {
    shuttle::current::try_get_current_task().is_some()
}

fn whole<T>(taken: Result<T, std::sync::PoisonError<T>>) -> T {
    taken.unwrap_or_else(std::sync::PoisonError::into_inner)
}

const FREE: &str = "whoever has the turn is alone";

/// Dropped after a lock: others may run between giving it up and what comes next, which may be a file's change and take no lock.
struct Afterwards;

impl Drop for Afterwards {
    fn drop(&mut self) {
        if exploring() && !std::thread::panicking() {
            shuttle::sync::atomic::AtomicBool::new(false).load(std::sync::atomic::Ordering::SeqCst);
        }
    }
}

/// As `parking_lot::Mutex`.
#[derive(Default)]
pub struct Mutex<T> {
    turn: shuttle::sync::Mutex<()>,
    value: parking_lot::Mutex<T>,
}

/// As `parking_lot::MutexGuard`. The value goes before the turn, for giving that up lets others run.
pub struct MutexGuard<'a, T> {
    value: parking_lot::MutexGuard<'a, T>,
    _turn: Option<shuttle::sync::MutexGuard<'a, ()>>,
    _afterwards: Option<Afterwards>,
}

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Self {
        Self { turn: shuttle::sync::Mutex::new(()), value: parking_lot::Mutex::new(value) }
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        if !exploring() {
            return MutexGuard { value: self.value.lock(), _turn: None, _afterwards: None };
        }
        let turn = whole(self.turn.lock());
        MutexGuard { value: self.value.try_lock().expect(FREE), _turn: Some(turn), _afterwards: Some(Afterwards) }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// As `parking_lot::RwLock`.
#[derive(Default)]
pub struct RwLock<T> {
    turn: shuttle::sync::RwLock<()>,
    value: parking_lot::RwLock<T>,
}

/// As `parking_lot::RwLockReadGuard`.
pub struct RwLockReadGuard<'a, T> {
    value: parking_lot::RwLockReadGuard<'a, T>,
    _turn: Option<shuttle::sync::RwLockReadGuard<'a, ()>>,
    _afterwards: Option<Afterwards>,
}

/// As `parking_lot::RwLockWriteGuard`.
pub struct RwLockWriteGuard<'a, T> {
    value: parking_lot::RwLockWriteGuard<'a, T>,
    _turn: Option<shuttle::sync::RwLockWriteGuard<'a, ()>>,
    _afterwards: Option<Afterwards>,
}

impl<T> RwLock<T> {
    pub const fn new(value: T) -> Self {
        Self { turn: shuttle::sync::RwLock::new(()), value: parking_lot::RwLock::new(value) }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        if !exploring() {
            return RwLockReadGuard { value: self.value.read(), _turn: None, _afterwards: None };
        }
        let turn = whole(self.turn.read());
        RwLockReadGuard { value: self.value.try_read().expect(FREE), _turn: Some(turn), _afterwards: Some(Afterwards) }
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        if !exploring() {
            return RwLockWriteGuard { value: self.value.write(), _turn: None, _afterwards: None };
        }
        let turn = whole(self.turn.write());
        RwLockWriteGuard {
            value: self.value.try_write().expect(FREE),
            _turn: Some(turn),
            _afterwards: Some(Afterwards),
        }
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// As `std::thread::JoinHandle`.
pub enum JoinHandle<T> {
    Native(std::thread::JoinHandle<T>),
    Explored(shuttle::thread::JoinHandle<T>),
}

impl<T> JoinHandle<T> {
    pub fn join(self) -> std::thread::Result<T> {
        match self {
            Self::Native(thread) => thread.join(),
            Self::Explored(thread) => thread.join(),
        }
    }
}

/// Starts a thread, or a task of the exploration.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    if exploring() {
        return shuttle::thread::Builder::new().name(name.to_owned()).spawn(work).map(JoinHandle::Explored);
    }
    super::spawn_outside(name, work).map(JoinHandle::Native)
}

/// What explores can find: else a test that finds nothing says nothing.
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "deadlock")]
    fn two_locks_taken_in_two_orders_are_found() {
        explore(
            || (),
            |_| {
                let locks = Arc::new((Mutex::new(()), RwLock::new(())));
                let other = locks.clone();
                let forth = move || {
                    let _first = locks.0.lock();
                    drop(locks.1.read());
                };
                let back = move || {
                    let _first = other.1.write();
                    drop(other.0.lock());
                };
                together(vec![Box::new(forth), Box::new(back)]);
            },
        );
    }

    #[test]
    #[should_panic(expected = "lost")]
    fn a_lock_given_up_between_look_and_change_is_found() {
        explore(
            || (),
            |_| {
                let count = Arc::new(Mutex::new(0));
                let add = |count: Arc<Mutex<i32>>| {
                    let seen = *count.lock();
                    *count.lock() = seen + 1;
                };
                let (one, two) = (count.clone(), count.clone());
                together(vec![Box::new(move || add(one)), Box::new(move || add(two))]);
                assert_eq!(*count.lock(), 2, "lost");
            },
        );
    }

    #[test]
    fn what_a_lock_guards_is_whole() {
        explore(
            || (),
            |_| {
                let count = Arc::new(Mutex::new(0));
                let thread = |count: Arc<Mutex<i32>>| spawn("adds", move || *count.lock() += 1).unwrap();
                let (one, two) = (thread(count.clone()), thread(count.clone()));
                one.join().unwrap();
                two.join().unwrap();
                assert_eq!(*count.lock(), 2);
            },
        );
    }
}
