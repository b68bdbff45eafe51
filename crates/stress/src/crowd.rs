//! The people of a load test: what they say goes out in batches, and what they see comes back as one feed. Owns who has
//! said what and when each message stood on a screen; how the bot is made to work is the parts'.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::reach::Reach;
use reelcoach::core::wording::{self, marks};
use sandbox::hand::{On, Said, Say, SayKind, Seen};

/// At the end of a text that is still growing.
pub const CURSOR: char = '▌';

/// Messages that go out in one request.
const BATCH: usize = 500;

/// One message that a person has sent.
#[derive(Clone, Debug)]
pub struct Asked {
    pub on: On,
    pub who: u64,
    pub chat: String,
    pub message: String,
    pub in_group: bool,
    /// Microseconds of the sandbox's clock.
    pub at: u64,
    /// The reel it asks for.
    pub reel: Option<String>,
    pub twice: bool,
    /// The platform kept it to itself.
    pub lost: bool,
}

/// How a message of the bot's stood there at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No message: the bot is seen at work.
    Typing,
    Growing,
    /// It has buttons: a board.
    Board,
    /// The note that storing takes longer.
    Late,
    Final,
}

/// One change on a screen.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: u64,
    pub on: On,
    pub chat: String,
    pub message: String,
    pub state: State,
    /// Of its text.
    pub chars: usize,
    pub is_edit: bool,
}

impl State {
    pub fn of(head: &str, tail: &str, buttons: usize) -> State {
        match () {
            () if head.contains(&wording::late()) => State::Late,
            () if tail.ends_with(CURSOR) => State::Growing,
            // An apology has a button as well.
            () if buttons > 0 && !marks::is_apology(tail) => State::Board,
            () => State::Final,
        }
    }
}

/// When a message of the bot's was first on a screen, and when it was finished.
#[derive(Clone, Copy, Debug)]
pub struct Stood {
    pub first: u64,
    pub finished: Option<u64>,
}

/// Everybody who takes part.
pub struct Crowd {
    reach: Reach,
    out: mpsc::UnboundedSender<Going>,
    going: tokio::sync::Mutex<mpsc::UnboundedReceiver<Going>>,
    sent: AtomicUsize,
    state: Mutex<Memory>,
    /// How much of the feed was read.
    after: AtomicUsize,
}

/// What goes out: whoever sent it hears which of the person's messages it is, from 1, and when it was said.
type Going = (Wish, oneshot::Sender<(u32, u64)>);

/// Something that is to be said.
#[derive(Clone, Debug)]
pub struct Wish {
    pub on: On,
    pub who: u64,
    pub text: String,
    pub reel: Option<String>,
    pub in_group: bool,
    pub twice: bool,
    pub lost: bool,
}

#[derive(Default)]
struct Memory {
    asked: Vec<Asked>,
    /// What was said without waiting for anything.
    flood: Vec<Asked>,
    changes: Vec<Change>,
    /// By platform and chat.
    chats: HashMap<(On, String), Chat>,
    /// The chat of a person who has spoken.
    chat_of: HashMap<(On, u64), String>,
    apologies: usize,
}

#[derive(Default)]
struct Chat {
    asked: u32,
    finals: BTreeSet<String>,
    /// When the last of them came.
    last_final: Option<u64>,
    /// For which final, and who is told when it came.
    waiting: Vec<(u32, oneshot::Sender<u64>)>,
}

impl Crowd {
    pub fn new(reach: Reach) -> Crowd {
        let (out, going) = mpsc::unbounded_channel();
        let going = tokio::sync::Mutex::new(going);
        Crowd { reach, out, going, sent: AtomicUsize::new(0), state: Mutex::default(), after: AtomicUsize::new(0) }
    }

