//! How the console looks: messages, Markdown and the input line as styled rows. Pure; never touches the
//! terminal.

use ratatui::Frame;
use ratatui::layout::Position;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::input::Input;
use super::transcript::Entry;
use crate::core::text::formatted::{Block, Formatted, Style as Look};
use crate::locale::fl;

/// All that stands in the changing part of the screen.
pub(super) struct View<'a> {
    /// Whose name is shown as "you".
    pub me: &'a str,
    pub speaker: &'a str,
    pub live: &'a [Entry],
    pub typing: bool,
    pub input: &'a Input,
}

impl View<'_> {
    /// The rows it takes at this width, if nothing is cut.
    pub(super) fn height(&self, width: usize) -> usize {
        let indent = self.prompt().width().min(width / 2);
        let input = self.input.rows(width.saturating_sub(indent)).0.len().min(INPUT_ROWS);
        self.entries(width).iter().map(Vec::len).sum::<usize>() + input
    }

    fn prompt(&self) -> String {
        match self.speaker == self.me {
            true => format!("{} › ", fl!("console-you")),
            false => format!("{} › ", self.speaker),
        }
    }

    fn entries(&self, width: usize) -> Vec<Vec<Line<'static>>> {
        let mut entries: Vec<_> = self.live.iter().map(|entry| entry_lines(entry, self.me, width)).collect();
        if self.typing && !self.live.iter().any(Entry::is_frame) {
            entries.push(vec![Line::styled(fl!("console-typing"), dim())]);
        }
        entries
    }
}

/// The most rows that the input takes.
const INPUT_ROWS: usize = 6;

/// Draws the messages that still change, and the input below them. What does not fit is cut at the top.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let area = frame.area();
    let width = usize::from(area.width);
    let height = usize::from(area.height);
    let prompt = view.prompt();
    let indent = prompt.width().min(width / 2);

    let (rows, (cursor_row, cursor_column)) = view.input.rows(width.saturating_sub(indent));
    let most = INPUT_ROWS.min(height).max(1);
    let first = (cursor_row + 1).saturating_sub(most);
    let rows: Vec<&String> = rows.iter().skip(first).take(most).collect();

    let mut entries = view.entries(width);
    let room = height.saturating_sub(rows.len());
    make_room(&mut entries, room);
    let above: Vec<Line<'static>> = entries.concat();

    let buffer = frame.buffer_mut();
    let mut y = area.y;
    for line in &above {
        buffer.set_line(area.x, y, line, area.width);
        y += 1;
    }
    let top = y;
    for (index, row) in rows.iter().enumerate() {
        let lead = if index + first == 0 { prompt.clone() } else { " ".repeat(indent) };
        let mut spans = vec![Span::styled(lead, name_style(true))];
        if view.input.is_empty() {
            spans.push(Span::styled(fl!("console-placeholder"), dim()));
        } else {
            spans.push(Span::raw((*row).clone()));
        }
        buffer.set_line(area.x, y, &Line::from(spans), area.width);
        y += 1;
    }
    let x = area.x + u16::try_from(indent + cursor_column).unwrap_or(0).min(area.width.saturating_sub(1));
    let row = u16::try_from(cursor_row - first).unwrap_or(0);
    frame.set_cursor_position(Position::new(x, top + row));
}

/// Cuts the longest messages at their top until all fit, so that a short one (a waiting reel) stays in
/// sight beside a long answer; then the oldest.
fn make_room(entries: &mut Vec<Vec<Line<'static>>>, room: usize) {
    loop {
        let total: usize = entries.iter().map(Vec::len).sum();
        if total <= room {
            return;
        }
        match entries.iter_mut().max_by_key(|lines| lines.len()) {
            Some(longest) if longest.len() > 3 => {
                let excess = (total - room + 1).min(longest.len() - 2);
                longest.drain(..excess);
                longest.insert(0, Line::styled("…", dim()));
            }
            Some(_) => drop(entries.remove(0)),
            None => return,
        }
    }
}

