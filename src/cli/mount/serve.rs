//! What the mount's process does: open everything, mount, make the mount known, serve until it is unmounted, close everything.
//!
//! Order of the beginning: lease and layer lock (`Holding`), mount, record, socket, word to the waiting command. A failure at any step
//! undoes the ones before; a layer that was made for the mount goes again.

use super::daemon::{self, Background};
use super::{Plan, Write};
use crate::cli::error::{Doing as _, Error, Result};
use crate::cli::exit::Exit;
use crate::cli::{mounts, time_text};
use crate::control::engine::Engine;
use crate::control::files::ControlDir;
use crate::control::holding::Holding;
use crate::control::mounted::Mount;
use crate::control::socket;
use crate::control::stats::Identity;
use crate::control::text::escape_path;
use crate::format::{Digest, LayerName, Timestamp};
use crate::fuse::{ControlAccess, ControlFiles, MountOptions, Mounted};
use crate::store::{LayerConfig, MountGuard, MountRecord, Store, StoreError, now_ms};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// A mount that answers, with what must live as long as it does.
struct Served {
    mounted: Mounted,
    engine: Arc<Engine>,
    holding: Arc<Holding>,
    /// `None` when the store had no room for it, or can't be written.
    guard: Option<MountGuard>,
    record: MountRecord,
}

/// Serves the mount in this process, for whoever waits for it.
pub(super) fn in_foreground(plan: &Plan) -> Result<()> {
    let store = open(plan)?;
    let id = store.new_mount_id();
    begin(plan, &store, id)?.serve(plan)
}

/// Serves the mount in the background; the waiting command is told when it answers, or why it doesn't.
pub(super) fn in_background(plan: &Plan, id: String, background: Background) -> Result<()> {
    let served = match open(plan).and_then(|store| begin(plan, &store, id)) {
        Ok(served) => served,
        Err(error) => {
            background.failed(&error);
            return Err(error);
        }
    };
    background.ready(&served.record)?;
    let log = served.record.log.clone();
    tracing::info!(mountpoint = %plan.mountpoint.display(), "mounted");
    match served.serve(plan) {
        Ok(()) => {
            // nothing in it is needed after an orderly end
            let _ = std::fs::remove_file(log);
            Ok(())
        }
        Err(error) => {
            tracing::error!("{error}");
            Err(error)
        }
    }
}

fn open(plan: &Plan) -> Result<Store> {
    Store::open(&plan.store).doing(|| plan.doing())
}

fn begin(plan: &Plan, store: &Store, id: String) -> Result<Served> {
    check_places(plan, store)?;
    forget_dead(store);
    let doing = || plan.doing();
    let manifest = store.resolve(&plan.reference).doing(doing)?;
    let purpose = format!("mounted on {}", plan.mountpoint.display());
    match &plan.write {
        Write::Nowhere => {
            let holding = Holding::read_only(store, manifest, &purpose).doing(doing)?;
            mount(plan, manifest, holding, id)
        }
        Write::Memory => {
            let holding = Holding::in_memory(store, manifest, &purpose).doing(doing)?;
            mount(plan, manifest, holding, id)
        }
        Write::Layer(name) => {
            let made = layer_for(plan, store, name, manifest)?;
            let holding = Holding::layer(store, name, &purpose).doing(doing);
            let served = holding.and_then(|holding| mount(plan, manifest, holding, id));
            if served.is_err() && made {
                // the error of the mount is the one to tell; an empty layer that stays does no harm
                let _ = store.remove_layer(name);
            }
            served
        }
    }
}

/// Clears away what processes that died left in `run/`, once their mounts are gone too.
fn forget_dead(store: &Store) {
    let (Ok(table), Ok(mounts)) = (crate::fuse::mounts(), store.mounts()) else { return };
    let seen = |place: &Path| table.iter().any(|mount| mount.mountpoint == place);
    for mount in mounts.iter().filter(|mount| !mount.alive && !seen(&mount.record.mountpoint)) {
        if let Err(error) = store.forget_dead_mount(&mount.record.id) {
            tracing::warn!(%error, "can't clear away the record of a dead mount");
        }
    }
}

/// The daemon must never need its own mount: neither for the store, nor for finding the store.
fn check_places(plan: &Plan, store: &Store) -> Result<()> {
    let (Ok(inner), Ok(outer)) = (store.path().canonicalize(), plan.mountpoint.canonicalize()) else {
        return Ok(()); // what is missing is told where it is used
    };
    if inner.starts_with(&outer) {
        let why = format!("the store {} would be hidden beneath the mount", store.path().display());
        return Err(Error::new(Exit::Refused, format!("can't {}", plan.doing()))
            .because(why)
            .help("mount in another directory"));
    }
    if outer.starts_with(&inner) {
        let why = format!("{} is inside the store", plan.mountpoint.display());
        return Err(Error::new(Exit::Refused, format!("can't {}", plan.doing()))
            .because(why)
            .help("mount in another directory"));
    }
    Ok(())
}

/// Makes the layer when it isn't there, and says whether it did; one that is there must stand on the manifest.
fn layer_for(plan: &Plan, store: &Store, name: &LayerName, manifest: Digest) -> Result<bool> {
    let doing = || plan.doing();
    match store.layer(name) {
        Ok(config) if config.base == manifest => Ok(false),
        Ok(config) => Err(other_base(plan, name, config.base, manifest)),
        Err(StoreError::NoLayer { .. }) => {
            let mut config = LayerConfig::new(name.clone(), manifest, crate::snapshot::rfc3339(Timestamp::now()));
            config.project = plan.project.clone();
            match store.create_layer(&config) {
                // somebody else made it at the same moment: whoever has its lock goes on
                Err(StoreError::LayerExists { .. }) => layer_for(plan, store, name, manifest),
                made => made.doing(doing).map(|_| true),
            }
        }
        Err(error) => Err(error).doing(doing),
    }
}

