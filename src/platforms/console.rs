//! The console: one or several people talk to the coach in this terminal. Owns what has been said here;
//! only translates, and remembers nothing once the process ends.

mod backend;
mod input;
mod saved;
mod screen;
mod transcript;
mod view;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::core::chat::{
    Addressed, Author, Destination, FileRules, Inbound, LengthUnit, Markup, Messenger, MessengerRules, Piece, Receive,
    SendError,
};
use crate::ids::{ChatId, MessageRef, Platform};
use crate::locale::fl;
use saved::Saved;
use transcript::{Entry, Transcript};

/// How messages appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Each finished message as plain lines on standard output.
    Lines,
    /// A screen on which messages change in place ([`Console::run_screen`]).
    Screen,
}

/// The console's adapter; clones share one conversation.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    /// Who sits at the terminal, whoever speaks at the moment.
    name: String,
    /// Tells the message ids of this run from those of others on the same database.
    run: String,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    speaker: String,
    /// Messages made so far.
    count: u64,
    transcript: Transcript,
    /// Where finished messages are written; `None` if there is a screen.
    lines: Option<Box<dyn Write + Send>>,
    /// What was written of each message, without its numbers.
    written: HashMap<String, String>,
    saved: Saved,
}

/// How often `idle` is asked once the input has ended.
const IDLE_POLL: Duration = Duration::from_millis(25);

impl Console {
    /// `name` is who speaks first.
    pub fn new(clock: Clock, name: String, output: Output) -> Self {
        let lines: Option<Box<dyn Write + Send>> = match output {
            Output::Lines => Some(Box::new(io::stdout())),
            Output::Screen => None,
        };
        Self::build(clock, name, lines)
    }

    /// Like [`Output::Lines`], but written to `lines`.
    pub fn writing_to(clock: Clock, name: String, lines: impl Write + Send + 'static) -> Self {
        Self::build(clock, name, Some(Box::new(lines)))
    }

