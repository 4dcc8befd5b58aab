//! The adapter's tables, explored on the real adapter over a real filesystem, under a kernel that is played: it keeps lookups, pages and
//! the mode of each node's opens as fuse of Linux does, and refuses what that refuses. See `locks::explored`.

use super::adapter::Adapter;
use super::backing::{Backing, Backings, Registered};
use super::errno::{Fault, Refusal};
use super::file_ops::Serve;
use super::io_mode::OpenModes;
use super::meter::Meter;
use super::nodes::Nodes;
use super::running::Running;
use super::scout::Scout;
use super::turns::Turns;
use crate::locks::explored::{explore, together};
use crate::locks::{self, MutexGuard};
use crate::vfs::explored::{CALLER, CLEAN, Case, Setting};
use fuser::{FopenFlags, OpenFlags};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

/// An open for execve(2), which wishes for passthrough also of a short blob.
const RUN: i32 = libc::O_RDONLY | 0x20;

/// What the kernel knows of a node.
#[derive(Default)]
struct Known {
    lookups: u64,
    passthrough: Option<Arc<Backing>>,
    opens: u64,
    cache: Arc<Cache>,
}

/// The cached content of a node, which is shorter than a page. Both locks are held while the daemon is asked.
#[derive(Default)]
struct Cache {
    /// `i_rwsem`: one write(2) at a time.
    writing: locks::Mutex<()>,
    /// The folio, locked; `None` unless it is up to date.
    page: locks::Mutex<Option<Vec<u8>>>,
}

struct Kernel {
    adapter: Adapter,
    known: locks::Mutex<HashMap<u64, Known>>,
}

/// An open file of a program.
struct Descriptor {
    node: u64,
    handle: u64,
    serve: Serve,
}

impl Kernel {
    fn new(setting: &Setting) -> Arc<Self> {
        let adapter = Adapter {
            fs: setting.fs.clone(),
            read_only: false,
            control: None,
            nodes: Nodes::new(true),
            modes: OpenModes::default(),
            running: Running::default(),
            backings: Backings::default(),
            meter: Meter::new(Arc::default()),
            turns: Turns::new(1),
            scout: Arc::new(Scout::new(0)),
            notifier: Arc::default(),
            passthrough: true,
            no_opendir: false,
            farewell: Arc::default(),
        };
        adapter.backings.allow();
        Arc::new(Self { adapter, known: locks::Mutex::default() })
    }

    fn with<T>(&self, node: u64, work: impl FnOnce(&mut Known) -> T) -> T {
        work(self.known.lock().entry(node).or_default())
    }

    fn cache(&self, node: u64) -> Arc<Cache> {
        self.with(node, |known| Arc::clone(&known.cache))
    }

    fn lookup(&self, case: &Case) -> u64 {
        let node = self.adapter.entry(&case.fs.attr(case.ino).unwrap()).attr.ino.0;
        // Before it is told, and so can't have forgotten it.
        assert!(self.adapter.nodes.ino(node).is_some(), "the kernel is told of a node that is no more");
        self.with(node, |known| known.lookups += 1);
        node
    }

    /// Drops all that it knows of the node by name, as when memory is short.
    fn evict(&self, node: u64) {
        let lookups = self.with(node, |known| std::mem::take(&mut known.lookups));
        if lookups > 0 {
            self.adapter.forget_node(node, lookups);
        }
    }

    /// open(2): looks the path up again when the node is out of date.
    fn open(&self, case: &Case, flags: i32) -> Descriptor {
        let register = |file: &File| file.try_clone().map(Registered::Test);
        loop {
            let node = self.lookup(case);
            let opened = self.adapter.open_file(CALLER, node, OpenFlags(flags), &register);
            let serve = match opened {
                Err(Fault::Refused(Refusal::Superseded)) => continue,
                other => other.unwrap(),
            };
            self.with(node, |known| match &serve.serve {
                Serve::Kernel(backing) => {
                    let same = known.passthrough.as_ref().is_some_and(|one| Arc::ptr_eq(one, backing));
                    assert!(known.opens == 0 || same, "EIO: the node is cached, or has another backing");
                    known.passthrough = Some(Arc::clone(backing));
                    known.opens += 1;
                }
                Serve::Daemon(_) => {
                    assert!(known.passthrough.is_none(), "EIO: the node is passed through");
                    known.opens += 1;
                }
            });
            // As `invalidate_inode_pages2`, which waits for the folio. With passthrough pages are never kept.
            if !matches!(serve.serve, Serve::Daemon(flags) if flags.contains(FopenFlags::FOPEN_KEEP_CACHE)) {
                *self.cache(node).page.lock() = None;
            }
            return Descriptor { node, handle: serve.handle, serve: serve.serve };
        }
    }

