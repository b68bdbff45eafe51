//! Files that came with messages. Owns where they are saved; a terminal shows no picture.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::chat::{File, FileKind, Piece};
use crate::locale::fl;

/// A folder of this run's own among the system's temporary files, made when the first file comes. It stays when the
/// run ends, so that what was shown can still be opened.
#[derive(Debug, Default)]
pub(super) struct Saved {
    folder: Option<PathBuf>,
}

impl Saved {
    /// The piece as a terminal shows it: a text file is its text, of any other it says where it is.
    pub(super) fn as_text(&mut self, piece: Piece) -> Piece {
        let mut shown = Piece { files: Vec::new(), ..piece };
        for file in &piece.files {
            match file.as_text().filter(|_| file.kind == FileKind::Text) {
                // An answer that was too long to send: its beginning is part of it.
                Some(text) => shown.markup = text.to_owned(),
                None => {
                    let told = match self.save(file) {
                        Ok(path) => fl!("console-file-saved", name = file.name(), path = path.display().to_string()),
                        Err(error) => fl!("console-file-not-saved", name = file.name(), error = error.to_string()),
                    };
                    shown.markup = format!("{}\n{told}", shown.markup.trim_end()).trim_start().to_owned();
                }
            }
        }
        shown
    }

    fn save(&mut self, file: &File) -> io::Result<PathBuf> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => tempfile::Builder::new().prefix("reelcoach-").tempdir()?.keep(),
        };
        let path = free(&folder, file);
        std::fs::write(&path, &file.content)?;
        self.folder = Some(folder);
        Ok(path)
    }
}

/// Where the file is already, or under which name there is room for it.
fn free(folder: &Path, file: &File) -> PathBuf {
    let (stem, extension) = file.name().rsplit_once('.').unwrap_or((file.name(), "bin"));
    let names = (2..).map(|n| format!("{stem}-{n}.{extension}"));
    let is_free = |path: &PathBuf| std::fs::read(path).map_or(true, |there| there == file.content);
    let mut paths = std::iter::once(file.name().to_owned()).chain(names).map(|name| folder.join(name));
    paths.find(is_free).unwrap_or_else(|| folder.join(file.name()))
}