/// A message as rows of at most `width` columns.
pub(super) fn entry_lines(entry: &Entry, me: &str, width: usize) -> Vec<Line<'static>> {
    let name = match entry.own {
        false if entry.person == me => fl!("console-coach"),
        false => fl!("console-coach-to", name = entry.person.as_str()),
        true if entry.person == me => fl!("console-you"),
        true => entry.person.clone(),
    };
    let prefix = format!("{name} › ");
    let indent = prefix.width().min(width / 2);
    let mut spans = if entry.own { vec![(entry.text.clone(), Style::new(), false)] } else { styled(&entry.text) };
    if entry.edited {
        spans.push((format!(" {}", fl!("console-edited")), dim(), false));
    }
    for button in &entry.buttons {
        // Nobody types an id, and without one a command is about everything the person waits for.
        let command = button.command.split_whitespace().next().unwrap_or_default();
        spans.push((format!("\n[{}: {command}]", button.label), Style::new().fg(Color::Yellow), false));
    }
    let rows = wrapped(&spans, width.saturating_sub(indent).max(2));
    let rows = rows.into_iter().enumerate().map(|(index, mut row)| {
        let lead = if index == 0 { prefix.clone() } else { " ".repeat(indent) };
        row.insert(0, Span::styled(lead, name_style(entry.own)));
        Line::from(row)
    });
    rows.chain([Line::default()]).collect()
}

/// The program's own words as rows of at most `width` columns.
pub(super) fn plain_lines(text: &str, width: usize) -> Vec<Line<'static>> {
    wrapped(&[(text.to_owned(), dim(), false)], width.max(2)).into_iter().map(Line::from).collect()
}

/// Text, its style, and whether its spaces are kept.
type Styled = (String, Style, bool);

/// Markdown as styled text; addresses are written out, because a terminal does not show them otherwise.
fn styled(markdown: &str) -> Vec<Styled> {
    let formatted = Formatted::of(markdown);
    let mut spans = Vec::new();
    for (index, run) in formatted.runs.iter().enumerate() {
        let text = &formatted.text[run.start..run.end];
        let code = matches!(run.style.block, Block::Code(_));
        spans.push((text.to_owned(), terminal_style(&run.style), code));
        let next = formatted.runs.get(index + 1).and_then(|next| next.style.link);
        if let Some(link) = run.style.link.filter(|&link| next != Some(link)) {
            let address = &formatted.links[link];
            if address != text {
                spans.push((format!(" ({address})"), dim(), false));
            }
        }
    }
    spans
}

fn terminal_style(look: &Look) -> Style {
    let mut style = match look.block {
        Block::Code(_) => Style::new().fg(Color::Cyan),
        Block::Quote(_) => dim(),
        Block::Text => Style::new(),
    };
    if look.code {
        style = style.fg(Color::Cyan);
    }
    for (on, modifier) in [
        (look.bold, Modifier::BOLD),
        (look.italic, Modifier::ITALIC),
        (look.strike, Modifier::CROSSED_OUT),
        (look.link.is_some(), Modifier::UNDERLINED),
    ] {
        if on {
            style = style.add_modifier(modifier);
        }
    }
    style
}

/// Rows of at most `width` columns, broken between words where there are any.
fn wrapped(spans: &[Styled], width: usize) -> Vec<Vec<Span<'static>>> {
    let mut rows = vec![Row::default()];
    for (text, style, keep) in spans {
        for grapheme in text.graphemes(true) {
            let row = rows.last_mut();
            let Some(row) = row else { break };
            if grapheme.ends_with('\n') {
                rows.push(Row::default());
                continue;
            }
            let shown = if grapheme == "\t" { "    " } else { grapheme };
            let cell = Cell { text: shown.to_owned(), style: *style, space: !keep && grapheme == " " };
            if row.width + shown.width() <= width || row.cells.is_empty() {
                row.push(cell);
                continue;
            }
            let mut next = Row::default();
            if !cell.space {
                // The word that does not fit moves down as a whole, unless it fills the row.
                let word = row.cells.iter().rposition(|cell| cell.space).map_or(row.cells.len(), |at| at + 1);
                for moved in row.cells.split_off(word) {
                    next.push(moved);
                }
                next.push(cell);
            }
            rows.push(next);
        }
    }
    rows.into_iter().map(Row::spans).collect()
}

struct Cell {
    text: String,
    style: Style,
    /// A place to break the row.
    space: bool,
}

#[derive(Default)]
struct Row {
    cells: Vec<Cell>,
    width: usize,
}

impl Row {
    fn push(&mut self, cell: Cell) {
        self.width += cell.text.width();
        self.cells.push(cell);
    }

