//! The terminal: keys in, rows out. Owns raw mode and gives the terminal back as it was; never decides
//! what is said.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{event, execute, terminal};
use futures::StreamExt;
use futures::future::{BoxFuture, OptionFuture};
use ratatui::backend::Backend;
use ratatui::layout::Size;
use ratatui::text::Line;
use ratatui::{Terminal, TerminalOptions, Viewport};
use tokio_util::sync::CancellationToken;
use unicode_width::UnicodeWidthStr;

use super::Console;
use super::backend::TrackedBackend;
use super::input::Input;
use super::transcript::Entry;
use super::view::{self, View};
use crate::core::chat::{Receive, ReceiveFailed, Taken};
use crate::locale::fl;

/// How often the screen looks whether a message has settled.
const TICK: Duration = Duration::from_millis(150);
/// Rows by which the viewport grows beyond what it needs.
const GROWTH: u16 = 3;
/// Rows of one insertion above the viewport.
const CHUNK: usize = 50;

/// Runs until Ctrl-C, Ctrl-D on an empty line, or `stop`.
pub(super) async fn run(console: &Console, receive: Receive, stop: &CancellationToken) -> io::Result<()> {
    if !io::stdout().is_terminal() {
        return Err(io::Error::other(fl!("console-no-terminal")));
    }
    let guard = RawMode::enter()?;
    let mut screen = Screen::open()?;
    screen.above(view::plain_lines(&console.greeting(), usize::from(screen.size.width)))?;
    let result = drive(console, receive, stop, &mut screen).await;
    let rest = console.with_transcript(|transcript| transcript.all());
    let closed = screen.show(console, &rest, &Input::default()).and_then(|()| screen.close());
    drop(guard);
    result.and(closed)
}

