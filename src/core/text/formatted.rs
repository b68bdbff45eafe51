//! Markdown as what a person sees: visible text and how each part of it looks. Owns the reading of
//! Markdown; never knows how a platform writes bold.

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

use super::table::Table;

/// Visible text in runs of one style.
#[derive(Debug, Default)]
pub struct Formatted {
    pub text: String,
    /// In order, without gaps, none empty.
    pub runs: Vec<Run>,
    pub links: Vec<String>,
    /// The languages of the code blocks; empty if not named.
    pub languages: Vec<String>,
}

/// A part of the text with one style; `start..end` are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub start: usize,
    pub end: usize,
    pub style: Style,
}

/// How text looks. Code carries no other style, and code in a link is only a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub bold: bool,
    pub italic: bool,
    pub strike: bool,
    pub code: bool,
    pub heading: bool,
    /// An index into `links`.
    pub link: Option<usize>,
    pub block: Block,
}

/// The block that a text stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Block {
    #[default]
    Text,
    /// The quote's number: two quotes in a row are two.
    Quote(usize),
    /// An index into `languages`.
    Code(usize),
}

/// Longer addresses are dropped and their text stays.
const LONGEST_LINK: usize = 2048;
/// Lists nested deeper are not indented further.
const DEEPEST: usize = 6;

impl Formatted {
    /// Reads CommonMark with tables, `~~strike~~` and task lists. Raw HTML is text.
    pub fn of(markdown: &str) -> Self {
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
        let mut reader = Reader { source: markdown, ..Reader::default() };
        for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
            reader.event(event, range.start);
        }
        reader.out
    }

    /// Text without any style.
    pub fn plain(text: &str) -> Self {
        let mut reader = Reader::default();
        reader.push(text, Style::default());
        reader.out
    }

    /// The run that holds the byte at `at`.
    pub fn run(&self, at: usize) -> Option<&Run> {
        self.runs.get(self.runs.partition_point(|run| run.end <= at))
    }
}

