//! `cairnfs cat`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::lookup::Rootfs;
use super::output::stdout_error;
use crate::format::{Content, Digest, LinkTable, Manifest, Node, Tree, links_json, tree_json};
use crate::store::Store;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;

const EXAMPLES: &str = "\
Examples:
  cairnfs cat debian:/etc/os-release        a file of a manifest
  cairnfs cat debian:/etc                   a directory: its tree object as JSON
  cairnfs cat debian:                       the root directory
  cairnfs cat 3b0c44298fc1c149...           an object by its digest
  cairnfs cat --raw DIGEST | sha256sum      the bytes as they are stored";

/// Prints a file or an object of the store.
///
/// A file's content is printed as it is; trees, manifests and tables of linked inodes as JSON, unless `--raw` is given.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// REF:PATH, or an object's digest in full
    #[arg(value_name = "REF:PATH|DIGEST")]
    pub what: OsString,
    /// The stored bytes, whatever the object is
    #[arg(long)]
    pub raw: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let store = context.open()?;
    let bytes = args.what.as_bytes();
    match bytes.iter().position(|&b| b == b':') {
        Some(colon) => {
            let reference = String::from_utf8_lossy(&bytes[..colon]);
            path(context, &store, &reference, &bytes[colon + 1..], args.raw)
        }
        None => object(context, &store, &String::from_utf8_lossy(bytes), args.raw),
    }
}

fn path(context: &Context, store: &Store, reference: &str, path: &[u8], raw: bool) -> Result<()> {
    let rootfs = Rootfs::open(store, reference)?;
    let shown = String::from_utf8_lossy(path).into_owned();
    match rootfs.find(path)?.node {
        Node::Leaf(Content::File { digest, .. }) => copy(store, digest),
        Node::Dir(subtree) => {
            let bytes = store.read_object(subtree.tree).doing(|| format!("read `{shown}`"))?;
            if raw { context.out.raw(&bytes) } else { print(context, &bytes) }
        }
        Node::Leaf(other) => {
            let error = Error::new(Exit::Failed, format!("can't print `{shown}`"));
            let why = format!("it is a {}, which has no content", other.kind().as_str());
            Err(error.because(why).help("`cairnfs ls -l` tells all of it"))
        }
    }
}

fn object(context: &Context, store: &Store, text: &str, raw: bool) -> Result<()> {
    let digest = match text.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => store.resolve(text).doing(|| format!("find an object `{text}`"))?,
    };
    let doing = || format!("read object {digest}");
    let file = store.open_object(digest).doing(doing)?;
    let size = file.metadata().doing(doing)?.len();
    let mut head = Vec::new();
    file.take(4).read_to_end(&mut head).doing(doing)?;
    // only what may have a meaning of its own is read whole; a blob may be larger than memory
    if raw || !(head == b"CRN-" || head.starts_with(b"{") && size < MANIFEST_MAX) {
        return copy(store, digest);
    }
    print(context, &store.read_object(digest).doing(doing)?)
}

/// A manifest holds labels and the root's attributes, no files: a longer JSON object is somebody's file.
const MANIFEST_MAX: u64 = 1 << 20;

/// As JSON what has a JSON form, else as it is.
fn print(context: &Context, bytes: &[u8]) -> Result<()> {
    let value = if let Ok(tree) = Tree::decode(bytes.to_vec()) {
        tree_json(&tree)
    } else if let Ok(links) = LinkTable::decode(bytes.to_vec()) {
        links_json(&links)
    } else if let (Ok(_), Ok(value)) = (Manifest::decode(bytes), serde_json::from_slice(bytes)) {
        value
    } else {
        return context.out.raw(bytes);
    };
    let mut text = serde_json::to_vec_pretty(&value).map_err(|e| stdout_error(&e.into()))?;
    text.push(b'\n');
    context.out.raw(&text)
}

/// Copies an object to standard output, piece by piece.
fn copy(store: &Store, digest: Digest) -> Result<()> {
    let doing = || format!("read object {digest}");
    let mut from = store.open_object(digest).doing(doing)?;
    let mut out = io::stdout().lock();
    let mut hasher = crate::format::Hasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = from.read(&mut buffer).doing(doing)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        out.write_all(&buffer[..length]).map_err(|e| stdout_error(&e))?;
    }
    out.flush().map_err(|e| stdout_error(&e))?;
    let found = hasher.finish();
    if found == digest {
        return Ok(());
    }
    let error = Error::new(Exit::Corrupt, format!("object {digest} is corrupt"))
        .because(format!("its bytes have the digest {found}"));
    Err(error.help("don't use what was printed; import its source again to mend the store"))
}
