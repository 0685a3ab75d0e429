//! The first four lines: the server, the sums of the place, their history, and the counters.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::Theme;
use super::text::{grouped, length_of, percent, rate, sparkline, time_of_day, two_sided};
use crate::cli::admin::render::entries as entries_text;
use crate::cli::admin::top::model::{Link, Model};
use crate::cli::table::cut;
use crate::sanitize::sanitize;
use crate::units::{Nanos, Timestamp};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme, now: Timestamp) {
    let [server, sums, history, counters] = Layout::vertical([Constraint::Length(1); 4]).areas(area);
    draw_server(frame, server, model, theme, now);
    frame.render_widget(sums_line(model, theme), sums);
    frame.render_widget(history_line(model, area.width, theme), history);
    frame.render_widget(counters_line(model, theme), counters);
}

fn draw_server(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme, now: Timestamp) {
    let up = model.usage.at().map(|at| format!("  up {}", length_of(at.since(model.usage.started()))));
    let is_new = model.restarted.is_some_and(|at| now.since(at) < SHOWN_AS_NEW);
    let again = if is_new { ", STARTED AGAIN" } else { "" };
    let known = format!("{}{again}", up.unwrap_or_default());
    let (state, style) = match (&model.link, model.paused) {
        (Link::Lost, _) => ("NO CONNECTION", theme.alarm()),
        (Link::Connecting, _) => ("connecting", theme.quiet()),
        (Link::Live, true) => ("PAUSED", theme.title()),
        (Link::Live, false) => ("live", theme.title()),
    };
    let at = model.usage.at().map(|at| format!("  {}", time_of_day(at))).unwrap_or_default();
    let right = Line::from(vec![Span::styled(state, style), Span::raw(at)]);
    // Of a long address the end is missing, and nothing else.
    let taken = TITLE.len() + GAP.len() + known.len() + GAP.len() + right.width();
    let address = cut(&sanitize(&model.address), usize::from(area.width).saturating_sub(taken));
    let left = Line::from(vec![Span::styled(TITLE, theme.title()), Span::raw(format!("{GAP}{address}{known}"))]);
    two_sided(frame, area, left, right);
}

fn sums_line(model: &Model, theme: Theme) -> Line<'static> {
    let Some((total, track)) = model.usage.total() else { return Line::styled("waiting for a report", theme.quiet()) };
    let rates = track.rates();
    let denied = format!(
        "denied {} ({}/s, {})",
        grouped(total.num_requests_denied),
        rate(rates.denied),
        percent(rates.denied_share())
    );
    let style = if rates.denied.is_some_and(|rate| rate > 0.0) { theme.alarm() } else { theme.title() };
    let mut spans = vec![
        Span::styled(format!("checks {} ({}/s)", grouped(total.num_requests), rate(rates.checks)), theme.title()),
        Span::raw("  "),
        Span::styled(denied, style),
        Span::raw(format!("  delayed {} ({}/s)", grouped(total.num_requests_queued), rate(rates.delayed))),
    ];
    if total.num_requests_unmatched > 0 {
        spans.push(Span::raw(format!("  no rule {}", grouped(total.num_requests_unmatched))));
    }
    Line::from(spans)
}

fn history_line(model: &Model, width: u16, theme: Theme) -> Line<'static> {
    let Some((_, track)) = model.usage.total() else { return Line::default() };
    let bars = usize::from(width).saturating_sub(LABELS) / 2;
    Line::from(vec![
        Span::styled("checks ", theme.quiet()),
        Span::styled(sparkline(&track.history(|sample| sample.checks), bars), theme.checks()),
        Span::styled("  denied ", theme.quiet()),
        Span::styled(sparkline(&track.history(|sample| sample.denied), bars), theme.denied()),
    ])
}

fn counters_line(model: &Model, theme: Theme) -> Line<'static> {
    if let Some(why) = model.without_counters() {
        return Line::styled(format!("no counters: {}", sanitize(why)), theme.quiet());
    }
    let (Some(counted), Some((found, completed))) = (model.counted(), model.searched()) else {
        return Line::styled("bans, queues and counters: not listed yet", theme.quiet());
    };
    let more = if counted.is_least { "+" } else { "" };
    let style = if counted.banned > 0 { theme.alarm() } else { theme.title() };
    let over = counted.denying.saturating_sub(counted.banned);
    let mut spans = vec![
        Span::styled(format!("bans {}{more}", grouped(counted.banned)), style),
        Span::raw(format!("  over limit {}  waiting {}", grouped(over), grouped(counted.waiting))),
    ];
    if completed.is_none() {
        spans.push(Span::raw(format!("  searched {}", percent(Some(found.progress)))));
    }
    if let Some((counter, share)) = &counted.fullest {
        let name = if counter.entries.is_empty() { counter.rule.clone() } else { entries_text(&counter.entries) };
        spans.push(Span::raw(format!("  fullest {} {}", percent(Some(*share)), sanitize(&name))));
    }
    Line::from(spans)
}

/// Columns of the labels in the line of histories.
const LABELS: usize = 16;
/// For how long a server is shown to have started again.
const SHOWN_AS_NEW: Nanos = Nanos::from_secs(60);
const TITLE: &str = "tidegate top";
const GAP: &str = "  ";
