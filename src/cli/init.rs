//! `cairnfs init`

use super::context::Context;
use super::error::{Doing as _, Result};
use crate::control::text::escape_path;
use crate::store::Store;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  cairnfs init                          the default store
  cairnfs --store /data/store init      elsewhere; CAIRNFS_STORE names it for later commands";

/// Makes a store, or checks the one that is there.
///
/// Running it again is harmless: an existing store is opened and left as it is. Put a store on a filesystem that can share blocks (xfs,
/// btrfs): imports and writes to large files then copy nothing.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

pub(super) fn run(context: &Context, _: &Args) -> Result<()> {
    let path = context.store_path();
    let store = Store::init(&path).doing(|| format!("make a store in {}", path.display()))?;
    let shown = escape_path(store.path());
    context.out.done(&json!({ "store": shown }), || format!("the store {shown} is ready"))
}
