//! The picture of the view: pure, from the model and the time to the cells of the screen.

mod dialog;
mod header;
mod help;
mod panes;
mod table;
mod text;
mod theme;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::model::{Mode, Model, Page};
use super::place::Place;
use super::row::Row;
use crate::sanitize::sanitize;
use crate::units::Timestamp;

pub(super) use theme::Theme;

/// Draws all of it. What does not fit is cut; from 80 x 24 on everything has its place.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme, now: Timestamp) {
    let rows = model.rows();
    let selected = model.selected_of(&rows);
    let area = frame.area();
    let panes = panes_height(model, area.height);
    let [head, tabs, trail, body, detail, panes, message, keys] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(2),
        Constraint::Length(panes),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    header::draw(frame, head, model, theme, now);
    draw_tabs(frame, tabs, model, theme);
    draw_trail(frame, trail, model, &rows, theme);
    table::draw(frame, body, model, &rows, selected, theme);
    panes::draw_detail(frame, detail, model, rows.get(selected), theme);
    if panes.height > 0 {
        panes::draw_top_keys(frame, panes, model, theme);
    }
    draw_message(frame, message, model, theme);
    frame.render_widget(Line::styled(KEYS, theme.quiet()), keys);
    match &model.mode {
        Mode::Browse | Mode::Filter => {}
        Mode::Form(form) => dialog::draw_form(frame, form, theme),
        Mode::Confirm(action) => dialog::draw_question(frame, action, theme),
        Mode::Help => help::draw(frame, theme),
    }
}

/// Rows for the busiest and the most denied keys, with their title: two fifths of what the frame of the picture leaves.
fn panes_height(model: &Model, height: u16) -> u16 {
    let has_panes = model.page == Page::Usage && !matches!(model.place, Place::Value { .. });
    let room = height.saturating_sub(FRAME_HEIGHT);
    if has_panes && room >= LEAST_ROOM { room * 2 / 5 } else { 0 }
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let tab = |(number, (page, name)): (usize, &(Page, &str))| {
        let is_open = *page == model.page;
        let text = if is_open { format!("[{number} {name}]") } else { format!(" {number} {name} ") };
        Span::styled(text + " ", if is_open { theme.title() } else { theme.quiet() })
    };
    let tabs: Line<'_> = (1..).zip(&Page::ALL).map(tab).collect();
    let filter = if model.filter.is_empty() { String::new() } else { format!("filter {}  ", sanitize(&model.filter)) };
    let order = if model.reversed { ", reversed" } else { "" };
    let sorted = match model.page {
        Page::Denials => "the latest first".to_owned(),
        _ => format!("sorted by {}{order}", model.sort.words()),
    };
    text::two_sided(frame, area, tabs, Line::from(filter + &sorted));
}

fn draw_trail(frame: &mut Frame<'_>, area: Rect, model: &Model, rows: &[Row<'_>], theme: Theme) {
    let group = match (&model.page, &model.place) {
        (Page::Usage, Place::Rule { .. }) => model.group_key().map(|key| format!(", by {}", sanitize(&key))),
        _ => None,
    };
    let trail = format!("{}{}", sanitize(&model.place.trail()), group.unwrap_or_default());
    let count = match rows.len() {
        1 => "1 row".to_owned(),
        count => format!("{count} rows"),
    };
    let unread = model.denials.dropped();
    let count = if unread > 0 { format!("{count}, {} more not read", text::grouped(unread)) } else { count };
    text::two_sided(frame, area, Line::styled(trail, theme.title()), Line::from(count));
}

fn draw_message(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    if model.mode == Mode::Filter {
        let typed = format!("filter: {}_   (enter keeps it, esc clears it)", sanitize(&model.filter));
        return frame.render_widget(Line::styled(typed, theme.title()), area);
    }
    let Some(message) = &model.message else { return };
    let (text, style) = if message.is_error {
        (format!("error: {}", sanitize(&message.text)), theme.alarm())
    } else {
        (sanitize(&message.text), theme.title())
    };
    frame.render_widget(Line::styled(text, style), area);
}

/// Lines besides the table's body and the panes.
const FRAME_HEIGHT: u16 = 11;
/// Less would leave the table and the panes a few lines each.
const LEAST_ROOM: u16 = 11;
const KEYS: &str = "enter open  esc up  / filter  s sort  p pause  b ban  r reset  ? keys  q quit";

#[cfg(test)]
mod tests;
