//! Deciding what goes. Pure: its inputs are what was seen, its output is what is to be done.

use crate::format::Digest;
use crate::store::ObjectStat;
use std::time::Duration;

/// An object that no root reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The object.
    pub digest: Digest,
    /// Its size and age when it was seen.
    pub stat: ObjectStat,
    /// Whether it is a manifest.
    pub manifest: bool,
}

/// What is to go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// To be put into the trash, in this order: manifests first, so that a manifest that is there is whole.
    pub doomed: Vec<Candidate>,
    /// Kept for a live writer that may have put it or rely on it.
    pub young: Vec<Candidate>,
}

impl Plan {
    /// Bytes of what is to go.
    pub fn bytes(&self) -> u64 {
        self.doomed.iter().map(|candidate| candidate.stat.size).sum()
    }
}

/// Plans a collection of `unreferenced`, given since when live writers keep everything.
pub fn plan(unreferenced: Vec<Candidate>, kept_since: Option<i64>) -> Plan {
    let (young, mut doomed): (Vec<_>, Vec<_>) =
        unreferenced.into_iter().partition(|candidate| is_young(candidate.stat, kept_since));
    doomed.sort_by_key(|candidate| (!candidate.manifest, candidate.digest));
    Plan { doomed, young }
}

/// Whether a live writer may have put an object or rely on it.
pub fn is_young(stat: ObjectStat, kept_since: Option<i64>) -> bool {
    kept_since.is_some_and(|since| stat.mtime >= since)
}

/// Whether a doomed object may still go, by what is seen of it under the lock: it is there, and nobody put it anew or came to rely on it.
pub fn still_doomed(candidate: &Candidate, now: Option<ObjectStat>, kept_since: Option<i64>) -> bool {
    now == Some(candidate.stat) && !is_young(candidate.stat, kept_since)
}

/// Whether a batch in the trash is old enough to be purged. One from the time to come is not, for the clock was set back.
pub fn is_over(batch_unix_ms: u64, now_unix_ms: u64, grace: Duration) -> bool {
    grace.is_zero() || Duration::from_millis(now_unix_ms.saturating_sub(batch_unix_ms)) >= grace
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(number: u32, mtime: i64, manifest: bool) -> Candidate {
        let stat = ObjectStat { size: 1, mtime, mtime_nanos: 0 };
        Candidate { digest: Digest::of(&number.to_le_bytes()), stat, manifest }
    }

    #[test]
    fn what_a_live_writer_may_need_stays_and_manifests_go_first() {
        let all =
            vec![candidate(0, 10, false), candidate(1, 10, true), candidate(2, 20, false), candidate(3, 21, true)];
        let planned = plan(all.clone(), Some(20));
        assert_eq!(planned.young, all[2..]);
        assert_eq!(planned.doomed, [all[1], all[0]]);
        assert_eq!(plan(all, None).doomed.len(), 4);
    }

    #[test]
    fn what_changed_since_the_plan_stays() {
        let seen = candidate(0, 10, false);
        assert!(still_doomed(&seen, Some(seen.stat), None));
        assert!(still_doomed(&seen, Some(seen.stat), Some(11)));
        assert!(!still_doomed(&seen, Some(seen.stat), Some(10)));
        assert!(!still_doomed(&seen, None, None));
        assert!(!still_doomed(&seen, Some(ObjectStat { mtime_nanos: 1, ..seen.stat }), None));
        assert!(!still_doomed(&seen, Some(ObjectStat { size: 2, ..seen.stat }), None));
    }

    #[test]
    fn the_grace_period_is_kept_to_the_millisecond() {
        let grace = Duration::from_secs(600);
        assert!(!is_over(1_000_000, 1_599_999, grace));
        assert!(is_over(1_000_000, 1_600_000, grace));
        assert!(!is_over(9_000_000, 1_000_000, grace));
        assert!(is_over(9_000_000, 1_000_000, Duration::ZERO));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_young_object_goes(
            times in proptest::collection::vec((0i64..100, any::<bool>()), 0..50),
            since in proptest::option::of(0i64..100),
        ) {
            let numbered = (0u32..).zip(&times);
            let all: Vec<_> = numbered.map(|(number, &(mtime, manifest))| candidate(number, mtime, manifest)).collect();
            let planned = plan(all.clone(), since);
            prop_assert_eq!(planned.doomed.len() + planned.young.len(), all.len());
            prop_assert!(planned.doomed.iter().all(|one| since.is_none_or(|since| one.stat.mtime < since)));
            let first_other = planned.doomed.iter().position(|one| !one.manifest).unwrap_or(all.len());
            prop_assert!(planned.doomed.iter().skip(first_other).all(|one| !one.manifest));
        }
    }
}
