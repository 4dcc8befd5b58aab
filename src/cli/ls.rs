//! `cairnfs ls`

use super::context::Context;
use super::error::{Error, Result};
use super::exit::Exit;
use super::lookup::{Item, Rootfs};
use super::output::stdout_error;
use crate::control::text::escape;
use crate::format::{Content, Device, Digest, Node};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;

const EXAMPLES: &str = "\
Examples:
  cairnfs ls debian                    the root directory
  cairnfs ls -l debian /etc            modes, owners, sizes, times
  cairnfs ls -R debian /usr/share/doc  everything beneath
  cairnfs ls --json debian /etc        with digests, for scripts";

/// Lists a directory of a manifest, without mounting it.
///
/// Names are printed with control characters and bytes that aren't UTF-8 escaped as `\xNN`. The size of a directory is the sum of all
/// beneath it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A ref or digest
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Which directory or file
    #[arg(default_value = "/")]
    pub path: OsString,
    /// Mode, links, owner, group, size, time
    #[arg(short)]
    pub long: bool,
    /// Everything beneath, by path
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let store = context.open()?;
    let rootfs = Rootfs::open(&store, &args.reference)?;
    let item = rootfs.find(args.path.as_bytes())?;
    let mut lister =
        Lister { rootfs: &rootfs, args, out: BufWriter::new(std::io::stdout().lock()), values: Vec::new() };
    let json = context.out.is_json();
    match &item.node {
        Node::Dir(subtree) => lister.directory(subtree.tree, &mut Vec::new(), json)?,
        Node::Leaf(_) => lister.one(args.path.as_bytes(), &item, json)?,
    }
    let Lister { mut out, values, .. } = lister;
    out.flush().map_err(|e| stdout_error(&e))?;
    drop(out);
    if json {
        context.out.report(&json!({ "manifest": rootfs.digest, "entries": values }), String::new)?;
    }
    Ok(())
}

/// Text goes out as it comes, for a directory may be large; JSON is one document and is gathered.
struct Lister<'a, W: Write> {
    rootfs: &'a Rootfs<'a>,
    args: &'a Args,
    out: W,
    values: Vec<Value>,
}

/// Directories inside each other that a listing follows; deeper ones can't be reached by a path either.
const DEPTH_MAX: usize = 4096;

impl<W: Write> Lister<'_, W> {
    fn directory(&mut self, digest: Digest, path: &mut Vec<u8>, json: bool) -> Result<()> {
        // a stack of its own: the depth of a tree is the archive's to choose
        let mut stack = vec![(self.rootfs.tree(digest)?, 0, path.len())];
        while let Some((tree, index, length)) = stack.last_mut() {
            if *index == tree.len() {
                stack.pop();
                continue;
            }
            path.truncate(*length);
            path.extend_from_slice(tree.name(*index).as_bytes());
            let item = self.rootfs.item(tree.entry(*index))?;
            *index += 1;
            self.one(path, &item, json)?;
            if let (Node::Dir(subtree), true) = (&item.node, self.args.recursive) {
                if stack.len() == DEPTH_MAX {
                    return Err(Error::new(
                        Exit::Failed,
                        format!("more than {DEPTH_MAX} directories inside each other"),
                    )
                    .help("mount it to look deeper"));
                }
                path.push(b'/');
                stack.push((self.rootfs.tree(subtree.tree)?, 0, path.len()));
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &[u8], item: &Item, json: bool) -> Result<()> {
        if json {
            self.values.push(item.json(path));
            return Ok(());
        }
        let line = if self.args.long { long(path, item) } else { escape(path) };
        writeln!(self.out, "{line}").map_err(|e| stdout_error(&e))
    }
}

fn long(path: &[u8], item: &Item) -> String {
    let size = match &item.node {
        Node::Leaf(Content::Char(Device { major, minor }) | Content::Block(Device { major, minor })) => {
            format!("{major},{minor}")
        }
        _ => item.size().to_string(),
    };
    let target = match &item.node {
        Node::Leaf(Content::Symlink(target)) => format!(" -> {}", escape(target)),
        _ => String::new(),
    };
    let extended = if item.meta.xattrs.is_empty() { ' ' } else { '+' };
    format!(
        "{}{extended}{:>3} {:>5} {:>5} {size:>12} {:<30} {}{target}",
        item.mode_text(),
        item.nlink,
        item.meta.uid,
        item.meta.gid,
        item.mtime(),
        escape(path)
    )
}
