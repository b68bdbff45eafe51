//! A disk that loses, in a power cut, whatever was not synced: the real program runs on a folder whose syncs are recorded
//! (`power.c`), and after its death the folder is put back to what had been synced.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder, and what of it would survive.
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    pub fn new() -> Disk {
        let disk = Disk { folder: tempfile::tempdir().unwrap() };
        for part in [disk.path(), disk.platter()] {
            std::fs::create_dir(part).unwrap();
        }
        disk
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn platter(&self) -> PathBuf {
        self.folder.path().join("platter")
    }

    /// What is there now is on the disk for good.
    pub fn sync(&self) {
        copy(&self.path(), &self.platter());
    }

    /// The power goes: what was not synced was never there. Nobody may have a file of it open.
    pub fn cut(&self) {
        std::fs::remove_dir_all(self.path()).unwrap();
        std::fs::create_dir(self.path()).unwrap();
        copy(&self.platter(), &self.path());
    }

    /// The next sync of the write-ahead log fails, as of a device that is gone for a moment.
    pub fn fail_once(&self) {
        std::fs::write(self.platter().join("fail"), "").unwrap();
    }

    pub fn has_failed(&self) -> bool {
        !self.platter().join("fail").exists()
    }

    /// What a process on this disk is started with.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD".into(), text(recorder())),
            ("DISK".into(), text(&self.path())),
            ("PLATTER".into(), text(&self.platter())),
        ]
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // One that begins with a dot was being synced when its process died.
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The library that records syncs, made by the C compiler that SQLite is built with, too.
fn recorder() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/power.c");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        // Another run of the tests may be making it, too.
        let (own, made) = (folder.join(format!("power-{}.so", std::process::id())), folder.join("power.so"));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&own).args([source, "-ldl", "-lpthread"]);
        let done = cc.status().expect("a C compiler");
        assert!(done.success(), "power.c does not compile");
        std::fs::rename(&own, &made).unwrap();
        made
    })
}
