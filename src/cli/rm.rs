//! `cairnfs rm`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::mounts;
use crate::format::{LayerName, RefName};
use crate::store::{Store, StoreError};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  cairnfs rm ref debian               the ref; `cairnfs refs undo debian` brings it back
  cairnfs rm layer work --dry-run     say what would go
  cairnfs rm layer work               the layer and all that was written to it, for good

What nothing names any more is removed by `cairnfs gc`.";

/// Removes a ref or a layer.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// What to remove
    #[command(subcommand)]
    pub what: What,
}

/// What to remove.
#[derive(clap::Subcommand, Debug)]
pub enum What {
    /// A ref; what it named stays until a collection
    #[command(after_long_help = "Examples:\n  cairnfs rm ref web/base")]
    Ref {
        /// The ref
        name: RefName,
        /// Only say what would go
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// A layer, with all that was written to it
    #[command(after_long_help = "Examples:\n  cairnfs rm layer work --dry-run\n  cairnfs rm layer work")]
    Layer {
        /// The layer
        name: LayerName,
        /// Only say what would go
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let store = context.open()?;
    match &args.what {
        What::Ref { name, dry_run } => remove_ref(context, &store, name, *dry_run),
        What::Layer { name, dry_run } => remove_layer(context, &store, name, *dry_run),
    }
}

fn remove_ref(context: &Context, store: &Store, name: &RefName, dry_run: bool) -> Result<()> {
    let doing = || format!("remove ref `{name}`");
    let digest = if dry_run { store.resolve_ref(name) } else { store.remove_ref(name) }.doing(doing)?;
    let can_undo = dry_run || store.can_undo_ref(name).doing(doing)?;
    let value = json!({ "name": name, "manifest": digest, "dry_run": dry_run, "undo": can_undo });
    let short = digest.short();
    context.out.done(&value, || match (dry_run, can_undo) {
        (true, _) => format!("would remove ref {name}, which names {short}"),
        (false, true) => format!("removed ref {name}, which named {short}; `cairnfs refs undo {name}` brings it back"),
        (false, false) => format!(
            "removed ref {name}, which named {digest}; there was no room to remember that, so it can't be undone: once there is room, \
             `cairnfs refs set {name} {short}` does the same until a collection"
        ),
    })
}

fn remove_layer(context: &Context, store: &Store, name: &LayerName, dry_run: bool) -> Result<()> {
    let doing = || format!("remove layer `{name}`");
    // One whose description is damaged can be removed too: nothing else gets rid of it.
    let base = match store.described_layer(name) {
        Ok(config) => Some(config.base),
        Err(StoreError::BadLayer { .. }) => None,
        Err(error) => return Err(error).doing(doing),
    };
    if let Some(mount) = mounts::of_layer(store, name)? {
        let dir = mount.record.mountpoint.display();
        let why = format!("it is mounted on {dir} by process {}", mount.record.pid);
        return Err(Error::new(Exit::Refused, format!("can't {}", doing()))
            .because(why)
            .help(format!("`cairnfs umount {dir}` first")));
    }
    if !dry_run {
        store.remove_layer(name).doing(doing)?;
    }
    let value = json!({ "name": name, "base": base, "dry_run": dry_run });
    let done = if dry_run { "would remove" } else { "removed" };
    context.out.done(&value, || match base {
        Some(base) => format!("{done} layer {name} on {}, and all that was written to it", base.short()),
        None => format!(
            "{done} layer {name}, and all that was written to it; its description can't be read, so nobody can tell what it stood on: \
             `cairnfs gc` removes that too if no ref names it and no other layer stands on it"
        ),
    })
}
