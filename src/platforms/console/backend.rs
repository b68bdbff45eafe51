//! The terminal as ratatui writes to it. Owns one difference to crossterm's backend: the place of the
//! cursor is remembered instead of asked for, because the answer would arrive among the keys that the
//! event stream reads.

use std::io;

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

pub(super) struct TrackedBackend {
    inner: CrosstermBackend<io::Stdout>,
    cursor: Position,
    /// Ask the terminal: nobody reads keys at the moment.
    pub ask: bool,
}

impl TrackedBackend {
    /// Asks until `ask` is false.
    pub(super) fn new() -> Self {
        Self { inner: CrosstermBackend::new(io::stdout()), cursor: Position::ORIGIN, ask: true }
    }

    /// With the cursor put there; does not ask.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub(super) fn at(position: Position) -> io::Result<Self> {
        let mut backend = Self { ask: false, ..Self::new() };
        backend.set_cursor_position(position)?;
        Ok(backend)
    }
}

impl Backend for TrackedBackend {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.inner.draw(content)
    }

    fn append_lines(&mut self, count: u16) -> io::Result<()> {
        self.inner.append_lines(count)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        if self.ask {
            // A terminal that does not answer in time leaves what is remembered.
            self.cursor = self.inner.get_cursor_position().unwrap_or(self.cursor);
        }
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = position.into();
        self.inner.set_cursor_position(self.cursor)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.inner.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        self.inner.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.inner)
    }
}