#[derive(Default)]
struct Reader<'a> {
    source: &'a str,
    out: Formatted,
    style: Style,
    /// The styles around the link or image that is open.
    around: Vec<(Option<usize>, usize)>,
    /// Line breaks owed before the next text.
    breaks: usize,
    /// A list marker was just written: the item's text follows on the same line.
    fresh: bool,
    quotes: usize,
    quote_depth: usize,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// The text of the code or HTML block that is open.
    verbatim: Option<String>,
    table: Option<Table>,
    in_table: bool,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, at: usize) {
        match event {
            Event::Start(tag) => self.start(tag, at),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
            Event::Code(text) => {
                let outer = self.style;
                if outer.link.is_none() {
                    self.style = Style { code: true, block: outer.block, heading: outer.heading, ..Style::default() };
                }
                self.text(&text);
                self.style = outer;
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                if matches!(html.trim().to_ascii_lowercase().as_str(), "<br>" | "<br/>" | "<br />") {
                    self.line_break();
                } else {
                    self.text(&html);
                }
            }
            Event::FootnoteReference(name) => self.text(&format!("[{name}]")),
            Event::SoftBreak | Event::HardBreak => self.line_break(),
            Event::Rule => {
                self.block(at);
                self.text("———");
            }
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>, at: usize) {
        match tag {
            Tag::Paragraph => self.block(at),
            Tag::Heading { .. } => {
                self.block(at);
                self.style.bold = true;
                self.style.heading = true;
            }
            Tag::BlockQuote(_) => {
                self.block(at);
                self.quote_depth += 1;
                if self.quote_depth == 1 {
                    self.quotes += 1;
                    self.style.block = Block::Quote(self.quotes);
                }
            }
            Tag::CodeBlock(kind) => {
                self.block(at);
                self.out.languages.push(match kind {
                    CodeBlockKind::Fenced(info) => language(&info),
                    CodeBlockKind::Indented => String::new(),
                });
                self.verbatim = Some(String::new());
            }
            Tag::HtmlBlock => {
                self.block(at);
                self.verbatim = Some(String::new());
            }
            Tag::List(first) => {
                self.block(at);
                self.lists.push(first);
            }
            Tag::Item => self.item(at),
            Tag::Table(alignments) => {
                self.block(at);
                self.in_table = true;
                self.table = Some(Table { alignments, rows: Vec::new() });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Some(table) = &mut self.table {
                    table.cell();
                }
            }
            Tag::Emphasis => self.style.italic = true,
            Tag::Strong => self.style.bold = true,
            Tag::Strikethrough => {
                // One tilde is "about" far more often than it is meant to strike out.
                if self.source[at..].starts_with("~~") {
                    self.style.strike = true;
                } else {
                    self.text("~");
                }
            }
            Tag::Link { link_type, dest_url, .. } => {
                let target =
                    if link_type == LinkType::Email { format!("mailto:{dest_url}") } else { dest_url.to_string() };
                self.open_link(&target);
            }
            Tag::Image { dest_url, .. } => self.open_link(&dest_url),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.style.bold = false;
                self.style.heading = false;
            }
            TagEnd::BlockQuote(_) => {
                self.quote_depth = self.quote_depth.saturating_sub(1);
                if self.quote_depth == 0 {
                    self.style.block = Block::Text;
                }
            }
            TagEnd::CodeBlock => {
                let code = self.verbatim.take().unwrap_or_default();
                self.code_block(code.strip_suffix('\n').unwrap_or(&code));
            }
            TagEnd::HtmlBlock => {
                let html = self.verbatim.take().unwrap_or_default();
                self.text(html.trim_end());
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.fresh = false;
            }
            TagEnd::Item => self.fresh = false,
            TagEnd::Table => {
                self.in_table = false;
                if let Some(table) = self.table.take() {
                    self.out.languages.push(String::new());
                    self.code_block(&table.lay_out());
                }
            }
            TagEnd::Emphasis => self.style.italic = false,
            TagEnd::Strong => self.style.bold = self.style.heading,
            TagEnd::Strikethrough => {
                if self.style.strike {
                    self.style.strike = false;
                } else {
                    self.text("~");
                }
            }
            TagEnd::Link | TagEnd::Image => {
                if let Some((link, length)) = self.around.pop() {
                    if tag == TagEnd::Image && self.out.text.len() == length && !self.in_table {
                        self.text("image");
                    }
                    self.style.link = link;
                }
            }
            _ => {}
        }
    }

    /// A block begins: on a new line, after an empty line if there is one in the source.
    fn block(&mut self, at: usize) {
        if self.fresh || self.out.text.is_empty() {
            return;
        }
        let before = self.source[..at].trim_end_matches([' ', '\t', '\n', '\r', '>']);
        let lines = self.source[before.len()..at].matches('\n').count();
        self.breaks = self.breaks.max(lines.clamp(1, 2));
    }

    fn item(&mut self, at: usize) {
        self.fresh = false;
        self.block(at);
        let depth = self.lists.len().saturating_sub(1);
        let written = self.source[at..].trim_start();
        let digits = written.bytes().take_while(u8::is_ascii_digit).count();
        let marker = match self.lists.last_mut() {
            Some(Some(next)) => {
                // The number that was written, unless all items carry the same one.
                let number = written[..digits].parse().map_or(*next, |number: u64| number.max(*next));
                *next = number.saturating_add(1);
                format!("{number}. ")
            }
            _ => "• ".to_owned(),
        };
        self.indented(&marker, depth);
        self.fresh = true;
    }

    fn line_break(&mut self) {
        if let Some(table) = &mut self.table {
            table.push(" ");
        } else {
            self.breaks = self.breaks.max(1);
        }
    }

    fn open_link(&mut self, target: &str) {
        self.around.push((self.style.link, self.out.text.len()));
        let target: String = target.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
        let scheme = target.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        let known = scheme.is_some_and(|scheme| matches!(scheme.as_str(), "http" | "https" | "tg" | "mailto"));
        if known && target.len() <= LONGEST_LINK && self.style.link.is_none() {
            self.out.links.push(target);
            self.style.link = Some(self.out.links.len() - 1);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(verbatim) = &mut self.verbatim {
            verbatim.push_str(text);
        } else if let Some(table) = &mut self.table {
            table.push(text);
        } else {
            self.indented(text, self.lists.len());
        }
    }

    /// Text whose lines are indented as its list is deep.
    fn indented(&mut self, text: &str, depth: usize) {
        for (index, line) in text.split('\n').enumerate() {
            self.breaks = if index > 0 { self.breaks.max(1) } else { self.breaks };
            if line.is_empty() {
                continue;
            }
            if self.out.text.is_empty() {
                self.breaks = 0;
            }
            if self.breaks > 0 {
                let mut gap = "\n".repeat(self.breaks);
                gap.push_str(&"   ".repeat(depth.min(DEEPEST)));
                self.gap(&gap);
            }
            self.fresh = false;
            self.push(line, self.style);
        }
    }

    /// Code goes out of quotes and keeps its white space exactly.
    fn code_block(&mut self, code: &str) {
        if code.is_empty() {
            return;
        }
        // After a list marker code begins on its own line.
        let breaks = if self.fresh { 1 } else { self.breaks };
        if breaks > 0 && !self.out.text.is_empty() {
            self.gap(&"\n".repeat(breaks));
        }
        self.fresh = false;
        let block = Block::Code(self.out.languages.len() - 1);
        self.push(code, Style { block, ..Style::default() });
        self.breaks = 1;
    }

    /// The space between two texts: in the quote if both are.
    fn gap(&mut self, space: &str) {
        let before = self.out.runs.last().map(|run| run.style.block).unwrap_or_default();
        let block = match before {
            Block::Quote(_) if before == self.style.block => before,
            _ => Block::Text,
        };
        self.breaks = 0;
        self.push(space, Style { block, ..Style::default() });
    }

    fn push(&mut self, text: &str, style: Style) {
        let start = self.out.text.len();
        self.out.text.extend(text.chars().filter(|&c| !c.is_control() || matches!(c, '\n' | '\t')));
        let end = self.out.text.len();
        match self.out.runs.last_mut() {
            _ if start == end => {}
            Some(last) if last.style == style => last.end = end,
            _ => self.out.runs.push(Run { start, end, style }),
        }
    }
}

/// The first word of a fence's info string, as far as it can stand in an attribute.
fn language(info: &str) -> String {
    let word = info.split([' ', ',', '\t', '{']).next().unwrap_or_default();
    word.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '-' | '_' | '.')).take(32).collect()
}
