//! A real mount: the `cairnfs` program serving a layer through the kernel. Killed and started again by the operations that say so.

use crate::common::process::ProcessMount;
use crate::common::wait_until;
use crate::model::bench::Bench;
use crate::model::machine::{Machine, tree_of};
use crate::model::tree::Tree;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::sync::Arc;

pub struct Daemon {
    bench: Arc<Bench>,
    options: Vec<String>,
    /// What the layer is on.
    reference: String,
    layer: String,
    /// Copies of the starting tree that this layer has used up.
    used: usize,
    clone: String,
    mount: Option<ProcessMount>,
}

impl Daemon {
    /// Mounts with `options` besides the layer.
    pub fn new(bench: &Arc<Bench>, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let bench = Arc::clone(bench);
        Self {
            used: bench.clones,
            bench,
            options,
            reference: String::new(),
            layer: String::new(),
            clone: String::new(),
            mount: None,
        }
    }

    fn at(&self) -> PathBuf {
        self.mount.as_ref().expect("mounted but while it is mounted anew").at(&self.clone)
    }

    fn start(&mut self) {
        let mut arguments = vec!["--layer", &self.layer];
        arguments.extend(self.options.iter().map(String::as_str));
        // Every second time; what was copied up before stays as it is, so layers have both.
        if self.bench.number() % 2 == 1 {
            arguments.extend(["-o", "copy=range"]);
        }
        self.mount = Some(ProcessMount::start(self.bench.store.path(), &self.reference, &arguments));
    }

    fn start_layer(&mut self, reference: String) {
        self.reference = reference;
        self.layer = format!("layer{}", self.bench.number());
        self.start();
    }

    fn take(&self) -> String {
        let name = format!("snap{}", self.bench.number());
        let control = self.mount.as_ref().expect("mounted").at(".ctl/cmd");
        std::fs::write(control, format!("snapshot {name}")).unwrap_or_else(|error| panic!("no snapshot: {error}"));
        name
    }

    fn stop(&mut self) {
        let Some(mut mount) = self.mount.take() else { return };
        // What was closed is released by the kernel in its own time.
        wait_until("the mount isn't used any more", || umount2(mount.root(), MntFlags::empty()).is_ok());
        assert!(mount.wait().success(), "the daemon ended badly");
    }
}

impl Machine for Daemon {
    fn name(&self) -> &'static str {
        "cairnfs, mounted"
    }

    fn fresh(&mut self) -> PathBuf {
        if self.used == self.bench.clones {
            self.stop();
            self.start_layer("base".to_owned());
            self.used = 0;
        }
        self.clone = Bench::clone_name(self.used);
        self.used += 1;
        self.at()
    }

    fn snapshot(&mut self) -> Option<Tree> {
        let taken = ProcessMount::start(self.bench.store.path(), &self.take(), &[]);
        Some(tree_of(&taken.at(&self.clone)))
    }

    fn new_layer(&mut self) -> PathBuf {
        let name = self.take();
        self.stop();
        self.start_layer(name);
        self.at()
    }

    fn remount(&mut self) -> PathBuf {
        self.stop();
        self.start();
        self.at()
    }

    fn crash(&mut self) -> PathBuf {
        if let Some(mut mount) = self.mount.take() {
            mount.signal(Signal::SIGKILL);
            mount.wait();
        }
        self.start();
        self.at()
    }
}