fn other_base(plan: &Plan, name: &LayerName, base: Digest, asked: Digest) -> Error {
    let why = format!("layer `{name}` stands on {}, and `{}` names {}", base.short(), plan.reference, asked.short());
    Error::new(Exit::Refused, format!("can't {}", plan.doing())).because(why).help(format!(
        "mount it on what it stands on, `cairnfs mount {} {} --layer {name}`, or choose a new layer for `{}`",
        base.short(),
        plan.mountpoint.display(),
        plan.reference
    ))
}

fn mount(plan: &Plan, manifest: Digest, holding: Holding, id: String) -> Result<Served> {
    let doing = || plan.doing();
    let holding = Arc::new(holding);
    let store = holding.store();
    let mut options = MountOptions::new(plan.reference.clone());
    options.signals = true;
    plan.options.apply(&mut options)?;
    // mount(8) says `rw` where nothing is said; without a layer there is nothing to write to but commands, and only a superblock that
    // is read-only lets the kernel keep attributes after a read
    options.read_only = plan.options.read_only || holding.fs().is_read_only() && !plan.options.commands;
    if options.read_only && options.control == ControlAccess::Rw {
        options.control = ControlAccess::Ro;
    }
    let record = record(plan, store, manifest, id);
    let config = config(plan, store, &record, &options);
    let backend =
        Mount::new(Arc::clone(&holding), Arc::clone(&options.metrics), identity(plan, store, &record), config);
    let engine = Engine::new(Arc::new(backend));
    let control = (options.control != ControlAccess::Off).then(|| {
        Arc::new(ControlDir::new(Arc::clone(&engine), options.control == ControlAccess::Rw)) as Arc<dyn ControlFiles>
    });
    let mounted = Mounted::mount(Arc::clone(holding.fs()), control, &plan.mountpoint, &options).doing(doing)?;
    let record = MountRecord { mountpoint: mounted.handle().mountpoint().to_owned(), ..record };
    let guard = make_known(plan, &holding, &engine, &record)?;
    Ok(Served { mounted, engine, holding, guard, record })
}

/// Publishes the mount's record and listens on its socket. Where the store can't be written, the mount goes on without them: it can be read
/// and written, be unmounted by umount(8), and told what to do in `.ctl`.
fn make_known(
    plan: &Plan,
    holding: &Holding,
    engine: &Arc<Engine>,
    record: &MountRecord,
) -> Result<Option<MountGuard>> {
    let attempt = || {
        let guard = holding.store().publish_mount(record)?;
        match socket::serve(&record.socket, Arc::clone(engine)) {
            Ok(()) => Ok(guard),
            Err(source) => {
                let path = record.socket.clone();
                Err(StoreError::Io { action: "make the control socket", path, source })
            }
        }
    };
    // Once: it doesn't help where inodes are what is short, and the layer needs it more.
    let mut made_room = false;
    loop {
        match attempt() {
            Err(error) if error.is_full() && !std::mem::replace(&mut made_room, true) && holding.make_room() => {}
            Err(error) if error.is_unwritable() => {
                tracing::warn!(%error, "`cairnfs mounts` doesn't know of this mount, and it has no socket; `.ctl` takes its commands");
                return Ok(None);
            }
            outcome => return outcome.doing(|| plan.doing()).map(Some),
        }
    }
}

impl Served {
    /// Serves until the mount is unmounted, and closes everything.
    fn serve(self, plan: &Plan) -> Result<()> {
        let ended = self.mounted.wait().doing(|| format!("serve the mount on {}", plan.mountpoint.display()));
        self.engine.close();
        let closed = self.holding.close().doing(|| "close the layer");
        // from here on who wants the layer waits for this process to end, which drops the layer's lock
        drop(self.guard);
        ended.and(closed)
    }
}

fn record(plan: &Plan, store: &Store, manifest: Digest, id: String) -> MountRecord {
    MountRecord {
        pid: std::process::id(),
        mountpoint: plan.mountpoint.clone(),
        reference: plan.reference.clone(),
        manifest,
        layer: if let Write::Layer(name) = &plan.write { Some(name.clone()) } else { None },
        tmpfs: plan.write == Write::Memory,
        socket: store.socket_path(&id),
        log: daemon::log_path(store, &id),
        started_unix_ms: now_ms(),
        id,
    }
}

fn identity(plan: &Plan, store: &Store, record: &MountRecord) -> Identity {
    Identity {
        mountpoint: escape_path(&record.mountpoint),
        store: escape_path(store.path()),
        reference: plan.reference.clone(),
        manifest: record.manifest.to_string(),
        mode: mounts::mode(record),
        layer: record.layer.as_ref().map(ToString::to_string),
    }
}

fn config(plan: &Plan, store: &Store, record: &MountRecord, options: &MountOptions) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "store": escape_path(store.path()),
        "ref": record.reference,
        "manifest": record.manifest,
        "mountpoint": escape_path(&record.mountpoint),
        "mode": mounts::mode(record),
        "layer": record.layer,
        "project": plan.project,
        "mounted_at": time_text(record.started_unix_ms),
        "pid": record.pid,
        "socket": escape_path(&record.socket),
        "log": escape_path(&record.log),
        "options": {
            "read_only": options.read_only,
            "suid": options.suid,
            "dev": options.dev,
            "exec": options.exec,
            "atime": options.atime,
            "allow_other": options.allow_other,
            "threads": options.threads,
            "owner": options.owner,
            "io": format!("{:?}", options.io).to_lowercase(),
            "ctl": format!("{:?}", options.control).to_lowercase(),
            "log": plan.log,
        },
    })
}
