//! Paths as chains of names that share their beginnings, so that carrying one costs nothing until it is shown.

use super::ShownPath;
use std::sync::Arc;

/// The path of a directory below the root of what is read or written. Cheap to clone, whatever its depth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(Option<Arc<Step>>);

#[derive(Debug)]
struct Step {
    parent: Trail,
    name: Box<[u8]>,
}

impl Trail {
    /// The path of `name` in this directory.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        Self(Some(Arc::new(Step { parent: self.clone(), name: name.into() })))
    }

    /// The bytes, names joined by `/`; empty for the root.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self;
        while let Self(Some(step)) = at {
            names.push(&*step.name);
            at = &step.parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// For errors.
    pub(crate) fn shown(&self) -> ShownPath {
        ShownPath::new(&self.bytes())
    }
}

impl Drop for Step {
    // one after the other: dropped by recursion, a deep chain would exhaust the stack
    fn drop(&mut self) {
        let mut next = self.parent.0.take();
        while let Some(step) = next {
            next = Arc::into_inner(step).and_then(|mut step| step.parent.0.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_and_deep_ones_can_be_dropped() {
        assert_eq!(Trail::default().join(b"a").join(b"b").bytes(), b"a/b");
        let deep = (0..1_000_000).fold(Trail::default(), |trail, _| trail.join(b"d"));
        let copy = deep.clone();
        drop(deep);
        assert_eq!(copy.bytes().len(), 1_999_999);
    }
}
