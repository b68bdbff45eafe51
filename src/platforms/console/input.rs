//! The line that is being typed. Owns editing and history; never knows the terminal.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// A text with a cursor between two graphemes.
#[derive(Debug, Default)]
pub(super) struct Input {
    text: String,
    /// In bytes.
    cursor: usize,
    history: Vec<String>,
    /// Which entry of the history is shown, and what was being typed before.
    recalled: Option<(usize, String)>,
}

impl Input {
    /// Puts typed or pasted text in. Line breaks stay, so that a paste of several lines is one message.
    pub(super) fn insert(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let clean: String = text.chars().filter(|&c| c == '\n' || !c.is_control() || c == '\t').collect();
        self.text.insert_str(self.cursor, &clean);
        self.cursor += clean.len();
    }

    /// Takes what was typed, if there is anything, and remembers it.
    pub(super) fn submit(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        if text.trim().is_empty() {
            return None;
        }
        if self.history.last() != Some(&text) {
            self.history.push(text.clone());
        }
        Some(text)
    }

    pub(super) fn left(&mut self) {
        self.cursor = self.before();
    }

    pub(super) fn right(&mut self) {
        self.cursor += self.text[self.cursor..].graphemes(true).next().map_or(0, str::len);
    }

    pub(super) fn word_left(&mut self) {
        let before = self.text[..self.cursor].trim_end();
        self.cursor = before.rfind(char::is_whitespace).map_or(0, |at| before.ceil_char_boundary(at + 1));
    }

    pub(super) fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let space = rest.len() - rest.trim_start().len();
        let word = rest[space..].find(char::is_whitespace).unwrap_or(rest.len() - space);
        self.cursor += space + word;
    }

    pub(super) fn home(&mut self) {
        self.cursor = self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1);
    }

    pub(super) fn end(&mut self) {
        self.cursor = self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at);
    }

    pub(super) fn backspace(&mut self) {
        let from = self.before();
        self.text.replace_range(from..self.cursor, "");
        self.cursor = from;
    }

    pub(super) fn delete(&mut self) {
        let from = self.cursor;
        self.right();
        self.text.replace_range(from..self.cursor, "");
        self.cursor = from;
    }

    pub(super) fn delete_word(&mut self) {
        let to = self.cursor;
        self.word_left();
        self.text.replace_range(self.cursor..to, "");
    }

    pub(super) fn delete_to_start(&mut self) {
        let to = self.cursor;
        self.home();
        self.text.replace_range(self.cursor..to, "");
    }

    pub(super) fn delete_to_end(&mut self) {
        let from = self.cursor;
        self.end();
        self.text.replace_range(from..self.cursor, "");
        self.cursor = from;
    }

    /// The entry before in the history.
    pub(super) fn older(&mut self) {
        let at = self.recalled.as_ref().map_or(self.history.len(), |(at, _)| *at);
        let Some(entry) = at.checked_sub(1).and_then(|at| self.history.get(at)).cloned() else { return };
        let current = std::mem::replace(&mut self.text, entry);
        let typed = self.recalled.take().map_or(current, |(_, typed)| typed);
        self.recalled = Some((at - 1, typed));
        self.cursor = self.text.len();
    }

    /// The entry after in the history, and at its end what was being typed.
    pub(super) fn newer(&mut self) {
        let Some((at, typed)) = self.recalled.take() else { return };
        self.text = match self.history.get(at + 1) {
            Some(entry) => {
                self.recalled = Some((at + 1, typed));
                entry.clone()
            }
            None => typed,
        };
        self.cursor = self.text.len();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The rows of the text at this width, and the row and column of the cursor.
    pub(super) fn rows(&self, width: usize) -> (Vec<String>, (usize, usize)) {
        let width = width.max(2);
        let mut rows = vec![String::new()];
        let (mut column, mut at, mut cursor) = (0, 0, None);
        for grapheme in self.text.graphemes(true) {
            let wide = grapheme.width();
            if column + wide > width && grapheme != "\n" {
                rows.push(String::new());
                column = 0;
            }
            if at == self.cursor {
                cursor = Some((rows.len() - 1, column));
            }
            at += grapheme.len();
            if grapheme == "\n" {
                rows.push(String::new());
                column = 0;
            } else if let Some(row) = rows.last_mut() {
                row.push_str(if grapheme == "\t" { " " } else { grapheme });
                column += wide;
            }
        }
        let end = if column >= width {
            rows.push(String::new());
            (rows.len() - 1, 0)
        } else {
            (rows.len() - 1, column)
        };
        (rows, cursor.unwrap_or(end))
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cluster_is_one_step() {
        let mut input = Input::default();
        input.insert("a👨‍👩‍👧‍👦e\u{301}");
        input.left();
        input.backspace();
        assert_eq!(input.text, "ae\u{301}");
        input.delete();
        assert_eq!(input.text, "a");
        input.insert("bc de");
        input.delete_word();
        assert_eq!(input.text, "abc ");
        input.home();
        input.delete_to_end();
        assert!(input.is_empty());
    }

    #[test]
    fn history_comes_back_and_so_does_what_was_typed() {
        let mut input = Input::default();
        for text in ["one", "two"] {
            input.insert(text);
            assert_eq!(input.submit().as_deref(), Some(text));
        }
        input.insert("draft");
        input.older();
        input.older();
        input.older();
        assert_eq!(input.text, "one");
        input.newer();
        assert_eq!(input.text, "two");
        input.newer();
        assert_eq!(input.text, "draft");
        input.delete_to_start();
        assert_eq!(input.submit(), None);
    }

    #[test]
    fn rows_are_as_wide_as_they_look() {
        let mut input = Input::default();
        input.insert("你好吗a\r\nb");
        assert_eq!(input.rows(5), (vec!["你好".into(), "吗a".into(), "b".into()], (2, 1)));
        input.home();
        input.left();
        assert_eq!(input.rows(5).1, (1, 3));
    }

    proptest! {
        #[test]
        fn any_keys_leave_the_cursor_between_characters(keys in proptest::collection::vec((0u8..14, ".{0,3}"), 0..60), width in 0usize..20) {
            let mut input = Input::default();
            for (key, text) in keys {
                match key {
                    0 => input.left(),
                    1 => input.right(),
                    2 => input.word_left(),
                    3 => input.word_right(),
                    4 => input.home(),
                    5 => input.end(),
                    6 => input.backspace(),
                    7 => input.delete(),
                    8 => input.delete_word(),
                    9 => input.delete_to_end(),
                    10 => input.older(),
                    11 => input.newer(),
                    12 => drop(input.submit()),
                    _ => input.insert(&text),
                }
                prop_assert!(input.text.is_char_boundary(input.cursor));
                let (rows, (row, _)) = input.rows(width);
                prop_assert!(row < rows.len());
            }
        }
    }
}
