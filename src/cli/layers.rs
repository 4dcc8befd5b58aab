//! `cairnfs layers`, and describing a layer for `show`.

use super::context::Context;
use super::error::{Doing as _, Error, Result};
use super::mounts;
use super::output::Table;
use crate::control::text::{escape, escape_path};
use crate::format::RefName;
use crate::store::{LayerConfig, LayerMode, MountInfo, Store, StoreError};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt as _;

const EXAMPLES: &str = "\
Examples:
  cairnfs layers
  cairnfs layers --json | jq -r '.layers[] | select(.mountpoint == null) | .name'
  cairnfs rm layer work           remove one with all that was written to it";

/// Lists layers: what each stands on, and where it is mounted.
///
/// One whose description can't be read is listed as unreadable, with exit code 5; with --json it has an `error`, and nothing else but its name. So is a
/// folder that was copied or renamed by hand, and what can't be a layer by its name.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

pub(super) fn run(context: &Context, _: &Args) -> Result<()> {
    let store = context.open()?;
    let mounts = mounts::list(&store)?;
    let refs = store.refs().doing(|| "list the refs")?;
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    let (names, odd) = store.layer_names().doing(|| "list the layers")?;
    for name in names {
        match store.layer(&name) {
            Ok(config) => all.push(Described::new(config, &mounts, &refs)),
            // It was removed meanwhile.
            Err(StoreError::NoLayer { .. }) => {}
            Err(error) => {
                let what = match &error {
                    StoreError::CopiedLayer { of, .. } => format!("copy of {of}"),
                    _ => "unreadable".to_owned(),
                };
                unreadable.push((name.to_string(), what, Error::of("read a layer", &error)));
            }
        }
    }
    unreadable.extend(odd.into_iter().map(|path| {
        let name = escape(path.file_name().unwrap_or_default().as_bytes());
        (name, "no layer".to_owned(), Error::of("list a layer", &StoreError::NotLayer { path }))
    }));
    let mut values: Vec<Value> = all.iter().map(Described::json).collect();
    values.extend(unreadable.iter().map(|(name, _, error)| json!({ "name": name, "error": error })));
    context.out.report(&json!({ "layers": values }), || {
        let mut table = Table::new(&["NAME", "BASE", "BASE REF", "CREATED", "PROJECT", "MOUNTED ON"]);
        for layer in &all {
            table.row([
                layer.config.name.to_string(),
                layer.config.base.short(),
                layer.refs_text(),
                layer.config.created_at.clone(),
                layer.config.project.clone().unwrap_or_else(|| "-".into()),
                layer.mountpoint().unwrap_or_else(|| "-".into()),
            ]);
        }
        for (name, what, _) in &unreadable {
            let none = || "-".to_owned();
            table.row([name.clone(), what.clone(), none(), none(), none(), none()]);
        }
        table.text("no layers; `cairnfs mount REF DIR --layer NAME` makes one")
    })?;
    unreadable.into_iter().next().map_or(Ok(()), |(_, _, error)| Err(error))
}

/// A layer with what the rest of the store says of it.
pub(super) struct Described {
    pub config: LayerConfig,
    mount: Option<MountInfo>,
    base_refs: Vec<RefName>,
}

impl Described {
    /// Finds its mount and the refs that name its base.
    pub(super) fn new(config: LayerConfig, mounts: &[MountInfo], refs: &[(RefName, crate::format::Digest)]) -> Self {
        let has_it = |mount: &&MountInfo| mount.alive && mount.record.layer.as_ref() == Some(&config.name);
        let mount = mounts.iter().find(has_it).cloned();
        let base_refs =
            refs.iter().filter(|(_, digest)| *digest == config.base).map(|(name, _)| name.clone()).collect();
        Self { config, mount, base_refs }
    }

    /// Of one layer of the store.
    pub(super) fn of(store: &Store, config: LayerConfig) -> Result<Self> {
        let refs = store.refs().doing(|| "list the refs")?;
        Ok(Self::new(config, &mounts::list(store)?, &refs))
    }

    fn mountpoint(&self) -> Option<String> {
        self.mount.as_ref().map(|mount| escape_path(&mount.record.mountpoint))
    }

    fn refs_text(&self) -> String {
        let names: Vec<&str> = self.base_refs.iter().map(RefName::as_str).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        let config = &self.config;
        json!({
            "name": config.name,
            "base": config.base,
            "base_refs": self.base_refs,
            "last_snapshot": config.parent,
            "mode": mode(config.mode),
            "project": config.project,
            "quota": config.quota,
            "created_at": config.created_at,
            "mountpoint": self.mountpoint(),
            "pid": self.mount.as_ref().map(|mount| mount.record.pid),
        })
    }

    /// As text.
    pub(super) fn text(&self) -> String {
        let config = &self.config;
        let none = || "none".to_owned();
        let mode = match config.mode {
            LayerMode::Overlay => "kept",
            LayerMode::Tmpfs => "in memory",
        };
        let lines = [
            ("layer", config.name.to_string()),
            ("base", config.base.to_string()),
            ("base refs", self.refs_text()),
            ("snapshot", config.parent.map_or_else(none, |digest| digest.to_string())),
            ("mode", mode.to_owned()),
            ("project", config.project.clone().unwrap_or_else(none)),
            ("created", config.created_at.clone()),
            ("mounted on", self.mountpoint().unwrap_or_else(|| "nowhere".to_owned())),
        ];
        lines.into_iter().map(|(key, value)| format!("{key:<12}{value}\n")).collect()
    }
}

/// Where writes go, in the words of `mounts`.
fn mode(mode: LayerMode) -> &'static str {
    match mode {
        LayerMode::Overlay => "layer",
        LayerMode::Tmpfs => "tmpfs",
    }
}
