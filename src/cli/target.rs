//! What `DIR|LAYER` on a command line means: a live mount, or a layer that isn't mounted.

use super::context::Context;
use super::error::{Doing as _, Result};
use super::mounts;
use crate::control::holding::Holding;
use crate::format::LayerName;
use crate::store::{MountInfo, Store};
use std::ffi::OsStr;
use std::path::Path;

/// What was meant.
pub(super) enum Target {
    /// A live mount, asked over its socket.
    Mount(Box<MountInfo>),
    /// A layer that this process opens itself.
    Layer(LayerName),
}

impl Target {
    /// A path (anything with a `/`, or `.`) is a mount; any other name is a layer if there is one, else a directory.
    pub(super) fn find(context: &Context, store: &Store, text: &OsStr, doing: &str) -> Result<Self> {
        let name = text.to_str().and_then(|text| text.parse::<LayerName>().ok());
        let Some(name) = name else {
            return Ok(Self::Mount(Box::new(mounts::at(context, Path::new(text))?)));
        };
        if let Some(mount) = mounts::of_layer(store, &name)? {
            return Ok(Self::Mount(Box::new(mount)));
        }
        match store.layer(&name) {
            Ok(_) => Ok(Self::Layer(name)),
            Err(_) if Path::new(text).is_dir() => Ok(Self::Mount(Box::new(mounts::at(context, Path::new(text))?))),
            Err(error) => Err(error).doing(|| doing.to_owned()),
        }
    }
}

/// Does something with a layer that isn't mounted, and closes it in good order.
pub(super) fn with_layer<T>(
    store: &Store,
    name: &LayerName,
    doing: &str,
    act: impl FnOnce(&Holding) -> Result<T>,
) -> Result<T> {
    let holding = Holding::layer(store, name, doing).doing(|| doing.to_owned())?;
    let done = act(&holding);
    let closed = holding.close().doing(|| format!("close layer `{name}`"));
    let done = done?;
    closed.map(|()| done)
}