async fn drive(console: &Console, receive: Receive, stop: &CancellationToken, screen: &mut Screen) -> io::Result<()> {
    let mut keys = EventStream::new();
    let mut input = Input::default();
    let mut waiting = VecDeque::new();
    let mut sending: OptionFuture<BoxFuture<'static, Result<Taken, ReceiveFailed>>> = None.into();
    let mut busy = false;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // The terminal answers the question for its cursor on the same stream as keys, so nobody else
        // may read while the size changes.
        if screen.resized()? {
            drop(keys);
            screen.terminal.backend_mut().ask = true;
            let resized = screen.terminal.autoresize();
            screen.terminal.backend_mut().ask = false;
            resized?;
            keys = EventStream::new();
        }
        let settled = console.with_transcript(|transcript| transcript.settled(console.now()));
        screen.show(console, &settled, &input)?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = console.changed() => {}
            _ = tick.tick() => {}
            Some(sent) = &mut sending, if busy => {
                (busy, sending) = (false, None.into());
                if sent.is_err() {
                    screen.above(vec![Line::from(fl!("console-not-stored")), Line::default()])?;
                }
            }
            event = keys.next() => match event {
                Some(Ok(event)) => {
                    if !handle(console, &mut input, &mut waiting, event) {
                        return Ok(());
                    }
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
        if !busy && let Some(inbound) = waiting.pop_front() {
            (busy, sending) = (true, Some(receive(inbound)).into());
        }
    }
}

/// Whether to go on.
fn handle(
    console: &Console,
    input: &mut Input,
    waiting: &mut VecDeque<crate::core::chat::Inbound>,
    event: Event,
) -> bool {
    let key = match event {
        Event::Paste(text) => {
            input.insert(&text);
            return true;
        }
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return true,
    };
    match edit(input, key) {
        Key::Done => {}
        Key::Enter => {
            if let Some(text) = input.submit() {
                waiting.extend(console.typed(&text));
            }
        }
        Key::Quit => return false,
    }
    true
}

enum Key {
    Done,
    Enter,
    Quit,
}

fn edit(input: &mut Input, key: KeyEvent) -> Key {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    match key.code {
        KeyCode::Char('c') if control => return Key::Quit,
        KeyCode::Char('d') if control && input.is_empty() => return Key::Quit,
        KeyCode::Enter if alt => input.insert("\n"),
        KeyCode::Char('j') if control => input.insert("\n"),
        KeyCode::Enter => return Key::Enter,
        KeyCode::Left if control || alt => input.word_left(),
        KeyCode::Right if control || alt => input.word_right(),
        KeyCode::Char('b') if alt => input.word_left(),
        KeyCode::Char('f') if alt => input.word_right(),
        KeyCode::Left => input.left(),
        KeyCode::Right => input.right(),
        KeyCode::Up => input.older(),
        KeyCode::Down => input.newer(),
        KeyCode::Home => input.home(),
        KeyCode::End => input.end(),
        KeyCode::Backspace if control || alt => input.delete_word(),
        KeyCode::Backspace => input.backspace(),
        KeyCode::Delete => input.delete(),
        KeyCode::Char('a') if control => input.home(),
        KeyCode::Char('e') if control => input.end(),
        KeyCode::Char('w') if control => input.delete_word(),
        KeyCode::Char('u') if control => input.delete_to_start(),
        KeyCode::Char('k') if control => input.delete_to_end(),
        KeyCode::Char('d') if control => input.delete(),
        KeyCode::Char('h') if control => input.backspace(),
        KeyCode::Char(c) if !control && !alt => input.insert(c.encode_utf8(&mut [0; 4])),
        _ => {}
    }
    Key::Done
}

/// The inline viewport at the end of the terminal's own scrollback, as high as what stands in it.
struct Screen {
    terminal: Terminal<TrackedBackend>,
    size: Size,
    /// Rows of the viewport.
    height: u16,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let options = TerminalOptions { viewport: Viewport::Inline(1) };
        let mut terminal = Terminal::with_options(TrackedBackend::new(), options)?;
        terminal.backend_mut().ask = false;
        let size = terminal.size()?;
        Ok(Self { terminal, size, height: 1 })
    }

    /// Leaves what was said, and the cursor below it.
    fn close(&mut self) -> io::Result<()> {
        self.terminal.clear()?;
        let origin = self.terminal.get_frame().area().as_position();
        self.terminal.set_cursor_position(origin)?;
        self.terminal.backend_mut().flush()
    }

    fn resized(&mut self) -> io::Result<bool> {
        let size = self.terminal.size()?;
        Ok(std::mem::replace(&mut self.size, size) != size)
    }

    /// Moves what has settled above the viewport and draws the rest, as one change of the screen.
    fn show(&mut self, console: &Console, settled: &[Entry], input: &Input) -> io::Result<()> {
        execute!(io::stdout(), terminal::BeginSynchronizedUpdate)?;
        let shown = self.print_and_draw(console, settled, input);
        execute!(io::stdout(), terminal::EndSynchronizedUpdate)?;
        shown
    }

    fn print_and_draw(&mut self, console: &Console, settled: &[Entry], input: &Input) -> io::Result<()> {
        let speaker = console.speaker();
        let width = usize::from(self.size.width);
        console.with_transcript(|transcript| {
            let typing = transcript.is_typing(console.now());
            let view = View { me: console.name(), speaker: &speaker, live: transcript.live(), typing, input };
            let height = u16::try_from(view.height(width)).unwrap_or(u16::MAX);
            if settled.is_empty() {
                // Some rows at a time, and none given back, so that an answer that grows does not flicker.
                if height > self.height {
                    self.fit(height.saturating_add(GROWTH))?;
                }
            } else {
                // What settles was in the viewport: as it gives up their rows, they stay where they are.
                self.fit(height)?;
            }
            for entry in settled {
                self.above(view::entry_lines(entry, console.name(), width))?;
            }
            self.terminal.draw(|frame| view::draw(frame, &view)).map(|_| ())
        })
    }

    /// Makes the viewport so many rows high, but leaves a row of the screen: clearing all of it would make some
    /// terminals keep what was drawn in their scrollback. Its first row stays, unless the screen ends.
    fn fit(&mut self, height: u16) -> io::Result<()> {
        let height = height.clamp(1, self.size.height.saturating_sub(1).max(1));
        if height == self.height {
            return Ok(());
        }
        self.terminal.clear()?;
        let origin = self.terminal.get_frame().area().as_position();
        // ratatui has no other way to change the height of an inline viewport.
        let options = TerminalOptions { viewport: Viewport::Inline(height) };
        self.terminal = Terminal::with_options(TrackedBackend::at(origin)?, options)?;
        self.height = height;
        Ok(())
    }

    /// Rows that scroll up above the viewport.
    fn above(&mut self, lines: Vec<Line<'static>>) -> io::Result<()> {
        for chunk in lines.chunks(CHUNK) {
            let height = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
            self.terminal.insert_before(height, |buffer| {
                let area = buffer.area;
                for (line, y) in chunk.iter().zip(area.top()..area.bottom()) {
                    buffer.set_line(area.x, y, line, area.width);
                    // All cells are written here, also the one that a wide character covers.
                    for x in area.left()..area.right().saturating_sub(1) {
                        if buffer[(x, y)].symbol().width() > 1 {
                            buffer[(x + 1, y)].set_symbol("");
                        }
                    }
                }
            })?;
        }
        Ok(())
    }
}

/// Raw mode and bracketed paste, until dropped: also on an error or a panic.
struct RawMode;

impl RawMode {
    fn enter() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let guard = Self;
        execute!(io::stdout(), event::EnableBracketedPaste)?;
        Ok(guard)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing better can be done if the terminal is gone.
        let _ = execute!(io::stdout(), event::DisableBracketedPaste, crossterm::cursor::Show);
        let _ = terminal::disable_raw_mode();
        let _ = io::stdout().flush();
    }
}
