//! `cairnfs mount`, and the mount(8) helper.
//!
//! ```text
//! options  -o, one parser for the command line, mount(8) and fstab      daemon   going into the background
//! helper   mount.fuse.cairnfs REF DIR [-sfnv] [-o OPTS]                 serve    what the mount's process does
//! remount  other flags for a mount that is there
//! ```
//! All ways make a [`Plan`]; it is carried out in this process (`-f`) or in one in the background, which is a fork of this one.

mod daemon;
pub(super) mod helper;
mod options;
mod remount;
mod serve;

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::{Exit, MOUNT_HELP};
use super::output::Output;
use super::{log, mounts};
use crate::format::LayerName;
use crate::fuse;
use crate::store::{MountInfo, MountRecord, Store};
use daemon::Side;
use options::Options;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  cairnfs mount debian /mnt                        read-only
  cairnfs mount debian /mnt --layer work           writable; the layer `work` keeps what changes
  cairnfs mount debian /mnt --tmpfs                writable; the unmount drops what changed
  cairnfs mount debian /mnt -f -v                  in the foreground, with a log
  mount -t fuse.cairnfs debian /mnt -o layer=work  by mount(8), once /sbin/mount.fuse.cairnfs is a
                                                   link to this program

In /etc/fstab:
  debian  /mnt  fuse.cairnfs  store=/var/lib/cairnfs,layer=work  0 0";

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}\n\n{MOUNT_HELP}", options::HELP)
}

/// Mounts a manifest as a root filesystem; read-only, or with a layer that takes what is written.
///
/// The command returns when the mount answers; a process in the background serves it until it is unmounted. SIGTERM and SIGINT make
/// that process put everything on disk and unmount. A layer is made when it isn't there, and stands on one manifest all its life.
/// `.ctl` at the root of the mount shows figures and takes commands.
#[derive(clap::Args, Debug)]
#[command(after_long_help = after_help())]
pub struct Args {
    /// What to mount: a ref or digest
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Where
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Write to this layer; made when it isn't there
    #[arg(long, value_name = "NAME", conflicts_with = "tmpfs")]
    pub layer: Option<LayerName>,
    /// Write to memory, dropped at the unmount
    #[arg(long)]
    pub tmpfs: bool,
    /// Stay in the foreground, and log to standard error
    #[arg(short, long)]
    pub foreground: bool,
    /// Mount options; `--help` lists them
    #[arg(short, value_name = "OPTIONS")]
    pub options: Vec<String>,
    /// The project that a new layer counts for
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
}

/// Where writes go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Write {
    Nowhere,
    Layer(LayerName),
    Memory,
}

impl Write {
    fn new(layer: Option<LayerName>, tmpfs: bool) -> Result<Self> {
        match (layer, tmpfs) {
            (Some(_), true) => Err(Error::new(Exit::Usage, "a mount writes to a layer or to memory, not to both")
                .help("leave out one of `layer` and `tmpfs`")),
            (Some(name), false) => Ok(Self::Layer(name)),
            (None, true) => Ok(Self::Memory),
            (None, false) => Ok(Self::Nowhere),
        }
    }
}

/// All that a mount is told.
#[derive(Debug, Clone)]
struct Plan {
    store: PathBuf,
    reference: String,
    mountpoint: PathBuf,
    write: Write,
    project: Option<String>,
    options: Options,
    log: Option<String>,
    verbose: u8,
}

pub(super) fn run(context: &Context, args: Args) -> Result<()> {
    let plan = Plan::new(context, &args)?;
    match args.foreground {
        _ if plan.options.remount => {
            remount::run(&plan)?;
            let value = serde_json::json!({ "mountpoint": plan.mountpoint, "read_only": plan.options.read_only });
            context.out.done(&value, || format!("{} has other options now", plan.mountpoint.display()))
        }
        true => {
            plan.clear_dead(context.out)?;
            log::start(plan.log.as_deref(), plan.verbose, true)?;
            serve::in_foreground(&plan)
        }
        false => {
            plan.clear_dead(context.out)?;
            let Some(record) = plan.start()? else { return Ok(()) };
            let value = mounts::value(&MountInfo { record, alive: true });
            context.out.done(&value, || {
                format!("`{}` is mounted on {}{}", plan.reference, plan.mountpoint.display(), plan.with())
            })
        }
    }
}

impl Plan {
    fn new(context: &Context, args: &Args) -> Result<Self> {
        let mut options = Options::default();
        args.options.iter().try_for_each(|text| options.add(text))?;
        let layer = args.layer.clone().or_else(|| options.layer.clone());
        let given = context.global.store.clone().or_else(|| options.store.clone());
        Ok(Self {
            store: absolute(&given.unwrap_or_else(Store::default_path))?,
            reference: args.reference.clone(),
            mountpoint: absolute(&args.dir)?,
            write: Write::new(layer, args.tmpfs || options.tmpfs)?,
            project: args.project.clone().or_else(|| options.project.clone()),
            log: context.global.log.clone().or_else(|| options.log.clone()),
            verbose: context.global.verbose,
            options,
        })
    }

    /// Clears away a mount whose process has died: nothing can be mounted over it, and nothing acknowledged is lost with it.
    fn clear_dead(&self, out: Output) -> Result<()> {
        // A mountpoint that isn't there is told where it is used.
        let Ok(path) = mounts::resolve(&self.mountpoint) else { return Ok(()) };
        if fuse::clear_dead(&path).doing(|| format!("clear away the dead mount on {}", path.display()))? {
            out.warn(&format!(
                "the process of a former mount on {} had died; that mount was cleared away",
                path.display()
            ));
        }
        Ok(())
    }

    /// Mounts in a process in the background; returns when the mount answers. That process returns from here too, with `None`: at the mount's end.
    fn start(&self) -> Result<Option<MountRecord>> {
        let store = Store::open(&self.store).doing(|| self.doing())?;
        let id = store.new_mount_id();
        match daemon::start(store, id)? {
            Side::Command(record) => Ok(Some(*record)),
            Side::Background(background, id) => {
                log::start(self.log.as_deref(), self.verbose, true)?;
                serve::in_background(self, id, background)?;
                Ok(None)
            }
        }
    }

    /// For error messages: what couldn't be done.
    fn doing(&self) -> String {
        format!("mount `{}` on {}", self.reference, self.mountpoint.display())
    }

    fn with(&self) -> String {
        match &self.write {
            Write::Nowhere => ", read-only".to_owned(),
            Write::Layer(name) => format!(" with layer `{name}`"),
            Write::Memory => ", writes go to memory".to_owned(),
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).doing(|| format!("find {}", path.display()))
}
