//! Runs commands, one at a time, each in a thread of its own.
//!
//! A caller that waits gets the result; a detached command's result is the last reply once it ends. A command that panics fails alone.
//! A snapshot is cancelled by a command, and by the end of the mount: it may have terabytes to hash, and the layer has to come free.
//! Once it is closed, nothing changes the store or the layer any more.
//! Locking: `turn` is held while a command that changes something runs; `last` and `running` only to copy. None is taken by a filesystem
//! operation. A snapshot is in `running` before it looks at `open`, and `end` closes `open` before it looks at `running`: one sees the other.

use super::backend::{Backend, Outcome};
use super::command::{Command, HELP, Request};
use super::reply::{Done, Failure, Reply};
use crate::format::RefName;
use crate::fuse::ControlError;
use crate::locks::{self, Mutex, MutexGuard};
use crate::store::Course;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long the end of a mount waits for those who were told a result to have read it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Commands that may run or wait at once; more are told to come back.
const WAITING_MAX: usize = 16;

/// Runs the commands of one mount.
pub struct Engine {
    backend: Arc<dyn Backend>,
    turn: Mutex<()>,
    open: AtomicBool,
    waiting: AtomicUsize,
    /// Clients that still have to be answered.
    answers: AtomicUsize,
    /// The snapshot that runs.
    running: Mutex<Option<Arc<Course>>>,
    last: Mutex<Reply>,
}

/// A client that waits for an answer.
pub(super) struct Answering(Arc<Engine>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine {
    /// An engine over `backend`.
    pub fn new(backend: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            backend,
            turn: Mutex::new(()),
            open: AtomicBool::new(true),
            waiting: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            running: Mutex::new(None),
            last: Mutex::new(Reply::None),
        })
    }

    /// What it acts on.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Cancels the snapshot that runs, and lets nothing begin that changes something: the mount is to end.
    pub fn end(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cancel();
    }

    /// The same, and waits until nothing runs that changes something, and for a while until all have been told what became of their commands.
    pub fn close(&self) {
        self.end();
        drop(self.turn.lock());
        let until = Instant::now() + ANSWERED_WITHIN;
        while self.answers.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A client waits for an answer, until what is returned is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.answers.fetch_add(1, Ordering::SeqCst);
        Answering(Arc::clone(self))
    }

    /// Cancels the snapshot that runs; `false` when none does.
    fn cancel(&self) -> bool {
        let running = self.running.lock().clone();
        running.inspect(|course| course.stop()).is_some()
    }

    fn snapshot(&self, name: &RefName) -> Result<Outcome, ControlError> {
        let _turn = self.turn()?;
        let course = Arc::new(Course::default());
        let _running = Running::new(self, &course);
        if !self.open.load(Ordering::SeqCst) {
            return Err(ending());
        }
        self.backend.snapshot(name, &course)
    }

    fn turn(&self) -> Result<MutexGuard<'_, ()>, ControlError> {
        let turn = self.turn.lock();
        match self.open.load(Ordering::SeqCst) {
            true => Ok(turn),
            false => Err(ending()),
        }
    }

    /// The last result, or the detached command under way.
    pub fn last(&self) -> Reply {
        self.last.lock().clone()
    }

    /// Runs one line, remembers its result as the last, and returns it with the error that made it fail.
    pub fn run(self: &Arc<Self>, line: &[u8]) -> (Reply, Result<(), ControlError>) {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        let started = Instant::now();
        let done = |result: Result<Outcome, ControlError>| finish(&text, started, result);
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(error) => return self.remember(done(Err(error))),
        };
        let Some(slot) = Slot::take(self) else {
            let message = format!("{WAITING_MAX} commands are running or waiting; try again when one has ended");
            return self.remember(done(Err(ControlError::Busy(message))));
        };
        if !request.detached {
            return self.remember(done(in_thread(slot, request.command)));
        }
        *self.last.lock() = Reply::Running { command: text.clone() };
        let engine = Arc::clone(self);
        let spawned = locks::spawn("command", move || {
            let result = in_thread(slot, request.command);
            engine.remember(finish(&text, started, result))
        });
        match spawned {
            Ok(_) => (self.last(), Ok(())),
            Err(error) => {
                let error = ControlError::Failed(format!("can't start a thread for the command: {error}"));
                self.remember(finish(&String::from_utf8_lossy(line), started, Err(error)))
            }
        }
    }

    /// Whether no command runs or waits.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    fn remember(&self, (done, result): (Done, Result<(), ControlError>)) -> (Reply, Result<(), ControlError>) {
        let reply = Reply::Done(done);
        *self.last.lock() = reply.clone();
        (reply, result)
    }

    fn execute(&self, command: &Command) -> Result<Outcome, ControlError> {
        let say = |message: &str, result: Value| Ok(Outcome { message: message.to_owned(), result });
        match command {
            Command::Gc { dry_run, grace } => {
                let _turn = self.turn()?;
                self.backend.gc(*dry_run, *grace)
            }
            Command::Snapshot(name) => self.snapshot(name),
            Command::Cancel => match self.cancel() {
                true => say("the snapshot that is being taken is cancelled", Value::Null),
                false => Err(ControlError::NotFound("no snapshot is being taken".to_owned())),
            },
            Command::Sync => {
                self.backend.sync()?;
                say("all changes are on disk", Value::Null)
            }
            Command::Stats => say("figures of the mount", self.backend.figures().json()),
            Command::Config => say("how it is mounted", self.backend.config()),
            Command::Diff => {
                let text = String::from_utf8_lossy(&self.backend.diff()?).into_owned();
                let lines: Vec<&str> = text.lines().collect();
                say(&format!("{} changes against the base", lines.len()), json!(lines))
            }
            Command::Help => {
                let all: Vec<Value> =
                    HELP.iter().map(|(form, what)| json!({ "command": form, "does": what })).collect();
                say("the commands", json!(all))
            }
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("last", &self.last).finish_non_exhaustive()
    }
}

