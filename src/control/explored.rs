//! The engine, explored. See `locks::explored`.

use super::backend::{Backend, Outcome};
use super::engine::Engine;
use super::fake::Fake;
use super::stats::Figures;
use crate::format::RefName;
use crate::fuse::ControlError;
use crate::locks::Mutex;
use crate::locks::explored::{explore, together};
use crate::store::Course;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What must never run beside another of its kind, nor after the mount has ended.
#[derive(Default)]
struct Watched {
    ended: AtomicBool,
    running: AtomicUsize,
    step: Mutex<()>,
    fake: Fake,
}

impl Watched {
    fn change(&self) -> Result<Outcome, ControlError> {
        assert!(!self.ended.load(Ordering::SeqCst), "the store is changed after the mount has ended");
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "two commands change the store at once");
        drop(self.step.lock()); // others may run here
        assert!(!self.ended.load(Ordering::SeqCst), "the mount ended under a command");
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(Outcome { message: String::new(), result: Value::Null })
    }
}

impl Backend for Watched {
    fn figures(&self) -> Figures {
        self.fake.figures()
    }
    fn config(&self) -> Value {
        Value::Null
    }
    fn diff(&self) -> Result<Vec<u8>, ControlError> {
        Ok(Vec::new())
    }
    fn gc(&self, _: bool, _: Option<Duration>) -> Result<Outcome, ControlError> {
        self.change()
    }
    fn snapshot(&self, _: &RefName, _: &Arc<Course>) -> Result<Outcome, ControlError> {
        self.change()
    }
    fn sync(&self) -> Result<(), ControlError> {
        Ok(())
    }
}

/// `turn` and `open`: snapshots and collections one at a time, and none once the mount has ended; the slots are given back.
#[test]
fn snapshot_against_collection_against_the_end_of_the_mount() {
    explore(
        || (),
        |_| {
            let watched = Arc::new(Watched::default());
            let engine = Engine::new(watched.clone());
            let run = |line: &'static [u8]| -> Box<dyn FnOnce() + Send> {
                let engine = engine.clone();
                Box::new(move || match engine.run(line).1 {
                    Ok(()) | Err(ControlError::Busy(_)) => {}
                    Err(error) => panic!("{error}"),
                })
            };
            let (closing, ended) = (engine.clone(), watched.clone());
            let end = move || {
                closing.close();
                ended.ended.store(true, Ordering::SeqCst);
            };
            together(vec![run(b"snapshot one"), run(b"gc"), run(b"snapshot two"), Box::new(end)]);
            assert!(matches!(engine.run(b"gc").1, Err(ControlError::Busy(_))));
            assert!(engine.is_idle(), "a slot isn't given back");
        },
    );
}
