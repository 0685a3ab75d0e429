//! Boxes over the picture: a form, and the question before an action.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::Theme;
use super::text::wrapped;
use crate::cli::admin::top::action::Action;
use crate::cli::admin::top::form::{Field, Form};
use crate::sanitize::sanitize_within;

/// What has to be typed before the question.
pub(super) fn draw_form(frame: &mut Frame<'_>, form: &Form, theme: Theme) {
    let mut lines = Vec::new();
    for (at, Field { label, text }) in form.fields.iter().enumerate() {
        let (sign, cursor) = if at == form.focus { ("> ", "_") } else { ("  ", "") };
        lines.push(Line::from(format!("{sign}{label}: {}{cursor}", sanitize_within(MAX_TEXT, text))));
        if *label == "for" {
            lines.push(Line::styled("    a length such as 10m, 2h, 1d; empty: until it is unset", theme.quiet()));
        }
    }
    lines.push(Line::default());
    if !form.error.is_empty() {
        let error = format!("error: {}", sanitize_within(MAX_TEXT, &form.error));
        lines.extend(wrapped(&error, WIDTH - 4).into_iter().map(|line| Line::styled(line, theme.alarm())));
    }
    lines.push(Line::from("enter goes on to the question   tab next field   esc cancels"));
    draw_box(frame, form.title(), lines);
}

/// What will happen, exactly, and how to answer.
pub(super) fn draw_question(frame: &mut Frame<'_>, action: &Action, theme: Theme) {
    let text = |text: &str| wrapped(&sanitize_within(MAX_TEXT, text), WIDTH - 4);
    let mut lines: Vec<_> =
        text(&action.question()).into_iter().map(|line| Line::styled(line, theme.title())).collect();
    lines.push(Line::default());
    for consequence in action.consequences() {
        lines.extend(text(&consequence).into_iter().map(Line::from));
    }
    lines.push(Line::default());
    lines.push(Line::styled("The same on the command line:", theme.quiet()));
    lines.extend(text(&action.command()).into_iter().map(Line::from));
    lines.push(Line::default());
    lines.push(Line::styled("y does it   n does not", theme.title()));
    draw_box(frame, "Confirm", lines);
}

/// A box in the middle. If it is too small for all lines, the last ones, which say how to answer, are shown.
pub(super) fn draw_box(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'_>>) {
    let screen = frame.area();
    let width = u16::try_from(WIDTH).unwrap_or(screen.width).min(screen.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(screen.height).min(screen.height);
    let area =
        Rect { x: screen.x + (screen.width - width) / 2, y: screen.y + (screen.height - height) / 2, width, height };
    let hidden = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).saturating_sub(height);
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(format!(" {title} ")).padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Paragraph::new(lines).block(block).scroll((hidden, 0)), area);
}

/// Columns of a box, its frame included.
const WIDTH: usize = 76;
/// Bytes of a text in a box: long names, and what is done to them.
const MAX_TEXT: usize = 600;
