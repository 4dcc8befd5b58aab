//! Finding a manifest by what a person types.

use super::Store;
use super::error::{Context, Result, StoreError};
use super::layout::digest_of;
use crate::format::{Digest, RefName};
use std::fs;

/// Digits of a digest that must be given at least.
pub(super) const PREFIX_MIN: usize = 8;

impl Store {
    /// A manifest by ref name, by full digest, or by a unique prefix of at least [`PREFIX_MIN`] digits.
    pub fn resolve(&self, text: &str) -> Result<Digest> {
        if let Ok(name) = text.parse::<RefName>() {
            match self.resolve_ref(&name) {
                Err(StoreError::NoRef { .. }) => {}
                done => return done,
            }
        }
        if let Ok(digest) = text.parse::<Digest>() {
            return match self.read_manifest(digest) {
                Err(StoreError::MissingObject { .. }) => Err(self.no_ref(text)),
                // Bytes that are what the digest says are no damage: another kind of object was named.
                Err(StoreError::CorruptObject { why, .. }) if self.verify_object(digest).is_ok() => {
                    Err(StoreError::NotManifest { digest, why })
                }
                read => read.map(|_| digest),
            };
        }
        let candidates = self.with_prefix(text)?;
        let manifests: Vec<Digest> =
            candidates.into_iter().filter(|digest| self.read_manifest(*digest).is_ok()).collect();
        match *manifests {
            [digest] => Ok(digest),
            [] => Err(self.no_ref(text)),
            _ => Err(StoreError::Ambiguous { text: text.to_owned(), count: manifests.len() }),
        }
    }

    fn with_prefix(&self, text: &str) -> Result<Vec<Digest>> {
        let digits = text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
        if !digits || text.len() < PREFIX_MIN {
            return Ok(Vec::new());
        }
        let (first, rest) = text.split_at(2);
        let Ok(number) = u8::from_str_radix(first, 16) else { return Ok(Vec::new()) };
        let folder = self.layout().object_folder(number);
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).context("list", &folder)? {
            let name = entry.context("list", &folder)?.file_name();
            let name = name.to_str().filter(|name| name.starts_with(rest));
            found.extend(name.and_then(|name| digest_of(first, name)));
        }
        Ok(found)
    }

    /// The error for a name that is neither ref nor manifest.
    pub(super) fn no_ref(&self, name: &str) -> StoreError {
        let refs = self.refs().unwrap_or_default();
        StoreError::NoRef { name: name.to_owned(), near: near(name, refs.iter().map(|(name, _)| name.as_str())) }
    }
}

/// Up to three of `names` that are like `name`.
pub(super) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let allowed = (name.len() / 3).min(3);
    let close = |other: &str| {
        let contained = name.len().min(other.len()) >= 3 && (other.contains(name) || name.contains(other));
        let distance = if contained { 1 } else { distance(name, other) };
        (distance <= allowed).then_some(distance)
    };
    let mut ranked: Vec<(usize, &str)> = names.filter_map(|other| Some((close(other)?, other))).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

/// Edits that make one text the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for at in 0..other.len() {
            let replaced = diagonal + usize::from(byte != other[at]);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_near_a_mistyped_one_are_found() {
        let names = ["debian", "web/base", "alpine", "debian-12"];
        assert_eq!(near("debain", names.into_iter()), ["debian"]);
        assert_eq!(near("base", names.into_iter()), ["web/base"]);
        assert_eq!(near("a", ["b", "ab"].into_iter()), Vec::<String>::new());
        assert_eq!(near("work", ["w", "walk", "worm"].into_iter()), ["worm"]);
        assert_eq!(near("zzzz", names.into_iter()), Vec::<String>::new());
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
