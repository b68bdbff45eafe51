//! The files of a database: made for their owner alone, because people's texts are in them.

use std::path::Path;

use super::StoreError;

/// A folder for people's texts: for its owner alone. One that is there already is left as it is.
pub fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The same for the database file, which SQLite would make readable for everybody.
pub fn make_private_file(file: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(|_| ())
}

/// Why a file could not be made: its folder is somebody else's, or something that has no remedy of its own.
pub fn unwritable(file: &Path, error: std::io::Error) -> StoreError {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    if !matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) {
        return StoreError::Open(sqlx::Error::Io(error));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    StoreError::Folder { folder: folder.to_owned(), user: own_user() }
}

/// The user that this process is run as, as far as the system tells.
fn own_user() -> String {
    #[cfg(unix)]
    if let Ok(own) = std::fs::metadata("/proc/self") {
        return format!("user {}", std::os::unix::fs::MetadataExt::uid(&own));
    }
    "this user".to_owned()
}