    fn build(clock: Clock, name: String, lines: Option<Box<dyn Write + Send>>) -> Self {
        let name = person(&name).unwrap_or_else(|| "you".to_owned());
        let run = Uuid::new_v4().simple().to_string()[..8].to_owned();
        let state = State {
            speaker: name.clone(),
            count: 0,
            transcript: Transcript::default(),
            lines,
            written: HashMap::new(),
            saved: Saved::default(),
        };
        Self { shared: Arc::new(Shared { clock, name, run, state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// A terminal: type, and see messages change in place, until Ctrl-D, Ctrl-C or `stop`. The terminal
    /// is given back as it was, on errors and panics too.
    pub async fn run_screen(&self, receive: Receive, stop: &CancellationToken) -> io::Result<()> {
        screen::run(self, receive, stop).await
    }

    /// Without a terminal: each line of `input` is one message, blank ones are skipped. Returns when the
    /// input has ended and `idle` says that all is answered, or on `stop`.
    ///
    /// # Errors
    /// If the input cannot be read, or a message was not stored.
    pub async fn run_lines(
        &self,
        mut input: impl AsyncBufRead + Unpin + Send,
        receive: Receive,
        idle: impl Fn() -> BoxFuture<'static, bool>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = tokio::select! {
                read = input.read_until(b'\n', &mut line) => read?,
                () = stop.cancelled() => return Ok(()),
            };
            if read == 0 {
                break;
            }
            if let Some(inbound) = self.typed(&String::from_utf8_lossy(&line)) {
                receive(inbound).await.map_err(io::Error::other)?;
            }
        }
        while !idle().await {
            tokio::select! {
                () = tokio::time::sleep(IDLE_POLL) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
        Ok(())
    }

    /// What to know before the first message.
    fn greeting(&self) -> String {
        format!("{}\n", fl!("console-greeting"))
    }

    fn name(&self) -> &str {
        &self.shared.name
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn speaker(&self) -> String {
        self.state().speaker.clone()
    }

    /// Returns when something was said or changed since the last call.
    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    fn with_transcript<T>(&self, act: impl FnOnce(&mut Transcript) -> T) -> T {
        act(&mut self.state().transcript)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was typed as a message; `None` if it is blank or only says who speaks from now on.
    fn typed(&self, text: &str) -> Option<Inbound> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let now = self.now();
        let mut state = self.state();
        let mut words = text.split_whitespace();
        if words.next() == Some("/as") {
            if let Some(name) = person(text["/as".len()..].trim()) {
                state.speaker = name;
            }
            self.shared.changed.notify_one();
            return None;
        }
        let id = state.next_id(&self.shared.run);
        let name = state.speaker.clone();
        if state.lines.is_none() {
            state.transcript.say(id.clone(), &name, text, now);
            self.shared.changed.notify_one();
        }
        Some(Inbound {
            message: MessageRef::new(ChatId::new(Platform::Console, &name), id),
            author: Author { account: name.clone(), name },
            guild: None,
            text: text.to_owned(),
            links: Vec::new(),
            attachments: 0,
            reply_to: None,
            addressed: Addressed::Direct,
            placeholder: None,
            // A line is whole when Enter ends it; a paste of several lines is one text already.
            atomic: true,
            at: now,
            sent_at: None,
        })
    }
}

impl State {
    fn next_id(&mut self, run: &str) -> String {
        self.count += 1;
        format!("{run}-m{}", self.count)
    }

    /// Writes a finished message; a frame of an answer that is still growing is left out, and so are buttons, which a
    /// line cannot be pressed on.
    fn write(&mut self, entry: &Entry, me: &str) -> Result<(), SendError> {
        let Some(out) = self.lines.as_mut().filter(|_| !entry.is_frame()) else { return Ok(()) };
        // A countdown is for a screen: a line is worth writing when more than its numbers have changed.
        let shape: String = entry.text.chars().filter(|c| !c.is_ascii_digit()).collect();
        if self.written.insert(entry.id.clone(), shape.clone()) == Some(shape) {
            return Ok(());
        }
        let text = match entry.person == me {
            true => format!("{}: {}\n", fl!("console-coach"), entry.text),
            false => format!("{}: {}\n", fl!("console-coach-to", name = entry.person.as_str()), entry.text),
        };
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| SendError::Failed(fl!("console-output-closed", error = error.to_string())))
    }
}

#[async_trait]
impl Messenger for Console {
    fn rules(&self, _: &ChatId) -> MessengerRules {
        MessengerRules {
            unit: LengthUnit::Chars,
            limit: 4000,
            markup: Markup::Markdown,
            edit_interval: Duration::from_millis(100),
            editable_for: None,
            dedupes_sends: true,
            per_second: 1000,
            in_chat: None,
            files: FileRules {
                most: usize::MAX,
                caption: 4000,
                picture_bytes: usize::MAX,
                file_bytes: usize::MAX,
                all_bytes: usize::MAX,
            },
        }
    }

    async fn send(&self, to: &Destination, piece: &Piece, plain: bool, nonce: &str) -> Result<MessageRef, SendError> {
        let now = self.now();
        let mut state = self.state();
        let piece = state.saved.as_text(as_asked(piece, plain));
        let id = state.next_id(&self.shared.run);
        if let Err(known) = state.transcript.sent(id.clone(), &to.chat.key, &piece, nonce, now) {
            return Ok(MessageRef::new(to.chat.clone(), known));
        }
        if let Some(entry) = state.transcript.live().last().cloned() {
            state.write(&entry, self.name())?;
        }
        self.settle_lines(&mut state, now);
        self.shared.changed.notify_one();
        Ok(MessageRef::new(to.chat.clone(), id))
    }

    async fn edit(&self, message: &MessageRef, piece: &Piece, plain: bool) -> Result<(), SendError> {
        let now = self.now();
        let mut state = self.state();
        let piece = state.saved.as_text(as_asked(piece, plain));
        let entry = state.transcript.edited(&message.id, &piece, now).ok_or(SendError::Gone)?.cloned();
        let entry = entry.ok_or(SendError::NotModified)?;
        state.write(&entry, self.name())?;
        self.settle_lines(&mut state, now);
        self.shared.changed.notify_one();
        Ok(())
    }

    async fn dismiss(&self, _placeholder: &MessageRef) -> Result<(), SendError> {
        Ok(())
    }

    /// No other process has this console.
    async fn is_unanswered(&self, _message: &MessageRef) -> Result<bool, SendError> {
        Ok(true)
    }

    async fn typing(&self, chat: &ChatId) -> Result<(), SendError> {
        let now = self.now();
        self.state().transcript.typing(&chat.key, now);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Console {
    /// Without a screen nobody takes the settled messages: they are only forgotten in time.
    fn settle_lines(&self, state: &mut State, now: Timestamp) {
        if state.lines.is_some() {
            state.transcript.settled(now);
        }
    }
}

fn as_asked(piece: &Piece, plain: bool) -> Piece {
    if plain { Piece { markup: piece.plain.clone(), ..piece.clone() } } else { piece.clone() }
}

/// A person's name: one line, at most 64 characters.
fn person(name: &str) -> Option<String> {
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(64).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
