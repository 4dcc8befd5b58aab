//! Import of archives.
/// x
#[derive(Debug, thiserror::Error)]
pub enum Problem {}
/// x
#[derive(Debug)]
pub enum Compression {}
impl Compression {
    pub(super) fn name(&self) -> Option<&'static str> {
        None
    }
}