    fn spans(self) -> Vec<Span<'static>> {
        let mut spans: Vec<Span<'static>> = Vec::new();
        for cell in self.cells {
            match spans.last_mut() {
                Some(last) if last.style == cell.style => last.content.to_mut().push_str(&cell.text),
                _ => spans.push(Span::styled(cell.text, cell.style)),
            }
        }
        spans
    }
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn name_style(own: bool) -> Style {
    Style::new().fg(if own { Color::Green } else { Color::Magenta }).add_modifier(Modifier::BOLD)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::clock::Timestamp;
    use crate::core::chat::Button;

    fn entry(text: &str) -> Entry {
        Entry {
            id: "m1".into(),
            person: "ann".into(),
            own: false,
            text: text.into(),
            buttons: Vec::new(),
            edited: false,
            changed_at: Timestamp(0),
        }
    }

    fn shown(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(|line| line.spans.iter().map(|span| span.content.as_ref()).collect()).collect()
    }

    #[test]
    fn the_viewport_holds_messages_typing_and_input() {
        let mut terminal = Terminal::new(TestBackend::new(30, 7)).unwrap();
        let mut board = entry("**Queued**, position 3");
        board.buttons.push(Button { label: "Cancel".into(), command: "/cancel 1".into() });
        let mut input = Input::default();
        input.insert("你好");
        let live = [board];
        let view = View { me: "ann", speaker: "ann", live: &live, typing: true, input: &input };
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        terminal.backend().assert_buffer_lines_text(&[
            "coach › Queued, position 3",
            "        [Cancel: /cancel]",
            "",
            "coach is typing…",
            "you › 你好",
            "",
            "",
        ]);
        assert_eq!(terminal.get_cursor_position().unwrap(), Position::new(10, 4));
        assert_eq!(view.height(30), 5);
    }

    #[test]
    fn the_end_of_a_long_answer_is_seen() {
        let mut terminal = Terminal::new(TestBackend::new(20, 4)).unwrap();
        let live = [entry("one\ntwo\nthree\nfour▌")];
        let view = View { me: "ann", speaker: "bob", live: &live, typing: true, input: &Input::default() };
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        terminal.backend().assert_buffer_lines_text(&["…", "        four▌", "", "bob › A message, a r"]);
    }

    #[test]
    fn a_waiting_reel_stays_in_sight_beside_a_long_answer() {
        let mut terminal = Terminal::new(TestBackend::new(20, 6)).unwrap();
        let live = [entry("position 3"), entry("one\ntwo\nthree\nfour\nfive▌")];
        let view = View { me: "ann", speaker: "ann", live: &live, typing: false, input: &Input::default() };
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let want = ["coach › position 3", "", "…", "        five▌", "", "you › A message, a r"];
        terminal.backend().assert_buffer_lines_text(&want);
        let view = View { live: &[live[0].clone(), live[0].clone(), live[0].clone()], ..view };
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let want = ["coach › position 3", "", "coach › position 3", "", "you › A message, a r", ""];
        terminal.backend().assert_buffer_lines_text(&want);
    }

    #[test]
    fn words_move_down_whole_and_code_keeps_its_spaces() {
        let lines = entry_lines(&entry("a *wide* 你好你好 word\n```\n  x  y\n```\nlonglonglonglonglong"), "ann", 18);
        assert_eq!(
            shown(&lines),
            [
                "coach › a wide ",
                "        你好你好 ",
                "        word",
                "          x  y",
                "        longlonglo",
                "        nglonglong",
                ""
            ]
        );
        let link = entry_lines(&entry("see [this](https://a.b)"), "bob", 60);
        assert_eq!(shown(&link)[0], "coach to ann › see this (https://a.b)");
    }

    #[test]
    fn the_programs_own_words_fit_too() {
        assert_eq!(shown(&plain_lines("Write to the coach.\n\n", 10)), ["Write to ", "the coach.", "", ""]);
    }

    #[test]
    fn styles_follow_the_markdown() {
        let lines = entry_lines(&entry("**b** `c`"), "ann", 40);
        let styles: Vec<Style> = lines[0].spans.iter().skip(1).map(|span| span.style).collect();
        assert_eq!(styles[0], Style::new().add_modifier(Modifier::BOLD));
        assert_eq!(styles[2], Style::new().fg(Color::Cyan));
    }

    trait Rows {
        fn assert_buffer_lines_text(&self, want: &[&str]);
    }

    impl Rows for TestBackend {
        /// The rows without their styles and the space at their end.
        fn assert_buffer_lines_text(&self, want: &[&str]) {
            let buffer = self.buffer();
            let rows = (0..buffer.area.height).map(|y| {
                let mut row = String::new();
                let mut covered = 0;
                for x in 0..buffer.area.width {
                    let symbol = buffer[(x, y)].symbol();
                    if covered > 0 {
                        covered -= 1;
                        continue;
                    }
                    covered = symbol.width().saturating_sub(1);
                    row.push_str(symbol);
                }
                row.trim_end().to_owned()
            });
            assert_eq!(rows.collect::<Vec<_>>(), want);
        }
    }
}
