//! Makes a failing sequence shorter for as long as it still fails (delta debugging: runs of operations are left out, ever shorter ones).

use super::op::Op;
use super::posix::Fault;
use super::run::{Counts, Failure, System, play};

/// Plays at most so many; each takes milliseconds.
const ATTEMPTS: usize = 2000;

/// The shortest sequence found, and how it fails. `None` if `ops` doesn't fail when played by itself.
pub fn shrink(
    ops: &[Op],
    mut systems: impl FnMut() -> Vec<Box<dyn System>>,
    fault: Option<Fault>,
) -> Option<(Vec<Op>, Failure)> {
    let mut machines = systems();
    let mut fails = |ops: &[Op]| play(ops, &mut machines, fault, &mut Counts::default()).err();
    let mut failure = fails(ops)?;
    let mut ops = ops[..ops.len().min(failure.at + 1)].to_vec();
    let mut attempts = 0;
    let mut run = ops.len().div_ceil(2);
    while run > 0 && attempts < ATTEMPTS {
        let (mut at, mut any) = (0, false);
        while at < ops.len() && attempts < ATTEMPTS {
            let mut fewer = ops.clone();
            fewer.drain(at..ops.len().min(at + run));
            attempts += 1;
            match fails(&fewer) {
                Some(found) => (ops, failure, any) = (fewer, found, true),
                None => at += run,
            }
        }
        run = if run > 1 { run / 2 } else { usize::from(any) };
    }
    Some((ops, failure))
}

/// The sequence as code.
pub fn code(ops: &[Op]) -> String {
    let lines: String = ops.iter().map(|op| format!("    {op:?},\n")).collect();
    format!("&[\n{lines}]")
}