    fn read(&self, of: &Descriptor) -> Vec<u8> {
        let mut buffer = [0; 64];
        match &of.serve {
            Serve::Kernel(backing) => {
                let length = backing.file().read_at(&mut buffer, 0).unwrap();
                buffer[..length].to_vec()
            }
            Serve::Daemon(_) => {
                let cache = self.cache(of.node);
                let mut page = cache.page.lock();
                // As `fuse_read_folio`: the folio stays locked until it is filled.
                if page.is_none() {
                    let length = self.adapter.read_file(of.node, of.handle, 0, &mut buffer).unwrap();
                    *page = Some(buffer[..length].to_vec());
                }
                page.clone().unwrap()
            }
        }
    }

    fn write(&self, of: &Descriptor, bytes: &[u8]) {
        match &of.serve {
            // With the opener's rights, whatever the daemon opened the file for.
            Serve::Kernel(backing) => {
                let path = format!("/proc/self/fd/{}", backing.file().as_raw_fd());
                OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, 0).unwrap();
            }
            Serve::Daemon(_) => {
                let cache = self.cache(of.node);
                let _writing = cache.writing.lock();
                // As `fuse_fill_write_pages`: a folio that is up to date is changed first and left unlocked, any other stays locked.
                let locked: Option<MutexGuard<'_, _>> = {
                    let mut page = cache.page.lock();
                    if let Some(page) = page.as_mut() {
                        page[..bytes.len()].copy_from_slice(bytes);
                    }
                    page.is_none().then_some(page)
                };
                self.adapter.write_file((of.node, of.handle), 0, bytes, None).unwrap();
                drop(locked);
            }
        }
    }

    /// The kernel leaves the mode before it sends RELEASE.
    fn close(&self, descriptor: Descriptor) {
        self.with(descriptor.node, |known| {
            known.opens -= 1;
            if known.opens == 0 {
                known.passthrough = None;
            }
        });
        self.adapter.release_file(descriptor.node, descriptor.handle).unwrap();
    }

    /// The end: everything is forgotten, and nothing is left in any table.
    fn end(&self, case: &Case) {
        let nodes: Vec<u64> = self.known.lock().keys().copied().collect();
        for node in nodes {
            self.with(node, |known| assert_eq!(known.opens, 0));
            self.evict(node);
        }
        assert!(self.adapter.nodes.is_unused(), "nodes stay behind: {:?}", self.adapter.nodes);
        assert!(self.adapter.modes.is_unused(), "modes stay behind: {:?}", self.adapter.modes);
        case.assert_whole();
    }
}

type Task = Box<dyn FnOnce() + Send>;

fn reader(kernel: &Arc<Kernel>, case: &Case, flags: i32, written: &Arc<Mutex<bool>>, new: &[u8]) -> Task {
    let (kernel, case, written, new) = (kernel.clone(), case.clone(), written.clone(), new.to_vec());
    Box::new(move || {
        for _ in 0..2 {
            let closed_before = *written.lock().unwrap();
            let descriptor = kernel.open(&case, flags);
            // One that is passed through goes on reading what it was opened on; one that is cached has what there is.
            let cached = matches!(descriptor.serve, Serve::Daemon(_));
            let must_see = closed_before || (cached && *written.lock().unwrap());
            let content = kernel.read(&descriptor);
            assert!(content == new || content == CLEAN, "{content:?}");
            assert!(content == new || !must_see, "what a writer wrote before it closed isn't seen");
            kernel.close(descriptor);
        }
    })
}

fn writer(kernel: &Arc<Kernel>, case: &Case, written: &Arc<Mutex<bool>>) -> Task {
    let (kernel, case, written) = (kernel.clone(), case.clone(), written.clone());
    Box::new(move || {
        let descriptor = kernel.open(&case, libc::O_RDWR);
        kernel.write(&descriptor, b"N");
        assert!(kernel.read(&descriptor).starts_with(b"N"), "a write isn't read back");
        kernel.close(descriptor);
        *written.lock().unwrap() = true;
    })
}

/// `modes` > `kept`, `aliases` > `counts`, and the filesystem's locks under them: readers by passthrough and by the cache, a writer, and
/// a kernel that forgets. The kernel never answers EIO, what was written is seen, and no blob is written.
#[test]
fn opens_and_copy_up_and_forget() {
    explore(Setting::new, |setting| {
        let (case, twin) = (setting.clean(), setting.clean());
        let kernel = Kernel::new(setting);
        let written = Arc::default();
        let new = [b"N", &CLEAN[1..]].concat();
        let evicts = {
            let (kernel, case) = (kernel.clone(), case.clone());
            Box::new(move || kernel.evict(case.ino.0)) as Task
        };
        together(vec![
            reader(&kernel, &case, RUN, &written, &new),
            reader(&kernel, &case, libc::O_RDONLY, &written, &new),
            writer(&kernel, &case, &written),
            evicts,
        ]);
        for flags in [RUN, libc::O_RDONLY] {
            let descriptor = kernel.open(&case, flags);
            assert_eq!(kernel.read(&descriptor), new);
            kernel.close(descriptor);
            // Another file of the same blob.
            let descriptor = kernel.open(&twin, flags);
            assert_eq!(kernel.read(&descriptor), CLEAN, "another file's content");
            kernel.close(descriptor);
        }
        kernel.end(&case);
        twin.assert_whole();
    });
}

