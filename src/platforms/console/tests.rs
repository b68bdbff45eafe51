//! The console without a terminal, from a line typed to the answer's lines.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;

use super::*;
use crate::core::chat::{Button, File, ReceiveFailed, Taken};

/// A buffer that the test keeps while the console writes to it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn piece(text: &str) -> Piece {
    Piece { markup: text.into(), plain: text.into(), ..Piece::default() }
}

/// Answers each message with its text, first as a growing frame.
fn echo(console: &Console, seen: Arc<Mutex<Vec<Inbound>>>) -> Receive {
    let console = console.clone();
    Arc::new(move |inbound: Inbound| {
        let (console, seen) = (console.clone(), seen.clone());
        async move {
            let to = Destination { chat: inbound.message.chat.clone(), reply_to: None };
            let text = format!("heard {}", inbound.text);
            console.typing(&to.chat).await.map_err(|_| ReceiveFailed)?;
            let nonce = inbound.message.id.clone();
            let sent = console.send(&to, &piece("hea▌"), false, &nonce).await.map_err(|_| ReceiveFailed)?;
            console.edit(&sent, &piece("heard▌"), false).await.map_err(|_| ReceiveFailed)?;
            console.edit(&sent, &piece(&text), false).await.map_err(|_| ReceiveFailed)?;
            seen.lock().unwrap().push(inbound);
            Ok(Taken::Stored)
        }
        .boxed()
    })
}

#[tokio::test]
async fn each_line_is_a_message_and_each_answer_is_printed_once() {
    let paper = Paper::default();
    let console = Console::writing_to(Clock::manual(Timestamp(1_000)), "ann".into(), paper.clone());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let idle = move || {
        let done = counted.fetch_add(1, Ordering::SeqCst) >= 2;
        async move { done }.boxed()
    };
    let input = "hello\n\n  \n/reel https://x\r\n/as bob the second\nhi\n/as\nlast without a break".as_bytes();
    let stop = CancellationToken::new();
    console.run_lines(input, echo(&console, seen.clone()), idle, &stop).await.unwrap();
    assert_eq!(
        paper.text(),
        "coach: heard hello\ncoach: heard /reel https://x\ncoach to bob the second: heard hi\ncoach to bob the second: heard last without a break\n"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let seen = seen.lock().unwrap();
    let accounts: Vec<&str> = seen.iter().map(|inbound| inbound.author.account.as_str()).collect();
    assert_eq!(accounts, ["ann", "ann", "bob the second", "bob the second"]);
    assert_eq!(seen[0].message.chat, ChatId::new(Platform::Console, "ann"));
    assert!(seen.iter().all(|inbound| inbound.atomic));
    assert_eq!(seen[0].at, Timestamp(1_000));
}

#[tokio::test]
async fn ids_differ_between_messages_and_runs() {
    let consoles = [(); 2].map(|()| Console::writing_to(Clock::System, "ann".into(), Paper::default()));
    let ids: Vec<String> = consoles
        .iter()
        .flat_map(|console| [console.typed("a"), console.typed("a")])
        .flatten()
        .map(|m| m.message.id)
        .collect();
    let distinct: std::collections::HashSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), 4);
}

#[tokio::test]
async fn a_board_is_printed_when_it_changes_and_a_repeat_is_not_sent() {
    let paper = Paper::default();
    let console = Console::writing_to(Clock::manual(Timestamp(0)), "ann".into(), paper.clone());
    let to = Destination { chat: ChatId::new(Platform::Console, "ann"), reply_to: None };
    let mut board = piece("position 2");
    board.buttons.push(Button { label: "Cancel".into(), command: "/cancel 1".into() });
    let first = console.send(&to, &board, false, "n1").await.unwrap();
    assert_eq!(console.send(&to, &board, false, "n1").await, Ok(first.clone()));
    assert_eq!(console.edit(&first, &board, false).await, Err(SendError::NotModified));
    console.edit(&first, &piece("done"), false).await.unwrap();
    assert_eq!(paper.text(), "coach: position 2\ncoach: done\n");
    let unknown = MessageRef::new(to.chat.clone(), "m9");
    assert_eq!(console.edit(&unknown, &board, false).await, Err(SendError::Gone));
}

#[tokio::test]
async fn a_file_is_printed_in_full_and_plain_is_plain() {
    let paper = Paper::default();
    let console = Console::writing_to(Clock::manual(Timestamp(0)), "ann".into(), paper.clone());
    let to = Destination { chat: ChatId::new(Platform::Console, "ann"), reply_to: None };
    let whole = File::text("answer.md", "the whole\u{1b}[2J text");
    let with_file = Piece { files: vec![whole], ..piece("the beginning") };
    console.send(&to, &with_file, false, "n1").await.unwrap();
    let plain = Piece { plain: "bold".into(), ..piece("**bold**") };
    console.send(&to, &plain, true, "n2").await.unwrap();
    assert_eq!(paper.text(), "coach: the whole[2J text\ncoach: bold\n");
}

#[tokio::test]
async fn a_picture_is_saved_and_its_place_told() {
    let paper = Paper::default();
    let console = Console::writing_to(Clock::manual(Timestamp(0)), "ann".into(), paper.clone());
    let to = Destination { chat: ChatId::new(Platform::Console, "ann"), reply_to: None };
    let with = |content: &[u8]| Piece { files: vec![File::png("cost.png", content.to_vec())], ..piece("Cost") };
    let first = console.send(&to, &with(b"one"), false, "n1").await.unwrap();
    assert_eq!(console.edit(&first, &with(b"one"), false).await, Err(SendError::NotModified));
    console.send(&to, &with(b"two"), false, "n2").await.unwrap();
    let said = paper.text();
    let paths: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("[cost.png saved as ")?.strip_suffix(']')).collect();
    let contents: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(contents, [b"one", b"two"], "{said}");
    std::fs::remove_dir_all(std::path::Path::new(paths[0]).parent().unwrap()).unwrap();
}

#[tokio::test]
async fn stop_ends_it_and_a_refused_message_is_an_error() {
    let console = Console::writing_to(Clock::System, "ann".into(), Paper::default());
    let refuse: Receive = Arc::new(|_| async { Err(ReceiveFailed) }.boxed());
    let never = || async { false }.boxed();
    let stop = CancellationToken::new();
    assert!(console.run_lines("hello".as_bytes(), refuse.clone(), never, &stop).await.is_err());
    stop.cancel();
    console.run_lines("".as_bytes(), refuse, never, &stop).await.unwrap();
}
