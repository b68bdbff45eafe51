//! Lays a table out in columns of a monospaced font. Owns widths and alignment; never knows a markup.

use pulldown_cmark::Alignment;
use unicode_width::UnicodeWidthStr;

/// Cells wider than this are not padded to, so that one long cell does not blow up every row.
const WIDEST: usize = 32;

/// The rows of a table; the first one is its head.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub alignments: Vec<Alignment>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts the next cell of the last row.
    pub(super) fn cell(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.push(String::new());
        }
    }

    /// Adds to the last cell.
    pub(super) fn push(&mut self, text: &str) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            cell.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
    }

    /// The table as lines without a line break at the end.
    pub(super) fn lay_out(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.trim().width().min(WIDEST));
            }
        }
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column > 0 {
                    line.push_str(" | ");
                }
                let cell = cell.trim();
                let room = widths[column].saturating_sub(cell.width());
                let left = match self.alignments.get(column) {
                    Some(Alignment::Right) => room,
                    Some(Alignment::Center) => room / 2,
                    _ => 0,
                };
                line.extend(std::iter::repeat_n(' ', left));
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', room - left));
            }
            out.push_str(line.trim_end());
            if index == 0 && self.rows.len() > 1 {
                let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width.max(1))).collect();
                out.push('\n');
                out.push_str(&rules.join("-+-"));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let rows = [["Hook", "Views"], ["你好", "1200"], ["a", "7"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let table = Table { alignments: vec![Alignment::Left, Alignment::Right], rows };
        assert_eq!(table.lay_out(), "Hook | Views\n-----+------\n你好 |  1200\na    |     7");
    }
}
