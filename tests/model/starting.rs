//! The tree that every sequence starts from: nested directories, hard links across directories, holes, attributes, symbolic links, devices,
//! a setgid directory, long names.

use super::op::{CREATE, Node, On, Op, Set, Time, p};
use super::posix::Model;
use std::sync::LazyLock;

static OPS: LazyLock<Vec<Op>> = LazyLock::new(make_ops);
static MODEL: LazyLock<Model> = LazyLock::new(make_model);

/// What makes it, in an empty directory.
pub fn ops() -> &'static [Op] {
    &OPS
}

/// The model of it.
pub fn model() -> Model {
    MODEL.clone()
}

fn make_ops() -> Vec<Op> {
    let mut ops: Vec<Op> = ["a", "a/c", "a/c/d", "b", "b/c", "d", "L"].map(|dir| Op::Mkdir(p(dir), 0o755)).into();
    let files = [("a/a", 100, 1), ("a/c/a", 5000, 2), ("b/b", 3, 3), ("c", 0, 4), ("L/a", 9000, 5), ("b/L", 10, 6)];
    for (path, length, byte) in files {
        ops.extend([Op::Open(0, p(path), CREATE, 0o644), Op::Write(0, 0, length, byte), Op::Close(0)]);
    }
    // Data, a hole, data.
    ops.extend([
        Op::Open(0, p("a/b"), CREATE, 0o640),
        Op::Write(0, 0, 4096, 7),
        Op::Write(0, 60_000, 1000, 8),
        Op::Close(0),
        // One inode in three directories, one in one, and links of what isn't a file.
        Op::Link(p("a/a"), p("b/a")),
        Op::Link(p("a/a"), p("a/c/d/a")),
        Op::Link(p("b/b"), p("b/d")),
        Op::Symlink(p("a/d"), 20),
        Op::Symlink(p("L/b"), 5),
        Op::Link(p("L/b"), p("b/c/b")),
        Op::Mknod(p("L/c"), Node::Char(0, 0), 0o666),
        Op::Mknod(p("L/d"), Node::Fifo, 0o600),
        Op::Link(p("L/d"), p("a/c/b")),
        Op::Mknod(p("a/c/L"), Node::Block(259, 1_000_000), 0o660),
        Op::Chmod(On::At(p("b/c")), 0o2775),
        Op::Chown(On::At(p("b/c")), Some(1000), Some(2000)),
        Op::Chmod(On::At(p("c")), 0o4755),
        Op::SetXattr(On::At(p("a/c/a")), "user.one".into(), 30, b'v', Set::Any),
        Op::SetXattr(On::At(p("a/a")), "trusted.two".into(), 200, b'w', Set::Any),
        Op::SetXattr(On::At(p("b")), "user.one".into(), 1, b'x', Set::Any),
        Op::SetXattr(On::At(p("a/d")), "trusted.two".into(), 2, b'y', Set::Any),
    ]);
    let mut model = Model::new();
    for op in &ops {
        model.apply(op);
    }
    for (number, (path, _)) in model.paths().into_iter().enumerate() {
        let time = Time::To(1_500_000_000 + number as i64, 123_456_789);
        ops.push(Op::Utimens(On::At(path), time, time));
    }
    ops
}

fn make_model() -> Model {
    let mut model = Model::new();
    for op in ops() {
        model.apply(op);
    }
    model.start_clock();
    model
}
