//! `remount`: other flags for a mount that is there.
//!
//! Only what the kernel keeps of a mount can be changed. mount(8) says again what the mount table and fstab have of it, so what is told besides
//! must be as it is, and is refused if it isn't. How it is comes from the mount itself: by `.ctl/config.json`, or over its socket.

use super::{Plan, Write};
use crate::cli::error::{Doing as _, Error, Result};
use crate::cli::exit::Exit;
use crate::cli::mounts;
use crate::fuse::{self, MountOptions};
use crate::store::Store;
use serde_json::Value;
use std::path::Path;

/// Options that the mount's process is started with.
const FIXED: [&str; 4] = ["ctl", "io", "threads", "allow_other"];

/// Gives the mount at the plan's mountpoint the flags of the plan.
pub(super) fn run(plan: &Plan) -> Result<()> {
    let doing = || format!("remount {}", plan.mountpoint.display());
    let path = mounts::resolve(&plan.mountpoint)?;
    let table = fuse::mounts().doing(doing)?;
    let is = match table.iter().rfind(|mount| mount.mountpoint == path) {
        Some(mount) => Config { source: mount.source.clone(), told: config(plan, &path) },
        None => {
            let error = Error::new(Exit::NotFound, format!("can't {}", doing()));
            return Err(error
                .because("no cairnfs is mounted there")
                .help("`cairnfs mounts` lists the mounts of the store"));
        }
    };
    if let Some(what) = is.differing(plan) {
        let error = Error::new(Exit::Refused, format!("can't {}", doing()));
        return Err(error
            .because(format!("{what} can't be changed by a remount"))
            .help("unmount it, and mount it again"));
    }
    let mut options = MountOptions::new(&plan.reference);
    // mount(8) says one of `ro` and `rw` every time; people don't.
    options.read_only = fuse::is_read_only(&path).doing(doing)?;
    plan.options.apply(&mut options)?;
    if !options.read_only && !is.takes_writes() {
        let error = Error::new(Exit::Refused, format!("can't {} with `rw`", doing()));
        return Err(error.because("there is nothing to write to: it has neither a layer nor `ctl=rw`").help(format!(
            "`cairnfs umount {0}`, then `cairnfs mount {1} {0} --layer NAME`",
            path.display(),
            is.source
        )));
    }
    fuse::remount(&path, &options).doing(doing)
}

/// How the mount at `path` is configured, by itself; `None` where it doesn't say.
fn config(plan: &Plan, path: &Path) -> Option<Value> {
    if let Ok(text) = std::fs::read(path.join(".ctl/config.json"))
        && let Ok(value) = serde_json::from_slice(&text)
    {
        return Some(value);
    }
    let store = Store::open(&plan.store).ok()?;
    let found = mounts::find_at(&store, path).ok()?.filter(|found| found.alive)?;
    mounts::ask(&found, "config", "ask the mount how it is configured").ok().map(|done| done.result)
}

/// What is known of the mount.
struct Config {
    /// The ref, by the mount table.
    source: String,
    told: Option<Value>,
}

impl Config {
    /// What it says under a key; null where it says nothing.
    fn at(&self, pointer: &str) -> &Value {
        self.told.as_ref().and_then(|told| told.pointer(pointer)).unwrap_or(&Value::Null)
    }

    /// The first thing that the plan has otherwise than the mount, or that can't be compared.
    fn differing(&self, plan: &Plan) -> Option<String> {
        let same_text = |pointer: &str, text: &str| self.at(pointer).as_str() == Some(text);
        let of = |given: &Option<String>, pointer| given.as_ref().is_none_or(|text| same_text(pointer, text));
        let store = plan.options.store.as_deref();
        let write = match &plan.write {
            Write::Nowhere => true,
            Write::Layer(name) => same_text("/layer", name.as_str()),
            Write::Memory => same_text("/mode", "tmpfs"),
        };
        let fixed = |word: &&String| {
            let (key, value) = word.split_once('=').unwrap_or((word, "true"));
            FIXED.contains(&key) && !self.has(key, value)
        };
        let named = plan.reference == self.source || same_text("/manifest", &plan.reference);
        let checks = [
            (named, format!("what is mounted, `{}`,", self.source)),
            (store.is_none_or(|store| self.is_store(store)), "`store`".to_owned()),
            (write, "where writes go (`layer`, `tmpfs`)".to_owned()),
            (of(&plan.project, "/project"), "`project`".to_owned()),
            (of(&plan.log, "/options/log"), "`log`".to_owned()),
        ];
        let differing = checks.into_iter().find_map(|(same, what)| (!same).then_some(what));
        differing.or_else(|| plan.options.words().iter().find(fixed).map(|word| format!("`{word}`")))
    }

    fn is_store(&self, store: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        self.at("/store")
            .as_str()
            .is_some_and(|told| real(Path::new(told)).is_some_and(|told| real(store) == Some(told)))
    }

    /// Whether an option that can't be changed has this value.
    fn has(&self, key: &str, value: &str) -> bool {
        match self.at(&format!("/options/{key}")) {
            Value::String(text) => text == value,
            Value::Null => key == "allow_other",
            Value::Bool(set) => value.parse() == Ok(*set),
            Value::Number(number) => number.as_u64().is_some_and(|number| value.parse() == Ok(number)),
            _ => false,
        }
    }

    /// Whether writes have somewhere to go. A mount that says nothing of itself is left to the kernel, and answers for itself.
    fn takes_writes(&self) -> bool {
        self.told.is_none() || self.at("/mode") != "ro" || self.at("/options/ctl") == "rw"
    }
}