    /// Carries what is said and seen for as long as `work` takes.
    pub async fn during<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            done = work => done,
            failed = self.carry() => failed.and(Err(anyhow::anyhow!("nothing is carried any more"))),
            failed = self.watch() => failed.and(Err(anyhow::anyhow!("nothing is seen any more"))),
        }
    }

    /// Says something and waits for its final answer: how long it took by the sandbox's clock. `None` if it does not come
    /// within `patience`.
    pub async fn ask(&self, wish: Wish, patience: Duration) -> Option<Duration> {
        let key = (wish.on, wish.who);
        let (number, at) = self.send(wish)?.await.ok()?;
        let answer = {
            let mut state = lock(&self.state);
            let chat = state.chat_of.get(&key).cloned()?;
            let chat = state.chats.entry((key.0, chat)).or_default();
            let (sender, answer) = oneshot::channel();
            match chat.last_final.filter(|_| chat.finals.len() >= number as usize) {
                // Nobody has given it up.
                Some(last) => drop(sender.send(last)),
                None => chat.waiting.push((number, sender)),
            }
            answer
        };
        let answered = tokio::time::timeout(patience, answer).await.ok()?.ok()?;
        Some(Duration::from_micros(answered.saturating_sub(at)))
    }

    /// Says something; which of this person's messages it is, from 1.
    pub async fn say(&self, wish: Wish) -> Option<u32> {
        self.send(wish)?.await.ok().map(|(number, _)| number)
    }

    fn send(&self, wish: Wish) -> Option<oneshot::Receiver<(u32, u64)>> {
        let (sender, said) = oneshot::channel();
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.out.send((wish, sender)).ok()?;
        Some(said)
    }

    /// Says much at once, whose answers nobody waits for.
    pub async fn flood(&self, all: &[Say]) -> anyhow::Result<()> {
        for batch in all.chunks(BATCH) {
            let said = self.reach.say(batch).await?;
            let sent = batch.iter().zip(said).map(|(say, Said { chat, message, at })| {
                let Say { on, who, in_group, kind, twice, lost, .. } = *say;
                let message = match (on, kind) {
                    _ if message == "0" => message,
                    // As the rows name them.
                    (On::Discord, SayKind::Command | SayKind::Press) => format!("i{message}"),
                    (On::Telegram, SayKind::Press) => format!("cb{message}"),
                    _ => message,
                };
                Asked { on, who, chat, message, in_group, at, reel: None, twice, lost }
            });
            // A button that is not there yet was not pressed.
            lock(&self.state).flood.extend(sent.filter(|sent| sent.message != "0"));
        }
        Ok(())
    }

    /// What was said so.
    pub fn flooded(&self) -> Vec<Asked> {
        lock(&self.state).flood.clone()
    }

    /// How much is said in all once everything that is on its way has gone out.
    pub fn sent_count(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// All that was said so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    pub fn asked_count(&self) -> usize {
        lock(&self.state).asked.len()
    }

    /// How many messages have no final answer yet.
    pub fn owed(&self) -> usize {
        let state = lock(&self.state);
        state.chats.values().map(|chat| (chat.asked as usize).saturating_sub(chat.finals.len())).sum()
    }

    /// How many answers were apologies for a failure.
    pub fn apologies(&self) -> usize {
        lock(&self.state).apologies
    }

    /// How many times something was sent or edited on Telegram.
    pub fn changes_on_telegram(&self) -> usize {
        let state = lock(&self.state);
        let is_one = |change: &&Change| change.on == On::Telegram && change.state != State::Typing;
        state.changes.iter().filter(is_one).count()
    }

    /// Every change on a screen, in order.
    pub fn changes(&self) -> Vec<Change> {
        lock(&self.state).changes.clone()
    }

    async fn carry(&self) -> anyhow::Result<()> {
        let mut going = self.going.lock().await;
        let mut batch = Vec::new();
        while going.recv_many(&mut batch, BATCH).await > 0 {
            let say = |wish: &Wish| {
                let Wish { on, who, text, in_group, twice, lost, .. } = wish.clone();
                Say { on, who, text, in_group, kind: SayKind::Text, twice, lost }
            };
            let all: Vec<Say> = batch.iter().map(|(wish, _)| say(wish)).collect();
            let said = self.reach.say(&all).await?;
            let mut state = lock(&self.state);
            for ((wish, heard), Said { chat, message, at }) in batch.drain(..).zip(said) {
                let Wish { on, who, reel, in_group, twice, lost, .. } = wish;
                let place = state.chats.entry((on, chat.clone())).or_default();
                place.asked += 1;
                // Whoever gave up hears of nothing.
                let _ = heard.send((place.asked, at));
                state.chat_of.insert((on, who), chat.clone());
                state.asked.push(Asked { on, who, chat, message, in_group, at, reel, twice, lost });
            }
        }
        Ok(())
    }

    async fn watch(&self) -> anyhow::Result<()> {
        loop {
            let since = self.reach.seen(self.after.load(Ordering::Relaxed), Duration::from_secs(5)).await?;
            self.after.store(since.next, Ordering::Relaxed);
            let mut state = lock(&self.state);
            for seen in since.seen {
                note(&mut state, seen);
            }
            drop(state);
        }
    }
}

/// Takes one change on a screen in, and tells whoever waited for it.
fn note(state: &mut Memory, seen: Seen) {
    let Seen { at, typing, on, chat, message, head, tail, chars, buttons, is_edit } = seen;
    let how = if typing { State::Typing } else { State::of(&head, &tail, buttons) };
    if how == State::Final {
        let place = state.chats.entry((on, chat.clone())).or_default();
        if place.finals.insert(message.clone()) {
            place.last_final = Some(at);
            state.apologies += usize::from(marks::is_apology(&tail));
        }
        let finals = place.finals.len();
        for (number, waiting) in std::mem::take(&mut place.waiting) {
            if number as usize <= finals {
                // Whoever gave up hears of nothing.
                let _ = waiting.send(at);
            } else {
                place.waiting.push((number, waiting));
            }
        }
    }
    state.changes.push(Change { at, on, chat, message, state: how, chars, is_edit });
}

/// When each message of the bot's stood where.
pub fn standing(changes: &[Change]) -> HashMap<(On, &str, &str), Stood> {
    let mut all: HashMap<(On, &str, &str), Stood> = HashMap::new();
    for change in changes.iter().filter(|change| !matches!(change.state, State::Late | State::Typing)) {
        let key = (change.on, change.chat.as_str(), change.message.as_str());
        let stood = all.entry(key).or_insert(Stood { first: change.at, finished: None });
        if change.state == State::Final {
            stood.finished.get_or_insert(change.at);
        } else {
            // A board's words may look finished before they are replaced.
            stood.finished = None;
        }
    }
    all
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
