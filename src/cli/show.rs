//! `cairnfs show`

use super::context::Context;
use super::error::{Doing as _, Result};
use super::layers::Described;
use crate::control::text::size;
use crate::format::{Digest, LayerName, Manifest, RefName};
use crate::store::{Store, StoreError};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  cairnfs show debian           a ref: its manifest, parents, size, what else names it
  cairnfs show 3b0c44298fc1     the same by (a prefix of) the manifest's digest
  cairnfs show work             a layer: its base, where it is mounted";

/// Describes a ref, a manifest, or a layer.
///
/// A name that is both a ref and a layer means the ref; `--layer` asks for the layer.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A ref, a digest or at least 8 digits of its start, or a layer
    #[arg(value_name = "REF|DIGEST|LAYER")]
    pub what: String,
    /// The layer of that name
    #[arg(long)]
    pub layer: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let store = context.open()?;
    let doing = || format!("show `{}`", args.what);
    if args.layer {
        let name: LayerName = args.what.parse().doing(doing)?;
        return layer(context, &store, &name).doing(doing)?;
    }
    match store.resolve(&args.what) {
        Ok(digest) => manifest(context, &store, digest),
        // no ref: a layer perhaps; if not, the ref's error has the better suggestions
        Err(error @ StoreError::NoRef { .. }) => {
            match args.what.parse::<LayerName>().map(|name| layer(context, &store, &name)) {
                Ok(Ok(shown)) => shown,
                Ok(Err(damaged @ (StoreError::BadLayer { .. } | StoreError::CopiedLayer { .. }))) => {
                    Err(damaged).doing(doing)
                }
                _ => Err(error).doing(doing),
            }
        }
        Err(error) => Err(error).doing(doing),
    }
}

fn manifest(context: &Context, store: &Store, digest: Digest) -> Result<()> {
    let manifest = store.read_manifest(digest).doing(|| format!("show {digest}"))?;
    let refs = store.refs().doing(|| "list the refs")?;
    let refs: Vec<RefName> = refs.into_iter().filter(|(_, named)| *named == digest).map(|(name, _)| name).collect();
    let value = manifest_json(digest, &manifest, &refs);
    context.out.report(&value, || manifest_text(digest, &manifest, &refs))
}

fn manifest_json(digest: Digest, manifest: &Manifest, refs: &[RefName]) -> Value {
    json!({
        "manifest": digest,
        "name": manifest.name,
        "kind": manifest.kind,
        "created_at": manifest.created_at,
        "parent": manifest.parent,
        "refs": refs,
        "labels": manifest.labels,
        "entries": manifest.totals.entries,
        "files": manifest.totals.files,
        "bytes": manifest.totals.bytes,
        "root": manifest.root.subtree.tree,
        "links": manifest.links,
    })
}

fn manifest_text(digest: Digest, manifest: &Manifest, refs: &[RefName]) -> String {
    let totals = manifest.totals;
    let or_none = |digest: Option<Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
    let refs: Vec<&str> = refs.iter().map(RefName::as_str).collect();
    let kind = json!(manifest.kind);
    let mut lines = vec![
        ("manifest", digest.to_string()),
        ("name", manifest.name.to_string()),
        ("kind", kind.as_str().unwrap_or_default().to_owned()),
        ("created", manifest.created_at.clone()),
        ("parent", or_none(manifest.parent)),
        ("refs", if refs.is_empty() { "none".to_owned() } else { refs.join(", ") }),
        ("entries", totals.entries.to_string()),
        ("files", totals.files.to_string()),
        ("size", format!("{} ({} bytes)", size(totals.bytes), totals.bytes)),
        ("root tree", manifest.root.subtree.tree.to_string()),
        ("link table", or_none(manifest.links)),
    ];
    lines.extend(manifest.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    lines.into_iter().map(|(key, value)| format!("{key:<12}{value}\n")).collect()
}

/// The outer error: there is no such layer.
fn layer(context: &Context, store: &Store, name: &LayerName) -> std::result::Result<Result<()>, StoreError> {
    let config = store.layer(name)?;
    let described = Described::of(store, config);
    Ok(described.and_then(|described| context.out.report(&described.json(), || described.text())))
}
