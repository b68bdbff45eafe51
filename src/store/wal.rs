//! SQLite's write-ahead log on the disk. A commit is in the file at once, but on the disk only after a sync: whoever
//! says that something is done waits for one here. All who wait share the next sync, so that a slow disk makes commits
//! wait but not queue.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sqlx::SqliteConnection;
use tokio::sync::Mutex;

use super::{Connections, lend};

/// The log of one database. SQLite itself syncs it before each checkpoint (`synchronous = NORMAL`), and the database
/// behind it: a commit that is not in the log any more is safe.
#[derive(Debug)]
pub struct Wal {
    log: Arc<Log>,
    /// Commits so far, and how many of them are on the disk.
    commits: AtomicU64,
    synced: Arc<Mutex<u64>>,
}

#[derive(Debug)]
struct Log {
    /// A handle of our own: SQLite's lock is on the database, so that closing this one takes nobody's lock away.
    file: File,
    /// A sync has failed. The system may have dropped what it could not write, and call the next sync a success: so
    /// that there is something to sync, the whole log is written once more before it.
    is_doubtful: AtomicBool,
}

impl Wal {
    /// The log of the database `file`; `None` where it has none, because its file system or VFS has no shared memory.
    pub async fn open(file: &Path, connection: &mut SqliteConnection) -> sqlx::Result<Option<Wal>> {
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
        if mode != "wal" {
            return Ok(None);
        }
        // The first look makes the file.
        sqlx::query("SELECT COUNT(*) FROM sqlite_master").execute(connection).await?;
        let mut name = file.as_os_str().to_owned();
        name.push("-wal");
        let log = match File::options().read(true).write(true).open(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            log => log?,
        };
        log.sync_all()?;
        #[cfg(unix)]
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // The names of new files are the folder's.
            File::open(folder)?.sync_all()?;
        }
        let log = Arc::new(Log { file: log, is_doubtful: AtomicBool::new(false) });
        Ok(Some(Wal { log, commits: AtomicU64::new(0), synced: Arc::default() }))
    }

    /// Returns once every commit before this call is on the disk. `write`: the connection that commits.
    pub async fn sync(&self, write: &Connections) -> sqlx::Result<()> {
        let own = self.commits.fetch_add(1, Ordering::AcqRel) + 1;
        let mut synced = Arc::clone(&self.synced).lock_owned().await;
        if *synced >= own {
            return Ok(());
        }
        let until = self.commits.load(Ordering::Acquire);
        let again = self.log.is_doubtful.load(Ordering::Acquire);
        // Nobody commits while it is written once more, and nobody else syncs until this one has ended: even if who
        // waits for it goes away.
        let writer = if again { Some(lend(write).await?) } else { None };
        let log = Arc::clone(&self.log);
        let sync = move || {
            let done = if again { write_again(&log.file) } else { log.file.sync_data() };
            drop(writer);
            match &done {
                Err(_) => log.is_doubtful.store(true, Ordering::Release),
                Ok(()) => {
                    if again {
                        log.is_doubtful.store(false, Ordering::Release);
                    }
                    *synced = until;
                }
            }
            done
        };
        tokio::task::spawn_blocking(sync).await.map_err(|_| sqlx::Error::WorkerCrashed)??;
        Ok(())
    }
}

/// Writes what is there, and syncs it.
fn write_again(mut file: &File) -> std::io::Result<()> {
    let mut all = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut all)?;
    file.rewind()?;
    file.write_all(&all)?;
    file.sync_all()
}
