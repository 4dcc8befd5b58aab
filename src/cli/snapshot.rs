//! `cairnfs snapshot`

use super::context::Context;
use super::error::{Doing as _, Result};
use super::mounts;
use super::target::{Target, with_layer};
use crate::control::mounted::summary;
use crate::format::RefName;
use serde_json::json;
use std::ffi::OsString;

const EXAMPLES: &str = "\
Examples:
  cairnfs snapshot /mnt debian-tools    of the layer mounted on /mnt, which goes on undisturbed
  cairnfs snapshot work debian-tools    of the layer `work`, mounted or not
  echo snapshot debian-tools > /mnt/.ctl/cmd

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
    #[arg(value_name = "REF")]
    pub reference: RefName,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let doing = format!("take a snapshot of `{}`", args.target.display());
    let store = context.open()?;
    match Target::find(context, &store, &args.target, &doing)? {
        Target::Mount(mount) => {
            let done = mounts::ask(&mount, &format!("snapshot {}", args.reference), &doing)?;
            context.out.done(&done.result, || done.message.clone())
        }
        Target::Layer(name) => {
            let report =
                with_layer(&store, &name, &doing, |holding| holding.snapshot(&args.reference).doing(|| &doing))?;
            context.out.done(&json!(report), || summary(&report))
        }
    }
}