/// Two writers and a descriptor that holds the blob by passthrough all the while: both go to one alias.
#[test]
fn writers_beside_a_running_program() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let kernel = Kernel::new(setting);
        let runs = kernel.open(&case, RUN);
        let written = Arc::default();
        together(vec![writer(&kernel, &case, &written), writer(&kernel, &case, &written)]);
        assert_eq!(kernel.read(&runs), CLEAN, "the program changed while it ran");
        let descriptor = kernel.open(&case, libc::O_RDONLY);
        assert!(kernel.read(&descriptor).starts_with(b"N"));
        assert_ne!(descriptor.node, runs.node);
        kernel.close(descriptor);
        kernel.close(runs);
        kernel.end(&case);
    });
}

/// `modes` > `kept`: opens that come together get one backing.
#[test]
fn first_opens_of_a_node() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let kernel = Kernel::new(setting);
        let opens = || {
            let (kernel, case) = (kernel.clone(), case.clone());
            Box::new(move || {
                let descriptor = kernel.open(&case, RUN);
                assert_eq!(kernel.read(&descriptor), CLEAN);
                kernel.close(descriptor);
            }) as Task
        };
        together(vec![opens(), opens(), opens()]);
        kernel.end(&case);
    });
}

/// `aliases` > `counts`: a kernel that forgets the nodes of an inode while it is told of it again.
#[test]
fn lookups_against_the_end_of_an_alias() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let kernel = Kernel::new(setting);
        let runs = kernel.open(&case, RUN);
        let writes = kernel.open(&case, libc::O_RDWR);
        let nodes = [runs.node, writes.node];
        assert_ne!(nodes[0], nodes[1]);
        kernel.close(runs);
        kernel.close(writes);
        let evicts = |node| {
            let kernel = kernel.clone();
            Box::new(move || kernel.evict(node)) as Task
        };
        let looks = {
            let (kernel, case) = (kernel.clone(), case.clone());
            Box::new(move || {
                kernel.lookup(&case);
                let descriptor = kernel.open(&case, libc::O_RDONLY);
                assert_eq!(kernel.read(&descriptor), CLEAN);
                kernel.close(descriptor);
            }) as Task
        };
        together(vec![evicts(nodes[0]), looks, evicts(nodes[1])]);
        kernel.end(&case);
    });
}

/// Opens of what a snapshot makes a blob meanwhile.
#[test]
fn opens_against_a_snapshot() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let kernel = Kernel::new(setting);
        let old = setting.own(&case, "old");
        case.overwrite(&old).unwrap();
        let reads = |flags| {
            let (kernel, case, old) = (kernel.clone(), case.clone(), old.clone());
            Box::new(move || {
                let descriptor = kernel.open(&case, flags);
                let content = kernel.read(&descriptor);
                assert!(content == old || content == [b"N", &old[1..]].concat(), "{content:?}");
                kernel.close(descriptor);
            }) as Task
        };
        let snapshots = {
            let (setting, case) = (setting.clone(), case.clone());
            Box::new(move || drop(setting.snapshot(&case))) as Task
        };
        together(vec![reads(RUN), reads(libc::O_RDONLY), writer(&kernel, &case, &Arc::default()), snapshots]);
        let descriptor = kernel.open(&case, libc::O_RDONLY);
        assert_eq!(kernel.read(&descriptor), [b"N", &old[1..]].concat());
        kernel.close(descriptor);
        kernel.end(&case);
    });
}

/// The last close and the last forget of a file without a name come together, by several nodes.
#[test]
fn the_end_of_an_unlinked_file() {
    explore(Setting::new, |setting| {
        let case = setting.clean();
        let kernel = Kernel::new(setting);
        let runs = kernel.open(&case, RUN);
        let writes = kernel.open(&case, libc::O_RDWR);
        kernel.write(&writes, b"unseen");
        case.unlink();
        let nodes = [runs.node, writes.node];
        let mut tasks: Vec<Task> = Vec::new();
        for descriptor in [runs, writes] {
            let kernel = kernel.clone();
            tasks.push(Box::new(move || kernel.close(descriptor)));
        }
        for node in nodes {
            let kernel = kernel.clone();
            tasks.push(Box::new(move || kernel.evict(node)));
        }
        together(tasks);
        kernel.end(&case);
        case.assert_gone();
    });
}
