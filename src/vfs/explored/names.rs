//! Names, listings and numbers.

use super::*;
use crate::vfs::{Make, RenameMode};
use std::collections::BTreeSet;

fn listing(fs: &Fs, dir: Ino) -> Vec<String> {
    let mut names = Vec::new();
    let mut each = |listed: super::super::Listed<'_>| {
        names.push(String::from_utf8(listed.name.to_vec()).unwrap());
        true
    };
    fs.read_dir(dir, 0, true, &mut each).unwrap();
    names.retain(|name| name != "." && name != "..");
    names
}

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

fn make_dir(fs: &Fs) -> Ino {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let text = format!("dir{}", NEXT.fetch_add(1, Ordering::Relaxed));
    fs.make(CALLER, Ino::ROOT, name(&text), Make::Dir, Mode::from_bits(0o755), 0).unwrap().ino
}

fn make_file(fs: &Fs, dir: Ino, text: &str) -> Result<Ino, VfsError> {
    let made = fs.create(CALLER, dir, name(text), Mode::from_bits(0o644), 0, WRITE)?;
    fs.release(made.1.handle);
    Ok(made.0.ino)
}

/// A handle for writing, whose name another file is renamed over: the other file is untouched, this one goes with its last handle.
#[test]
fn a_write_handle_against_rename_over_it() {
    explore(Setting::new, |setting| {
        let (case, other) = (setting.clean(), setting.dirty(b"other"));
        let target = case.name.clone();
        let renames = other.task(move |other| {
            let to = (other.dir, Name::new(target.as_bytes()).unwrap());
            other.fs.rename((other.dir, other.name()), to, RenameMode::Replace).unwrap();
        });
        let handle = Arc::new(std::sync::Mutex::new(None));
        let keep = handle.clone();
        let writes = case.task(move |case| {
            let opened = case.fs.open(case.ino, WRITE).unwrap();
            case.fs.write(opened.handle, 0, b"unseen").unwrap();
            assert!(case.read(opened.handle).starts_with(b"unseen"));
            *keep.lock().unwrap() = Some(opened.handle);
        });
        together(vec![writes, renames]);
        let handle = handle.lock().unwrap().take().unwrap();
        let release = case.task(move |case| case.fs.release(handle));
        together(vec![release, case.task(|case| case.fs.forget(case.ino))]);
        case.assert_gone();
        assert_eq!(case.lookup().unwrap().ino, other.ino);
        assert_eq!(other.content(), b"other");
        other.assert_whole();
    });
}

/// `tree_lock` > `views`: a listing that is kept is that of the names that are.
#[test]
fn a_kept_listing_against_create_and_unlink() {
    explore(Setting::new, |setting| {
        let fs = &setting.fs;
        let dir = make_dir(fs);
        make_file(fs, dir, "stays").unwrap();
        make_file(fs, dir, "goes").unwrap();
        let task = |work: fn(&Fs, Ino)| -> Box<dyn FnOnce() + Send> {
            let fs = fs.clone();
            Box::new(move || work(&fs, dir))
        };
        let list = |fs: &Fs, dir: Ino| {
            let names = listing(fs, dir);
            let set: BTreeSet<_> = names.iter().collect();
            assert_eq!(set.len(), names.len(), "a name twice: {names:?}");
            assert!(names.iter().any(|name| name == "stays"), "a name that never changed is missing");
        };
        together(vec![
            task(list),
            task(|fs, dir| assert!(make_file(fs, dir, "comes").is_ok())),
            task(|fs, dir| fs.unlink(dir, name("goes")).unwrap()),
            task(list),
        ]);
        let mut names = listing(fs, dir);
        names.sort();
        assert_eq!(names, ["comes", "stays"], "what is kept isn't what is");
    });
}

