//! Learns from the kernel that files have changed, before anybody is answered with what they were.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::root::{Refusal, Root};

/// Watches the directories that lead to what is kept, from the root down: a file that is written to, replaced, or moved
/// together with its directory is forgotten. See inotify(7).
#[derive(Debug)]
pub struct Watcher {
    inotify: Arc<OwnedFd>,
    /// By watched directory and name in it: what is kept that depends on this name.
    places: HashMap<i32, Place>,
    /// What each kept name depends on.
    dependencies: HashMap<Rc<[u8]>, Vec<Dependency>>,
    /// The loads under way, and whether something happened meanwhile that may be about their files.
    loading: BTreeMap<u64, Loading>,
    next_load: u64,
}

/// What is kept that depends on a name in a directory, by that name.
type Place = HashMap<OsString, HashSet<Rc<[u8]>>>;

#[derive(Debug)]
struct Loading {
    names: Vec<OsString>,
    is_clean: bool,
}

/// Names in a watched directory of which a kept file depends, or the empty one for what is told of the watched itself.
#[derive(Clone, Debug)]
struct Dependency {
    watch: i32,
    names: Vec<OsString>,
}

/// What was set up for one load.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    dependencies: Vec<Dependency>,
    /// Something that decides on the file could not be watched, so it cannot be kept without asking.
    incomplete: bool,
}

impl Watches {
    /// None at all: every request asks.
    #[must_use]
    pub fn none() -> Self {
        Self { dependencies: Vec::new(), incomplete: true }
    }

    /// Whether all is noticed that happens to the file.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        !self.incomplete
    }

    /// What is not watched decides on the file too.
    pub fn give_up(&mut self) {
        self.incomplete = true;
    }
}

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names that are no longer what is kept of them.
    pub names: Vec<Rc<[u8]>>,
    /// The kernel has dropped changes: nothing that is kept is to be trusted.
    pub lost: bool,
}

/// What a worker needs to set up watches: it walks the path, which may wait for a disk.
#[derive(Clone, Debug)]
pub struct Spotter(Arc<OwnedFd>);

