//! Text for people: tables and paragraphs that fit a line of a terminal.
//!
//! Everything written here is sanitized, so callers pass text as it came from a server.

use std::fmt::{self, Display, Formatter};

use crate::sanitize::{sanitize, sanitize_within};

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text, which is cut first if the table is too wide.
    Left,
    /// Numbers.
    Right,
}

/// A table: a title for each column, and rows with notes below them. It is at most [`WIDTH`] columns wide, unless another width is
/// asked for: a cell that is too long ends with `...`, a note continues on the next line.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Row>,
    /// Cells that are cut are whole below their row.
    repeats_cut: bool,
    width: usize,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), repeats_cut: false, width: WIDTH }
    }

    /// The same table, in which a cell that is cut is whole in a line below its row: for names that people type again.
    pub(super) fn repeating_cut(self) -> Self {
        Self { repeats_cut: true, ..self }
    }

    /// The same table, at most so wide. Notes keep their width.
    pub(super) fn within(self, width: usize) -> Self {
        Self { width, ..self }
    }

    /// Adds a row, with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| sanitize(&cell)).collect();
        self.rows.push(Row { cells, notes: Vec::new() });
    }

    /// Adds a line below the last row; nothing for an empty text.
    pub(super) fn note(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut().filter(|_| !text.is_empty()) {
            row.notes.push(paragraph(NOTE_INDENT, text));
        }
    }

    /// The width of each column.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<_> = self.columns.iter().map(|(title, _)| width(title)).collect();
        for row in &self.rows {
            for (most, cell) in widths.iter_mut().zip(&row.cells) {
                *most = (*most).max(width(cell));
            }
        }
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > self.width {
            let texts = widths.iter_mut().zip(&self.columns).filter(|(_, (_, align))| *align == Align::Left);
            let widest = texts.map(|(width, _)| width).max().filter(|width| **width > LEAST);
            // Only numbers near their largest values leave no room for texts.
            match widest {
                Some(widest) => *widest -= 1,
                None => match widths.iter_mut().max() {
                    Some(widest) if *widest > 0 => *widest -= 1,
                    _ => break,
                },
            }
        }
        widths
    }

    fn line<'c>(&self, widths: &[usize], cells: impl Iterator<Item = &'c str>) -> String {
        let cells = self.columns.iter().zip(widths).zip(cells).map(|(((_, align), width), cell)| {
            let cell = cut(cell, *width);
            let space = " ".repeat(width.saturating_sub(self::width(&cell)));
            if *align == Align::Left { cell + &space } else { space + &cell }
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        f.write_str(&self.line(&widths, self.columns.iter().map(|(title, _)| *title)))?;
        for Row { cells, notes } in &self.rows {
            write!(f, "\n{}", self.line(&widths, cells.iter().map(String::as_str)))?;
            let is_cut = |(cell, room): &(&String, &usize)| self.repeats_cut && width(cell) > **room;
            let mut cut = cells.iter().zip(&widths).filter(is_cut);
            cut.try_for_each(|(cell, _)| write!(f, "\n{}", paragraph(NOTE_INDENT, cell)))?;
            notes.iter().try_for_each(|note| write!(f, "\n{note}"))?;
        }
        Ok(())
    }
}

/// A text in lines of at most [`WIDTH`] columns, each with an indent; a word longer than a line is divided.
pub(super) fn paragraph(indent: usize, text: &str) -> String {
    let room = WIDTH.saturating_sub(indent);
    let mut lines = vec![String::new()];
    for word in sanitize_within(MAX_TEXT, text).split(' ') {
        let mut word = word;
        while let Some(line) = lines.last_mut() {
            let space = usize::from(!line.is_empty());
            if width(line) + space + width(word) <= room {
                line.extend(std::iter::repeat_n(' ', space));
                line.push_str(word);
                break;
            }
            if line.is_empty() {
                let (head, tail) = word.split_at(fitting(word, room));
                line.push_str(head);
                word = tail;
            }
            lines.push(String::new());
        }
    }
    let lines: Vec<_> = lines.iter().map(|line| format!("{}{line}", " ".repeat(indent))).collect();
    lines.join("\n")
}

/// The text, cut to a width.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let dots = ELLIPSIS.get(..most.min(ELLIPSIS.len())).unwrap_or_default();
    let (head, _) = text.split_at(fitting(text, most - dots.len()));
    format!("{head}{dots}")
}

