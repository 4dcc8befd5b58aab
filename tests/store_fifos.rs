//! Fifos where the store has files: nobody waits for a writer that never comes.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall panic")]

mod store_util;

use cairnfs::gc::{self, Options};
use cairnfs::store::Store;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::sync::mpsc::channel;
use std::time::Duration;
use store_util::{manifest, name, put_tree, store};

/// Runs `work` on another thread; panics when it waits for ever.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(work()));
    ended.recv_timeout(Duration::from_secs(60)).expect("it waits for the fifo")
}

#[test]
fn a_fifo_holds_nobody_up() {
    for place in ["refs/fifo", "leases/fifo", "tmp/fifo", "run/fifo.json"] {
        let (folder, opened) = store();
        let writer = opened.writer("test").unwrap();
        let digest = writer.put_manifest(&manifest(put_tree(&writer, &[b"x"], None), "m", None, None)).unwrap();
        writer.set_ref(&name("kept"), digest).unwrap();
        drop(writer);
        let path = folder.path().join("store");
        mkfifo(&path.join(place), Mode::S_IRWXU).unwrap();
        let collected = ends(move || {
            let store = Store::open(&path).unwrap();
            let _listed = (store.refs().is_ok(), store.mounts().is_ok());
            let options = Options { grace: Duration::ZERO, dry_run: false, allow_no_roots: false };
            gc::collect(&store, &options, &|_| {}).is_ok()
        });
        // A ref that can't be read stops a collection. A lease that nobody holds locked is a dead one, whatever it says.
        assert_eq!(collected, !place.starts_with("refs"), "{place}");
        assert!(opened.contains(digest));
    }
}
