//! `cairnfs snapshot`

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::exit::Exit;
use super::mounts;
use super::target::{Target, with_layer};
use crate::control::mounted::summary;
use crate::control::text::escape_path;
use crate::format::RefName;
use crate::store::Store;
use serde_json::json;
use std::ffi::OsString;

const EXAMPLES: &str = "\
Examples:
  cairnfs snapshot /mnt debian-tools    of the layer mounted on /mnt, which goes on undisturbed
  cairnfs snapshot work debian-tools    of the layer `work`, mounted or not
  echo snapshot debian-tools > /mnt/.ctl/cmd
  cairnfs snapshot --cancel /mnt        whoever takes it; so does the end of the mount

Files that are open for writing at that moment are taken as they are, and named.";

/// Makes a new manifest of a layer, and points REF at it.
///
/// Only what changed is hashed and stored; the rest is shared with the base. A snapshot is all there or not at all, whenever the machine
/// stops. Its parent is the layer's last snapshot, or the base.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where the layer is mounted, or its name
    #[arg(value_name = "DIR|LAYER")]
    pub target: OsString,
    /// The ref to make or move
    #[arg(value_name = "REF", required_unless_present = "cancel")]
    pub reference: Option<RefName>,
    /// Cancel the snapshot that a mount is taking: nothing of it is published
    #[arg(long, conflicts_with = "reference")]
    pub cancel: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let doing = format!("take a snapshot of `{}`", args.target.display());
    let store = context.open()?;
    let Some(reference) = &args.reference else { return cancel(context, &store, args) };
    match Target::find(context, &store, &args.target, &doing)? {
        Target::Mount(mount) => {
            let done = mounts::ask(&mount, &format!("snapshot {reference}"), &doing)?;
            context.out.done(&done.result, || done.message.clone())
        }
        Target::Layer(name) => {
            let report = with_layer(&store, &name, &doing, |holding| holding.snapshot(reference).doing(|| &doing))?;
            context.out.done(&json!(report), || summary(&report))
        }
    }
}

fn cancel(context: &Context, store: &Store, args: &Args) -> Result<()> {
    let doing = format!("cancel the snapshot of `{}`", args.target.display());
    let Target::Mount(mount) = Target::find(context, store, &args.target, &doing)? else {
        let error = Error::new(Exit::NotFound, format!("can't {doing}")).because("the layer isn't mounted");
        return Err(error.help("a snapshot of a layer that isn't mounted ends with the command that takes it"));
    };
    let done = mounts::ask(&mount, "cancel", &doing)?;
    context.out.done(&json!({ "mountpoint": escape_path(&mount.record.mountpoint) }), || done.message.clone())
}