fn finish(text: &str, started: Instant, result: Result<Outcome, ControlError>) -> (Done, Result<(), ControlError>) {
    let duration_seconds = started.elapsed().as_secs_f64();
    let command = text.to_owned();
    match result {
        Ok(Outcome { message, result }) => {
            (Done { command, ok: true, code: None, message, result, duration_seconds }, Ok(()))
        }
        Err(error) => {
            let (code, message) = (Some(Failure::from(&error)), error.to_string());
            (Done { command, ok: false, code, message, result: Value::Null, duration_seconds }, Err(error))
        }
    }
}

fn ending() -> ControlError {
    ControlError::Busy("the mount is ending".to_owned())
}

/// A snapshot that can be cancelled, until dropped.
struct Running<'a>(&'a Engine);

impl<'a> Running<'a> {
    fn new(engine: &'a Engine, course: &Arc<Course>) -> Self {
        *engine.running.lock() = Some(Arc::clone(course));
        Self(engine)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() = None;
    }
}

/// A place among the commands that run or wait, given back when dropped.
struct Slot(Arc<Engine>);

impl Slot {
    fn take(engine: &Arc<Engine>) -> Option<Self> {
        let took =
            engine.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < WAITING_MAX).then_some(n + 1));
        took.ok().map(|_| Self(Arc::clone(engine)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A thread of its own, so that a command that panics is one failed command and not a lost request thread.
fn in_thread(slot: Slot, command: Command) -> Result<Outcome, ControlError> {
    let thread = locks::spawn("command", move || slot.0.execute(&command));
    let joined = thread.map_err(|e| ControlError::Failed(format!("can't start a thread for the command: {e}")))?.join();
    joined.unwrap_or_else(|_| {
        Err(ControlError::Failed("the command stopped by a fault of the program; see the log".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn code(reply: &Reply) -> Option<Failure> {
        match reply {
            Reply::Done(done) => done.code,
            _ => None,
        }
    }

    #[test]
    fn a_failure_is_returned_and_remembered() {
        let engine = Engine::new(Arc::new(Fake::default()));
        assert_eq!(engine.last(), Reply::None);
        let (reply, result) = engine.run(b"snapshot gone");
        assert!(matches!(result, Err(ControlError::Refused(_))));
        assert_eq!(code(&reply), Some(Failure::Refused));
        assert_eq!(engine.last(), reply);
        let (reply, result) = engine.run(b"gc\n");
        assert!(result.is_ok());
        assert!(reply.line().contains("\"ok\":true"));
    }

    #[test]
    fn a_panic_fails_the_command_alone() {
        let engine = Engine::new(Arc::new(Fake::default()));
        assert!(matches!(engine.run(b"snapshot panic").1, Err(ControlError::Failed(_))));
        assert!(engine.run(b"gc").1.is_ok());
    }

    #[test]
    fn nothing_runs_once_it_is_closed() {
        let engine = Engine::new(Arc::new(Fake::default()));
        engine.close();
        assert!(matches!(engine.run(b"gc").1, Err(ControlError::Busy(_))));
        assert!(engine.run(b"stats").1.is_ok());
    }

    #[test]
    fn a_snapshot_that_runs_is_cancelled_by_a_command_and_by_the_end_of_the_mount() {
        let engine = Engine::new(Arc::new(Fake::default()));
        assert!(matches!(engine.run(b"cancel").1, Err(ControlError::NotFound(_))));
        let long = |end: &dyn Fn()| {
            std::thread::scope(|scope| {
                let snapshot = scope.spawn(|| engine.run(b"snapshot long").1);
                while engine.running.lock().is_none() {
                    std::thread::yield_now();
                }
                end();
                assert!(matches!(snapshot.join().unwrap(), Err(ControlError::Cancelled(_))));
            });
        };
        long(&|| assert!(engine.run(b"cancel").1.is_ok()));
        assert!(matches!(engine.run(b"cancel").1, Err(ControlError::NotFound(_))));
        long(&|| engine.close());
        assert!(matches!(engine.run(b"snapshot long").1, Err(ControlError::Busy(_))));
    }

    #[test]
    fn a_detached_command_is_seen_running_and_then_done() {
        let fake = Arc::new(Fake::default());
        let engine = Engine::new(fake.clone());
        let gate = fake.gate.lock();
        let (reply, result) = engine.run(b"gc async");
        assert!(result.is_ok());
        assert_eq!(reply, Reply::Running { command: "gc async".into() });
        for _ in 1..WAITING_MAX {
            assert!(engine.run(b"gc async").1.is_ok());
        }
        assert!(matches!(engine.run(b"gc async").1, Err(ControlError::Busy(_))));
        drop(gate);
        while engine.waiting.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        assert!(engine.run(b"sync").1.is_ok());
    }
}