impl Watcher {
    /// A watcher that watches nothing yet.
    ///
    /// # Errors
    /// The user has as many inotify instances as the system allows, or the system has no /proc.
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        rustix::fs::access("/proc/self/fd", rustix::fs::Access::EXISTS)?;
        Ok(Self {
            inotify: Arc::new(inotify),
            places: HashMap::new(),
            dependencies: HashMap::new(),
            loading: BTreeMap::new(),
            next_load: 0,
        })
    }

    /// What sets up watches, on any thread.
    #[must_use]
    pub fn spotter(&self) -> Spotter {
        Spotter(Arc::clone(&self.inotify))
    }

    /// A file is about to be loaded that depends on these names. What happens to them from now on is noticed.
    pub fn begin(&mut self, names: Vec<OsString>) -> u64 {
        self.next_load += 1;
        self.loading.insert(self.next_load, Loading { names, is_clean: true });
        self.next_load
    }

    /// The load has ended. `true`: nothing has happened meanwhile, so what it brought may be kept.
    pub fn end(&mut self, load: u64) -> bool {
        self.loading.remove(&load).is_some_and(|loading| loading.is_clean)
    }

    /// Notes what a kept name depends on.
    pub fn depend(&mut self, name: &Rc<[u8]>, watches: Watches) {
        self.forget(name);
        for Dependency { watch, names } in &watches.dependencies {
            let place = self.places.entry(*watch).or_default();
            for part in names {
                place.entry(part.clone()).or_default().insert(Rc::clone(name));
            }
        }
        self.dependencies.insert(Rc::clone(name), watches.dependencies);
    }

    /// A name is no longer kept. Directories of which nothing is kept are watched no longer.
    pub fn forget(&mut self, name: &[u8]) {
        for Dependency { watch, names } in self.dependencies.remove(name).unwrap_or_default() {
            let Some(place) = self.places.get_mut(&watch) else { continue };
            for part in names {
                let Some(kept) = place.get_mut(&part) else { continue };
                kept.remove(name);
                if kept.is_empty() {
                    place.remove(&part);
                }
            }
            if place.is_empty() {
                self.places.remove(&watch);
                self.unwatch(watch);
            }
        }
    }

    /// What a load watched is not kept after all.
    pub fn release(&mut self, watches: &Watches) {
        for Dependency { watch, .. } in &watches.dependencies {
            if !self.places.contains_key(watch) {
                self.unwatch(*watch);
            }
        }
    }

    fn unwatch(&mut self, watch: i32) {
        // It may be gone already.
        let _ = inotify::remove_watch(&self.inotify, watch);
        // One of the loads under way may have set up the same one.
        self.loading.values_mut().for_each(|loading| loading.is_clean = false);
    }

    /// Reads all that has happened. It does not wait.
    pub fn drain(&mut self) -> Changes {
        let mut changes = Changes::default();
        let inotify = Arc::clone(&self.inotify);
        let mut room = [const { MaybeUninit::uninit() }; ROOM];
        let mut reader = Reader::new(&*inotify, &mut room);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    self.loading.values_mut().for_each(|loading| loading.is_clean = false);
                    changes.lost = true;
                }
                // A watch has ended, which was said of it before, or asked for here.
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {}
                Ok(event) => {
                    let name = event.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
                    self.note(event.wd(), name.as_ref(), &mut changes);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Something may have happened of which nobody can tell.
                Err(_) => {
                    self.loading.values_mut().for_each(|loading| loading.is_clean = false);
                    changes.lost = true;
                    break;
                }
            }
        }
        if changes.lost {
            self.clear();
        }
        for name in &changes.names {
            self.forget(name);
        }
        changes
    }

    /// Forgets all that is kept.
    fn clear(&mut self) {
        self.dependencies.clear();
        for (watch, _) in self.places.drain() {
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// Something has happened to a name in a watched directory, or to the directory itself.
    fn note(&mut self, watch: i32, name: Option<&OsString>, changes: &mut Changes) {
        let place = self.places.get(&watch);
        match (name, place) {
            (Some(name), Some(place)) => changes.names.extend(place.get(name).into_iter().flatten().cloned()),
            (None, Some(place)) => changes.names.extend(place.values().flatten().cloned()),
            (_, None) => {}
        }
        for loading in self.loading.values_mut() {
            // A load's watches are not known here before it has ended, so any directory may be one of its own.
            loading.is_clean &= name.is_some_and(|name| !loading.names.contains(name));
        }
    }
}

impl Spotter {
    /// Watches a file that was opened, for it may have other names.
    pub fn watch_file(&self, watches: &mut Watches, file: &File) {
        // What is told of it has no name.
        if !self.add(watches, file, WATCHED.difference(WatchFlags::ONLYDIR), vec![OsString::new()]) {
            watches.give_up();
        }
    }

    /// Watches every directory on the way to names below the root. What is done with the names after that is noticed, unless
    /// a symlink is on the way, or no watch is left.
    ///
    /// # Errors
    /// [`Refusal`], as for the file itself.
    pub fn watch_way(&self, root: &Root, directory: &Path, leaves: &[OsString]) -> Result<Watches, Refusal> {
        let mut watches = Watches::default();
        let mut so_far = PathBuf::new();
        let mut rest = directory.iter();
        loop {
            let Some(place) = root.plain_directory(&so_far)? else {
                watches.give_up();
                return Ok(watches);
            };
            let next = rest.next();
            let names = next.map_or_else(|| leaves.to_vec(), |name| vec![name.to_owned()]);
            if !self.add(&mut watches, &place, WATCHED, names) {
                watches.give_up();
            }
            let Some(next) = next.filter(|_| watches.are_complete()) else { return Ok(watches) };
            so_far.push(next);
        }
    }

    fn add(&self, watches: &mut Watches, place: &impl AsRawFd, what: WatchFlags, names: Vec<OsString>) -> bool {
        let path = format!("/proc/self/fd/{}", place.as_raw_fd());
        let Ok(watch) = inotify::add_watch(&self.0, path, what) else { return false };
        watches.dependencies.push(Dependency { watch, names });
        true
    }
}

/// Whatever changes a file's contents, attributes, or what its name stands for.
const WATCHED: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Bytes of changes that one read takes: some dozens.
const ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Access;
    use std::fs;

    /// How many changes the kernel keeps for who does not look; see inotify(7).
    fn most_queued() -> usize {
        let text = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        text.trim().parse().unwrap()
    }

    #[test]
    fn when_the_kernel_drops_changes_nothing_is_trusted() {
        let mut fixture = fixture();
        // Two in a row that are the same would be one.
        let files = ["a/b/c", "a/b/d"].map(|name| File::create(fixture.tree.path().join(name)).unwrap());
        fixture.watcher.drain();
        fixture.keep();
        let load = fixture.watcher.begin(vec!["unlike".into()]);
        for index in 0..most_queued() + 2 {
            files[index % 2].set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
        assert!(fixture.watcher.drain().lost);
        assert!(!fixture.watcher.end(load), "it may have been about this load");
        assert!(fixture.watcher.dependencies.is_empty() && fixture.watcher.places.is_empty());
        fixture.keep();
        assert_eq!(fixture.watcher.drain(), Changes::default());
    }

    struct Fixture {
        tree: tempfile::TempDir,
        root: Root,
        watcher: Watcher,
    }

    /// A tree with a/b/c, which is kept.
    fn fixture() -> Fixture {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("a/b")).unwrap();
        fs::write(tree.path().join("a/b/c"), "1").unwrap();
        let root = Root::open(tree.path(), Access::default()).unwrap();
        let mut fixture = Fixture { tree, root, watcher: Watcher::new().unwrap() };
        fixture.keep();
        fixture
    }

    impl Fixture {
        fn keep(&mut self) {
            let spotter = self.watcher.spotter();
            let mut watches = spotter.watch_way(&self.root, "a/b".as_ref(), &["c".into()]).unwrap();
            spotter.watch_file(&mut watches, &File::open(self.path("a/b/c")).unwrap());
            assert!(watches.are_complete());
            self.watcher.depend(&key(), watches);
        }

        fn path(&self, name: &str) -> PathBuf {
            self.tree.path().join(name)
        }
    }

    fn key() -> Rc<[u8]> {
        b"a/b/c"[..].into()
    }

    #[test]
    fn whatever_happens_on_the_way_to_a_file_is_noticed() {
        type Change = fn(&Fixture);
        let changes: [(&str, Change); 8] = [
            ("linked", |it| fs::hard_link(it.path("a/b/c"), it.path("d")).unwrap()),
            ("opened before and written to", |it| {
                let mut file = File::options().append(true).open(it.path("a/b/c")).unwrap();
                fs::rename(it.path("a/b/c"), it.path("a/b/d")).unwrap();
                io::Write::write_all(&mut file, b"2").unwrap();
            }),
            ("written", |it| fs::write(it.path("a/b/c"), "2").unwrap()),
            ("removed", |it| fs::remove_file(it.path("a/b/c")).unwrap()),
            ("moved", |it| fs::rename(it.path("a/b/c"), it.path("d")).unwrap()),
            ("directory moved", |it| fs::rename(it.path("a/b"), it.path("d")).unwrap()),
            ("its parent moved", |it| fs::rename(it.path("a"), it.path("d")).unwrap()),
            ("permissions", |it| {
                let mut permissions = fs::metadata(it.path("a/b/c")).unwrap().permissions();
                permissions.set_readonly(true);
                fs::set_permissions(it.path("a/b/c"), permissions).unwrap();
            }),
        ];
        for (what, change) in changes {
            let mut fixture = fixture();
            assert_eq!(fixture.watcher.drain(), Changes::default());
            change(&fixture);
            assert!(fixture.watcher.drain().names.contains(&key()), "{what}");
            assert!(fixture.watcher.places.is_empty(), "{what}");
        }
    }

    #[test]
    fn other_files_of_the_directory_are_of_no_matter() {
        let mut fixture = fixture();
        fs::write(fixture.path("a/b/other"), "2").unwrap();
        fs::write(fixture.path("other"), "2").unwrap();
        assert_eq!(fixture.watcher.drain(), Changes::default());
    }

    #[test]
    fn what_happens_during_a_load_spoils_it() {
        let mut fixture = fixture();
        let names = || vec!["a".into(), "b".into(), "c".into()];
        let quiet = fixture.watcher.begin(names());
        assert!(fixture.watcher.end(quiet));
        let load = fixture.watcher.begin(names());
        fs::write(fixture.path("a/b/c"), "2").unwrap();
        fixture.watcher.drain();
        assert!(!fixture.watcher.end(load));
        let elsewhere = fixture.watcher.begin(vec!["x".into()]);
        fixture.keep();
        fs::write(fixture.path("a/b/c"), "3").unwrap();
        assert!(fixture.watcher.drain().names.contains(&key()));
        assert!(!fixture.watcher.end(elsewhere), "a watch that ends may be one of its own");
    }

    #[test]
    fn a_symlink_on_the_way_is_not_watched() {
        let fixture = fixture();
        std::os::unix::fs::symlink("a", fixture.path("link")).unwrap();
        let watches = fixture.watcher.spotter().watch_way(&fixture.root, "link/b".as_ref(), &["c".into()]);
        assert!(!watches.unwrap().are_complete());
    }
}