/// One of those who make the same name wins, and what the others made in vain leaves nothing.
#[test]
fn create_against_create_and_remove_against_create_in_it() {
    explore(Setting::new, |setting| {
        let fs = &setting.fs;
        let dir = make_dir(fs);
        let won = Arc::new(AtomicUsize::new(0));
        let create = || -> Box<dyn FnOnce() + Send> {
            let (fs, won) = (fs.clone(), won.clone());
            Box::new(move || match make_file(&fs, dir, "x") {
                Ok(_) => drop(won.fetch_add(1, Ordering::Relaxed)),
                Err(error) => assert!(matches!(error, VfsError::Exists), "{error}"),
            })
        };
        together(vec![create(), create(), create()]);
        assert_eq!(won.load(Ordering::Relaxed), 1, "winners");
        fs.unlink(dir, name("x")).unwrap();

        // Emptiness is looked at and the directory removed as one.
        let sub = fs.make(CALLER, dir, name("sub"), Make::Dir, Mode::from_bits(0o755), 0).unwrap().ino;
        let (inside, removed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (fs1, fs2, made, gone) = (fs.clone(), fs.clone(), inside.clone(), removed.clone());
        together(vec![
            Box::new(move || made.store(usize::from(make_file(&fs1, sub, "y").is_ok()), Ordering::Relaxed)),
            Box::new(move || gone.store(usize::from(fs2.rmdir(dir, name("sub")).is_ok()), Ordering::Relaxed)),
        ]);
        assert_eq!(
            inside.load(Ordering::Relaxed) + removed.load(Ordering::Relaxed),
            1,
            "a file in a removed directory"
        );
    });
}

/// The last name goes while another is made: either there is one, or the inode is gone.
#[test]
fn link_against_unlink_of_the_last_name_and_forget() {
    explore(Setting::new, |setting| {
        let case = setting.dirty(b"linked");
        let dir = make_dir(&case.fs);
        let linked = Arc::new(AtomicUsize::new(0));
        let won = linked.clone();
        let link = case.task(move |case| match case.fs.link(case.ino, dir, name("link")) {
            Ok(_) => won.store(1, Ordering::Relaxed),
            Err(error) => assert!(matches!(error, VfsError::NotFound), "{error}"),
        });
        let unlink = case.task(|case| case.fs.unlink(case.dir, case.name()).unwrap());
        together(vec![link, unlink]);
        let found = case.fs.lookup(dir, name("link")).unwrap();
        match linked.load(Ordering::Relaxed) {
            1 => assert_eq!(found.map(|attr| (attr.ino, attr.nlink)), Some((case.ino, 1))),
            _ => assert!(found.is_none()),
        }
        // Whoever was linked stays, whatever the kernel forgets; else nothing stays.
        case.fs.forget(case.ino);
        match linked.load(Ordering::Relaxed) {
            1 => assert_eq!(case.content(), b"linked"),
            _ => case.assert_gone(),
        }
        case.assert_whole();
    });
}

/// Renames of two directories into each other: one is told no, and no circle is made.
#[test]
fn rename_against_rename_both_ways() {
    explore(Setting::new, |setting| {
        let fs = &setting.fs;
        let (a, b) = (make_dir(fs), make_dir(fs));
        make_file(fs, a, "x").unwrap();
        make_file(fs, b, "x").unwrap();
        let exchange = |from: Ino, to: Ino| -> Box<dyn FnOnce() + Send> {
            let fs = fs.clone();
            Box::new(move || fs.rename((from, name("x")), (to, name("x")), RenameMode::Exchange).unwrap())
        };
        let before = (fs.lookup(a, name("x")).unwrap().unwrap().ino, fs.lookup(b, name("x")).unwrap().unwrap().ino);
        together(vec![exchange(a, b), exchange(b, a)]);
        let after = (fs.lookup(a, name("x")).unwrap().unwrap().ino, fs.lookup(b, name("x")).unwrap().unwrap().ino);
        assert_eq!(before, after, "two exchanges are none");
    });
}

/// `next` and `reserved` of the layer: a number is given out once, and none that isn't reserved on disk.
#[test]
fn allocate_against_allocate() {
    explore(Setting::new, |setting| {
        let layer = setting.fs.layer().unwrap();
        let block = 1024;
        while layer.allocate().unwrap() % block != block - 2 {}
        let given = Arc::new(std::sync::Mutex::new(Vec::new()));
        let allocate = || -> Box<dyn FnOnce() + Send> {
            let (fs, given) = (setting.fs.clone(), given.clone());
            Box::new(move || {
                for _ in 0..2 {
                    let layer = fs.layer().unwrap();
                    let number = layer.allocate().unwrap();
                    let reserved = layer.db().meta_number("reserved").unwrap().unwrap();
                    assert!(number < reserved, "{number} would be given out again after a crash");
                    given.lock().unwrap().push(number);
                }
            })
        };
        together(vec![allocate(), allocate(), allocate()]);
        let given = given.lock().unwrap();
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "given out twice: {given:?}");
    });
}
