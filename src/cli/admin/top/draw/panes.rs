//! Below the table: more about the selected row, and the busiest and the most denied keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::Theme;
use super::text::{grouped, percent, rate};
use crate::cli::admin::time::length;
use crate::cli::admin::top::model::Model;
use crate::cli::admin::top::row::{Row, Sort, Target};
use crate::cli::table::{cut, width};
use crate::sanitize::{sanitize, sanitize_within};

/// Two lines about the selected row: its counts, and its limit in a sentence or its state.
pub(super) fn draw_detail(frame: &mut Frame<'_>, area: Rect, model: &Model, row: Option<&Row<'_>>, theme: Theme) {
    let Some(row) = row else { return };
    let [counts, about] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let name = match &row.target {
        Target::Rule { rule, .. } => rule,
        _ => &row.name,
    };
    let totals = row.totals.unwrap_or_default();
    let text = match row.denial {
        Some(denial) => {
            let all = denial.descriptors.iter().flat_map(|descriptor| &descriptor.entries);
            let all: Vec<_> = all.map(|entry| format!("{}={}", entry.key, entry.value)).collect();
            format!("domain {}, all entries: {}", denial.domain, all.join(" "))
        }
        None => format!(
            "{name}: checks {}  denied {} ({})  delayed {} ({}/s)",
            grouped(totals.checks),
            grouped(totals.denied),
            percent(totals.denied_share()),
            grouped(totals.delayed),
            rate(row.rates.delayed),
        ),
    };
    let room = usize::from(area.width);
    frame.render_widget(Line::styled(cut(&sanitize_within(MAX_DETAIL, &text), room), theme.title()), counts);
    frame.render_widget(Line::raw(cut(&sanitize_within(MAX_DETAIL, &about_row(model, row)), room)), about);
}

/// The limit in a sentence, or the state of a counter.
fn about_row(model: &Model, row: &Row<'_>) -> String {
    if let Some(counter) = row.counter {
        let reset = counter.reset.as_ref().map(|reset| format!(", reset in {}", length(reset))).unwrap_or_default();
        let state = if row.state.is_empty() { String::new() } else { format!("; {}", row.state) };
        return format!(
            "used {} of {}, left {}{reset}{state}",
            grouped(counter.used),
            row.limit,
            grouped(counter.remaining)
        );
    }
    let (domain, rule) = match &row.target {
        Target::Domain(_) => return String::new(),
        Target::Rule { domain, rule }
        | Target::Value { domain, rule, .. }
        | Target::Rest { domain, rule }
        | Target::Denial { domain, rule, .. } => (domain, rule),
        Target::Counter(key, _) => (&key.domain, &key.rule),
    };
    let state = Some(row.state.as_str()).filter(|state| !state.is_empty());
    let words: Vec<_> = state.into_iter().chain(model.limits_of(domain, rule).map(|limit| &*limit.words)).collect();
    words.join("; ")
}

/// The busiest keys of the place, and next to them the most denied ones.
pub(super) fn draw_top_keys(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let [busiest, _, denied] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    for (area, sort, title) in [(busiest, Sort::Checks, "busiest keys"), (denied, Sort::Denied, "most denied keys")] {
        let what = if model.totals { "total" } else { "per s" };
        let title =
            format!("{title} {}", "─".repeat(usize::from(area.width).saturating_sub(title.len() + what.len() + 2)));
        let rows = model.top_keys(sort);
        let mut lines = area.rows();
        if let Some(line) = lines.next() {
            frame.render_widget(Line::styled(format!("{title} {what}"), theme.title()), line);
        }
        for (row, line) in rows.iter().zip(lines) {
            frame.render_widget(key_line(row, sort, model.totals, line.width, theme), line);
        }
    }
}

fn key_line(row: &Row<'_>, sort: Sort, totals: bool, room: u16, theme: Theme) -> Line<'static> {
    let sample = row.totals.unwrap_or_default();
    let number = match (sort, totals) {
        (Sort::Denied, true) => grouped(sample.denied),
        (Sort::Denied, false) => rate(row.rates.denied),
        (_, true) => grouped(sample.checks),
        (_, false) => rate(row.rates.checks),
    };
    let state = if row.state.is_empty() { String::new() } else { format!(" {}", row.state) };
    let taken = width(&state) + width(&number) + 1;
    let room = usize::from(room).saturating_sub(taken);
    let name = cut(&sanitize(&row.name), room);
    let space = " ".repeat(room.saturating_sub(width(&name)) + 1);
    let style = if sort == Sort::Denied { theme.denied() } else { theme.checks() };
    Line::from(vec![Span::raw(name), Span::styled(state, theme.alarm()), Span::raw(space), Span::styled(number, style)])
}

/// A wide terminal has that many columns.
const MAX_DETAIL: usize = 400;
