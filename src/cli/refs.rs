//! `cairnfs refs`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::output::Table;
use crate::control::text::size;
use crate::format::{Digest, Manifest, RefName};
use crate::store::{Change, Operation, Store};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  cairnfs refs                       all refs
  cairnfs refs set stable debian     `stable` names what `debian` names now
  cairnfs refs history debian        what it named before
  cairnfs refs undo debian           take the last move or removal back
  cairnfs rm ref debian              remove it

A moved or removed ref can be taken back while the collector's grace period lasts.";

/// Lists refs: mutable names of manifests. Sets them, shows what became of them, takes changes back.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// What to do [default: list]
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What to do with refs.
#[derive(clap::Subcommand, Debug)]
pub enum Action {
    /// List all refs
    #[command(after_long_help = "Examples:\n  cairnfs refs list --json | jq -r '.refs[].name'")]
    List,
    /// What became of a ref, oldest first
    #[command(after_long_help = "Examples:\n  cairnfs refs history debian")]
    History {
        /// The ref, or one that was
        name: RefName,
    },
    /// Take back the last move or removal of a ref; again, the one before it
    #[command(after_long_help = "Examples:\n  cairnfs rm ref debian && cairnfs refs undo debian")]
    Undo {
        /// The ref, or one that was removed
        name: RefName,
    },
    /// Point a ref at what another ref or a digest names
    #[command(
        visible_alias = "tag",
        after_long_help = "Examples:\n  cairnfs refs set stable debian\n  cairnfs refs set debian 3b0c44298fc1"
    )]
    Set {
        /// The ref to make or move
        new: RefName,
        /// A ref or digest
        #[arg(value_name = "REF|DIGEST")]
        target: String,
    },
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let store = context.open()?;
    match &args.action {
        None | Some(Action::List) => list(context, &store),
        Some(Action::History { name }) => history(context, &store, name),
        Some(Action::Undo { name }) => undo(context, &store, name),
        Some(Action::Set { new, target }) => set(context, &store, new, target),
    }
}

fn list(context: &Context, store: &Store) -> Result<()> {
    let mut rows = Vec::new();
    for (name, digest) in store.refs().doing(|| "list the refs")? {
        let manifest = store.read_manifest(digest).doing(|| format!("read what `{name}` names"))?;
        rows.push((name, digest, manifest));
    }
    let values: Vec<Value> = rows.iter().map(|(name, digest, manifest)| value(name, *digest, manifest)).collect();
    context.out.report(&json!({ "refs": values }), || {
        let mut table = Table::new(&["NAME", "MANIFEST", "KIND", "CREATED", ">ENTRIES", ">SIZE"]);
        for (name, digest, manifest) in &rows {
            table.row([
                name.to_string(),
                digest.short(),
                json!(manifest.kind).as_str().unwrap_or_default().to_owned(),
                manifest.created_at.clone(),
                manifest.totals.entries.to_string(),
                size(manifest.totals.bytes),
            ]);
        }
        table.text("no refs; `cairnfs import SOURCE REF` makes one")
    })
}

fn value(name: &RefName, digest: Digest, manifest: &Manifest) -> Value {
    json!({
        "name": name,
        "manifest": digest,
        "kind": manifest.kind,
        "created_at": manifest.created_at,
        "parent": manifest.parent,
        "entries": manifest.totals.entries,
        "bytes": manifest.totals.bytes,
    })
}

fn history(context: &Context, store: &Store, name: &RefName) -> Result<()> {
    let changes = store.ref_history(name).doing(|| format!("read the history of `{name}`"))?;
    if changes.is_empty() {
        // a name that never was a ref: the store knows which are near it
        store.resolve_ref(name).doing(|| format!("read the history of `{name}`"))?;
    }
    let values: Vec<Value> = changes.iter().map(change_value).collect();
    context.out.report(&json!({ "name": name, "history": values }), || {
        let mut table = Table::new(&["WHEN", "WHAT", "FROM", "TO"]);
        let short = |digest: Option<Digest>| digest.map_or_else(|| "-".to_owned(), |digest| digest.short());
        for change in &changes {
            table.row([when(change), what(change).to_owned(), short(change.old), short(change.new)]);
        }
        table.text("no changes")
    })
}

fn change_value(change: &Change) -> Value {
    json!({ "changed_at": when(change), "op": what(change), "old": change.old, "new": change.new })
}

fn what(change: &Change) -> &'static str {
    match change.op {
        Operation::Set => "set",
        Operation::Remove => "remove",
        Operation::Undo => "undo",
    }
}

fn when(change: &Change) -> String {
    super::time_text(change.time_unix_ms)
}

fn undo(context: &Context, store: &Store, name: &RefName) -> Result<()> {
    let digest = store.undo_ref(name).doing(|| format!("take back the last change of `{name}`"))?;
    context.out.done(&json!({ "name": name, "manifest": digest }), || format!("{name} names {} again", digest.short()))
}

fn set(context: &Context, store: &Store, new: &RefName, target: &str) -> Result<()> {
    let doing = || format!("point `{new}` at `{target}`");
    let digest = store.resolve(target).doing(doing)?;
    // held from before the check, so that a collection can't take what the ref will name
    let writer = store.writer("refs set").doing(doing)?;
    writer.keep(digest).doing(doing)?;
    if store.resolve(target).doing(doing)? != digest {
        return Err(Error::new(Exit::Refused, format!("can't {}", doing()))
            .because("it was moved meanwhile")
            .help("run it again"));
    }
    writer.barrier().doing(doing)?;
    let old = writer.set_ref(new, digest).doing(doing)?;
    let value = json!({ "name": new, "manifest": digest, "replaced": old });
    context.out.done(&value, || match old.filter(|old| *old != digest) {
        Some(old) => format!("{new} names {} (before: {})", digest.short(), old.short()),
        None => format!("{new} names {}", digest.short()),
    })
}
