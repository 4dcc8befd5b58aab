//! `cairnfs diff`

use super::context::Context;
use super::error::{Doing as _, Result};
use super::mounts;
use super::target::{Target, with_layer};
use crate::snapshot;
use serde_json::{Value, json};
use std::ffi::OsString;

const EXAMPLES: &str = "\
Examples:
  cairnfs diff /mnt             of the layer mounted on /mnt; the same as `cat /mnt/.ctl/diff`
  cairnfs diff work             of the layer `work`, mounted or not
  cairnfs diff work --json

A added, M modified, D deleted. A directory that was moved is an addition and a deletion, without what lies beneath.";

/// Prints what a layer changed against its base: a letter and a path on each line.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where the layer is mounted, or its name
    #[arg(value_name = "DIR|LAYER")]
    pub target: OsString,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let doing = format!("compare `{}` with its base", args.target.display());
    let store = context.open()?;
    let lines: Vec<String> = match Target::find(context, &store, &args.target, &doing)? {
        Target::Mount(mount) => {
            let result = mounts::ask(&mount, "diff", &doing)?.result;
            result.as_array().into_iter().flatten().filter_map(|line| line.as_str().map(str::to_owned)).collect()
        }
        Target::Layer(name) => {
            let changes = with_layer(&store, &name, &doing, |holding| snapshot::diff(holding.fs()).doing(|| &doing))?;
            changes.iter().map(ToString::to_string).collect()
        }
    };
    let values: Vec<Value> = lines.iter().filter_map(|line| line.split_once(' ')).map(change).collect();
    context.out.report(&json!({ "changes": values }), || lines.iter().map(|line| format!("{line}\n")).collect())
}

fn change((change, path): (&str, &str)) -> Value {
    json!({ "change": change, "path": path })
}
