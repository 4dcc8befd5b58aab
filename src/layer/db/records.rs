//! What is read of the database: records by their keys, each decoded; what can't be decoded is an error that names its inode.

use super::Db;
use super::handles::{STAMP, Space};
use crate::format::{Ino, Name};
use crate::layer::blocks::{self, Chunk};
use crate::layer::data::DataId;
use crate::layer::error::LayerError;
use crate::layer::record::{BadRecord, InodeRecord, NameRecord, ino_of_key, inode_key, name_key};
use std::collections::BTreeMap;

impl Db {
    /// The record of `ino`; `None` when it is clean.
    pub fn inode(&self, ino: Ino) -> Result<Option<InodeRecord>, LayerError> {
        let value = self.handles()?.inodes.get(inode_key(ino)).map_err(|e| self.failed(e))?;
        value.map(|bytes| InodeRecord::decode(&bytes).map_err(|e| self.bad(ino, e))).transpose()
    }

    /// What the layer says of `name` in `parent`; `None` when it says nothing.
    pub fn name(&self, parent: Ino, name: Name<'_>) -> Result<Option<NameRecord>, LayerError> {
        let value = self.handles()?.names.get(name_key(parent, name.as_bytes())).map_err(|e| self.failed(e))?;
        value.map(|bytes| NameRecord::decode(&bytes).map_err(|e| self.bad(parent, e))).transpose()
    }

    /// Visits every name record of `parent`, in name order.
    pub fn each_name_of(&self, parent: Ino, mut visit: impl FnMut(&[u8], NameRecord)) -> Result<(), LayerError> {
        for guard in self.handles()?.names.prefix(inode_key(parent)) {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            visit(&key[8..], NameRecord::decode(&value).map_err(|e| self.bad(parent, e))?);
        }
        Ok(())
    }

    /// Visits every inode record, by number.
    pub fn each_inode(&self, mut visit: impl FnMut(Ino, InodeRecord)) -> Result<(), LayerError> {
        for guard in self.handles()?.inodes.iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            if &*key == STAMP {
                continue;
            }
            let ino = ino_of_key(&key).map_err(|e| self.bad(Ino(0), e))?;
            visit(ino, InodeRecord::decode(&value).map_err(|e| self.bad(ino, e))?);
        }
        Ok(())
    }

    /// Visits every name record, by directory and name.
    pub fn each_name(&self, mut visit: impl FnMut(Ino, &[u8], NameRecord)) -> Result<(), LayerError> {
        for guard in self.handles()?.names.iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            if &*key == STAMP {
                continue;
            }
            let parent = ino_of_key(&key).map_err(|e| self.bad(Ino(0), e))?;
            visit(parent, &key[8..], NameRecord::decode(&value).map_err(|e| self.bad(parent, e))?);
        }
        Ok(())
    }

    /// A chunk of the blocks of a partial file; `None`: none of them are held.
    pub fn chunk(&self, id: DataId, chunk: u32) -> Result<Option<Chunk>, LayerError> {
        let value = self.handles()?.meta.get(blocks::chunk_key(id, chunk)).map_err(|e| self.failed(e))?;
        value.map(|bytes| Chunk::decode(&bytes).map_err(|e| self.bad(id.ino, e))).transpose()
    }

    /// All chunks of the blocks of a partial file.
    pub fn chunks(&self, id: DataId) -> Result<BTreeMap<u32, Chunk>, LayerError> {
        let mut all = BTreeMap::new();
        for guard in self.handles()?.meta.prefix(blocks::prefix_of(id)) {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            let (_, chunk) = blocks::parse_key(&key).ok_or_else(|| self.bad(id.ino, BadRecord::Damaged("blocks")))?;
            all.insert(chunk, Chunk::decode(&value).map_err(|e| self.bad(id.ino, e))?);
        }
        Ok(all)
    }

    /// Visits every chunk of blocks as bytes, also those that make no sense.
    pub fn each_chunk(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), LayerError> {
        for guard in self.handles()?.meta.prefix(blocks::prefix_of_all()) {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            visit(&key, &value);
        }
        Ok(())
    }

    pub(super) fn chunk_keys(&self, prefix: Vec<u8>) -> Result<Vec<Box<[u8]>>, LayerError> {
        let keys = self.handles()?.meta.prefix(prefix).map(|guard| guard.key().map(|key| (*key).into()));
        keys.collect::<fjall::Result<_>>().map_err(|e| self.failed(e))
    }

    /// Visits every key of a keyspace with its value as bytes, also those that make no sense as records.
    pub fn each_raw(&self, space: Space, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), LayerError> {
        for guard in self.handles()?.space(space).iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            if &*key != STAMP {
                visit(&key, &value);
            }
        }
        Ok(())
    }

    /// A number kept under `key`.
    pub fn meta_number(&self, key: &str) -> Result<Option<u64>, LayerError> {
        let value = self.handles()?.meta.get(key).map_err(|e| self.failed(e))?;
        value
            .map(|bytes| match bytes.first_chunk::<8>() {
                Some(number) if bytes.len() == 8 => Ok(u64::from_le_bytes(*number)),
                _ => Err(self.bad(Ino(0), BadRecord::Damaged("meta"))),
            })
            .transpose()
    }

    /// Text kept under `key`.
    pub fn meta_text(&self, key: &str) -> Result<Option<String>, LayerError> {
        let value = self.handles()?.meta.get(key).map_err(|e| self.failed(e))?;
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn bad(&self, ino: Ino, source: BadRecord) -> LayerError {
        LayerError::Record { path: self.path.clone(), ino, source }
    }
}