/// How many bytes of a text fit a width.
fn fitting(text: &str, most: usize) -> usize {
    let mut used = 0;
    let too_wide = text.char_indices().find(|(_, c)| {
        used += width_of(*c);
        used > most
    });
    too_wide.map_or(text.len(), |(at, _)| at)
}

pub(super) fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// The columns that a terminal uses for a character: two for the wide blocks of Unicode's East Asian Width (UAX #11). An
/// approximation that errs on the wide side for combining characters.
fn width_of(c: char) -> usize {
    let is_wide = matches!(c,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}');
    if is_wide { 2 } else { 1 }
}

/// The widest line.
pub(super) const WIDTH: usize = 100;
/// A reason of 500 bytes with every byte escaped, and more than any sentence.
const MAX_TEXT: usize = 4_096;
const GAP: &str = "  ";
const ELLIPSIS: &str = "...";
const NOTE_INDENT: usize = 4;
/// Texts are not cut below that width while others are wider.
const LEAST: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(&[("rule", Align::Left), ("entries", Align::Left), ("used", Align::Right)]);
        for row in rows {
            table.row(row.map(str::to_owned));
        }
        table
    }

    #[test]
    fn columns_are_aligned_and_notes_are_below_their_row() {
        let mut table = table(&[["api.user", "user=é", "7"], ["api", "", "12345"]]);
        table.note("banned");
        table.note("");
        table.row(["x", "ユーザー", "0"].map(str::to_owned));
        let expected = "\
rule      entries    used
api.user  user=é        7
api                 12345
    banned
x         ユーザー      0";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_table_fits_and_cannot_control_a_terminal() {
        let (long, wide) = ("x".repeat(1_000), "宽".repeat(1_000));
        let most = u64::MAX.to_string();
        let cases = [
            [long.as_str(), "user=acme", "1"],
            [&long, &long, &most],
            [&wide, &wide, &most],
            ["api.\x1b[2Juser", "a\r\nb=\u{202e}", "1"],
            [&long, &long, &long],
        ];
        for row in cases {
            let mut table = table(&[row]);
            table.note(row[0]);
            let text = table.to_string();
            for line in text.lines() {
                assert!(width(line) <= WIDTH, "{} columns: {line}", width(line));
                assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
            }
        }
        let text = table(&[[&long[..120], "user=acme", "1"]]).repeating_cut().to_string();
        let repeated = format!("    {}\n    {}", "x".repeat(96), "x".repeat(24));
        assert_eq!(text.split_once('\n').and_then(|(_, row)| row.split_once('\n')).unwrap().1, repeated);
        let text = table(&[[&long, "user=acme", "1"]]).to_string();
        assert_eq!(text.lines().nth(1), Some(format!("{}...  user=acme     1", "x".repeat(80)).as_str()));
    }

    #[test]
    fn paragraphs() {
        let long = "x".repeat(120);
        let cases = [
            (2, "one two", "  one two".to_owned()),
            (0, "", String::new()),
            (90, "one two three four", format!("{0}one two\n{0}three four", " ".repeat(90))),
            (4, &long, format!("    {}\n    {}", "x".repeat(96), "x".repeat(24))),
            (0, "a\nb", r"a\nb".to_owned()),
        ];
        for (indent, text, expected) in cases {
            assert_eq!(paragraph(indent, text), expected, "{indent} {text:?}");
        }
    }
}
