//! What a machine may do to a process: let it stand still, take no more of what it writes, give it the wrong time. Owns how
//! that is done on Linux; when, and to whom, is the stage's.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// How far a wrong clock is ahead, in seconds.
pub const AHEAD: u64 = 30;

/// A process that stands still until this is dropped.
#[derive(Debug)]
pub struct Frozen(Pid);

impl Frozen {
    /// Stops a child of this process where it is.
    ///
    /// # Errors
    /// When it is gone.
    pub fn freeze(process: u32) -> io::Result<Frozen> {
        let process = pid(process)?;
        kill_process(process, Signal::STOP)?;
        Ok(Frozen(process))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// From now on every write of a process to a file fails, or works again. For a program of [`unstoppable`].
///
/// # Errors
/// When it is gone.
pub fn refuse_writes(process: u32, refused: bool) -> io::Result<()> {
    let largest = Rlimit { current: refused.then_some(0), maximum: None };
    prlimit(Some(pid(process)?), Resource::Fsize, largest)?;
    Ok(())
}

/// Starts a program that is not ended by a write that is refused: it inherits that the signal is ignored.
pub fn unstoppable(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(program);
    command
}

/// Makes the library that puts a program's clock [`AHEAD`] when it is loaded before all others (`LD_PRELOAD`); `None`
/// without a C compiler.
///
/// # Errors
/// When the folder cannot be written to.
pub fn wrong_clock(folder: &Path) -> io::Result<Option<PathBuf>> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, include_str!("clock.c"))?;
    // Without a PATH of its own a compiler finds no linker; the shell has one.
    let mut compiler = Command::new("sh");
    compiler.args(["-c", r#"export PATH; exec cc "$@""#, "cc", "-shared", "-fPIC"]);
    compiler.arg(format!("-DAHEAD={AHEAD}")).arg("-o").arg(&library).arg(&source);
    Ok(compiler.status()?.success().then_some(library))
}

fn pid(process: u32) -> io::Result<Pid> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.ok_or_else(|| io::Error::other("not a process"))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_program_that_may_write_nothing_lives_on() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"read go; echo x > a || echo refused; read go; echo x > b && echo written; date +%s"#;
        let mut command = unstoppable(Path::new("sh"));
        command.args(["-c", script]).current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("LD_PRELOAD", wrong_clock(folder.path()).unwrap().expect("a C compiler"));
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut lines = io::BufRead::lines(io::BufReader::new(from));
        let mut next = |to: &mut dyn io::Write| {
            to.write_all(b"go\n").unwrap();
            lines.next().unwrap().unwrap()
        };
        refuse_writes(child.id(), true).unwrap();
        assert_eq!(next(&mut to), "refused");
        let frozen = Frozen::freeze(child.id()).unwrap();
        refuse_writes(child.id(), false).unwrap();
        drop(frozen);
        assert_eq!(next(&mut to), "written");
        let there: u64 = lines.next().unwrap().unwrap().parse().unwrap();
        let here = u64::try_from(reelcoach::clock::Clock::System.now().0 / 1000).unwrap();
        let ahead = there.abs_diff(here);
        assert!((AHEAD - 5..=AHEAD + 5).contains(&ahead), "{ahead}");
        assert!(child.wait().unwrap().success());
    }
}
