//! The table of the page. Which columns there are follows from the page and the width; all columns that matter fit 80.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::Theme;
use super::text::{grouped, length_of, percent, rate, sparkline, time_of_day};
use crate::api::proto::tidegate::v1::Counter;
use crate::cli::admin::time::{length, timestamp};
use crate::cli::admin::top::model::{Model, Page};
use crate::cli::admin::top::place::Place;
use crate::cli::admin::top::row::Row;
use crate::cli::admin::top::track::Sample;
use crate::cli::table::{cut, width};
use crate::sanitize::sanitize;
use crate::units::Nanos;

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Name,
    Rule,
    Rules,
    Counters,
    Limit,
    Checks,
    ChecksPerSecond,
    Denied,
    DeniedPerSecond,
    DeniedShare,
    DelayedPerSecond,
    Full,
    ChecksHistory,
    DeniedHistory,
    Used,
    Left,
    Reset,
    State,
    Time,
    Reason,
    Retry,
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, rows: &[Row<'_>], selected: usize, theme: Theme) {
    let columns = fitting(&columns_of(model), area.width, model.totals);
    let title = columns.iter().map(|(column, width)| aligned(*column, column.title(model), *width));
    let title = format!("  {}", title.collect::<Vec<_>>().join(GAP));
    let mut lines = area.rows();
    if let Some(line) = lines.next() {
        frame.render_widget(Line::styled(title, theme.title()), line);
    }
    if rows.is_empty() {
        if let Some(line) = lines.next() {
            frame.render_widget(Line::styled(format!("  {}", nothing(model)), theme.quiet()), line);
        }
        return;
    }
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let first = selected.saturating_sub(height / 2).min(rows.len().saturating_sub(height));
    for ((at, row), line) in rows.iter().enumerate().skip(first).zip(lines) {
        frame.render_widget(line_of(row, &columns, model, at == selected, theme), line);
    }
}

fn line_of(
    row: &Row<'_>,
    columns: &[(Column, usize)],
    model: &Model,
    is_selected: bool,
    theme: Theme,
) -> Line<'static> {
    let mut spans = vec![Span::raw(if is_selected { "> " } else { "  " })];
    for (at, (column, width)) in columns.iter().enumerate() {
        if at > 0 {
            spans.push(Span::raw(GAP));
        }
        // The selected row is reversed, which would show the colour of an empty cell as a full one.
        let style = if is_selected { Style::new() } else { column.style(row, theme) };
        spans.push(Span::styled(aligned(*column, &column.text(row, *width, model), *width), style));
    }
    let line = Line::from(spans);
    if is_selected { line.style(theme.selected()) } else { line }
}

/// Why there is no row.
fn nothing(model: &Model) -> &'static str {
    match model.page {
        _ if !model.filter.is_empty() => "nothing has the text of the filter in its name",
        Page::Bans if model.without_counters().is_some() => "bans are not listed for this token",
        Page::Bans if model.counted().is_none() => "not listed yet",
        Page::Bans => "no bans",
        Page::Denials => "no check was denied since this page was opened",
        _ => "nothing is counted here yet",
    }
}

/// The columns of the page, in their order.
fn columns_of(model: &Model) -> Vec<Column> {
    let counts = [Column::Checks, Column::ChecksPerSecond, Column::Denied, Column::DeniedPerSecond];
    let histories = [Column::ChecksHistory, Column::DeniedHistory, Column::State];
    let of_usage = |about: Column, share: &[Column]| {
        [&[Column::Name, about], &counts[..], share, &[Column::Full], &histories].concat()
    };
    let shares = [Column::DeniedShare, Column::DelayedPerSecond];
    match (model.page, &model.place) {
        (Page::Usage, Place::Everything) => of_usage(Column::Rules, &shares),
        (Page::Usage, Place::Domain(_)) => of_usage(Column::Limit, &shares),
        (Page::Usage, Place::Rule { .. }) => of_usage(Column::Counters, &[Column::DeniedShare]),
        (Page::Keys, _) => of_usage(Column::Rule, &[Column::DeniedShare]),
        (Page::Usage, Place::Value { .. }) => {
            let state = [Column::Name, Column::Used, Column::Limit, Column::Left, Column::Reset];
            [&state[..], &counts, &[Column::State]].concat()
        }
        (Page::Bans, _) => {
            let about = [Column::Name, Column::Rule, Column::State, Column::Used, Column::Limit];
            [&about[..], &[Column::Denied, Column::DeniedPerSecond]].concat()
        }
        (Page::Denials, _) => {
            vec![Column::Time, Column::Name, Column::Rule, Column::Reason, Column::Retry, Column::State]
        }
    }
}

/// The columns that fit, the most important ones first, each with its width; the name takes what is left.
fn fitting(columns: &[Column], area: u16, totals: bool) -> Vec<(Column, usize)> {
    let room = usize::from(area).saturating_sub(MARKER + LEAST_NAME);
    let mut by_priority: Vec<_> = columns.iter().filter(|column| **column != Column::Name).collect();
    by_priority.sort_by_key(|column| column.priority(totals));
    let (mut used, mut taken) = (0, Vec::new());
    // Those of one priority are shown together or not at all.
    for columns in by_priority.chunk_by(|a, b| a.priority(totals) == b.priority(totals)) {
        let needed = columns.iter().map(|column| column.width() + GAP.len()).sum::<usize>();
        if used + needed > room {
            break;
        }
        used += needed;
        taken.extend(columns.iter().map(|column| **column));
    }
    let name = LEAST_NAME + room.saturating_sub(used);
    let columns = columns.iter().filter(|column| **column == Column::Name || taken.contains(column));
    columns.map(|column| (*column, if *column == Column::Name { name } else { column.width() })).collect()
}

impl Column {
    fn title(self, model: &Model) -> &'static str {
        match self {
            Self::Name => match (model.page, &model.place) {
                (Page::Usage, Place::Everything) => "domain",
                (Page::Usage, Place::Domain(_)) => "rule",
                (Page::Usage, Place::Rule { .. }) => "value",
                _ => "entries",
            },
            Self::Rule => "rule",
            Self::Rules => "rules",
            Self::Counters => "counters",
            Self::Limit => "limit",
            Self::Checks | Self::ChecksHistory => "checks",
            Self::ChecksPerSecond => "checks/s",
            Self::Denied | Self::DeniedHistory => "denied",
            Self::DeniedPerSecond => "denied/s",
            Self::DeniedShare => "denied%",
            Self::DelayedPerSecond => "delay/s",
            Self::Full => "full",
            Self::Used => "used",
            Self::Left => "left",
            Self::Reset => "reset",
            Self::State => "state",
            Self::Time => "time",
            Self::Reason => "reason",
            Self::Retry => "retry in",
        }
    }

    fn width(self) -> usize {
        match self {
            Self::Name => LEAST_NAME,
            Self::Rules | Self::Full => 5,
            Self::DelayedPerSecond | Self::DeniedShare => 7,
            Self::ChecksPerSecond
            | Self::DeniedPerSecond
            | Self::ChecksHistory
            | Self::DeniedHistory
            | Self::Counters
            | Self::Left
            | Self::Reset
            | Self::Used
            | Self::Retry => 8,
            Self::Limit | Self::Time | Self::Reason => 10,
            Self::Checks | Self::Denied => 11,
            Self::State => 12,
            Self::Rule => 20,
        }
    }

    /// The lower, the longer it stays when there is less room.
    fn priority(self, totals: bool) -> u8 {
        match self {
            Self::Name => 0,
            Self::Used | Self::Time | Self::Reason => 1,
            Self::ChecksPerSecond | Self::DeniedPerSecond if !totals => 2,
            Self::Checks | Self::Denied if totals => 2,
            Self::State => 3,
            Self::Limit | Self::Rule => 4,
            Self::Full | Self::Left | Self::Reset | Self::Retry => 5,
            Self::ChecksHistory | Self::DeniedHistory => 6,
            Self::DeniedShare => 7,
            Self::DelayedPerSecond => 8,
            Self::Rules | Self::Counters => 9,
            Self::Checks | Self::Denied | Self::ChecksPerSecond | Self::DeniedPerSecond => 10,
        }
    }

    fn is_number(self) -> bool {
        !matches!(self, Self::Name | Self::Rule | Self::State | Self::Time | Self::Reason | Self::Limit)
    }

    fn text(self, row: &Row<'_>, width: usize, model: &Model) -> String {
        let total =
            |of: fn(&Sample) -> u64| row.totals.as_ref().map_or_else(|| "-".to_owned(), |totals| grouped(of(totals)));
        let history = |of| row.track.map(|track| sparkline(&track.history(of), width)).unwrap_or_default();
        let counter = |of: fn(&Counter) -> String| row.counter.map_or_else(|| "-".to_owned(), of);
        let governing = || row.denial.and_then(|denial| denial.governing.as_ref());
        match self {
            Self::Name => sanitize(&row.name),
            Self::Rule => sanitize(row.rule),
            Self::Rules | Self::Counters => row.count.to_string(),
            Self::Limit => row.limit.clone(),
            Self::Checks => total(|sample| sample.checks),
            Self::ChecksPerSecond => rate(row.rates.checks),
            Self::Denied => total(|sample| sample.denied),
            Self::DeniedPerSecond => rate(row.rates.denied),
            Self::DeniedShare => percent(row.denied_share(model.totals)),
            Self::DelayedPerSecond => rate(row.rates.delayed),
            Self::Full => percent(row.fullest),
            Self::ChecksHistory => history(|sample| sample.checks),
            Self::DeniedHistory => history(|sample| sample.denied),
            Self::Used => counter(|counter| counter.used.to_string()),
            Self::Left => counter(|counter| counter.remaining.to_string()),
            Self::Reset => counter(|counter| counter.reset.as_ref().map(length).unwrap_or_default()),
            Self::State => row.state.clone(),
            Self::Time => {
                let at = row.denial.and_then(|denial| denial.time.as_ref());
                at.map(|at| time_of_day(timestamp(at))).unwrap_or_default()
            }
            Self::Reason => {
                let reason = governing().map(|limit| limit.reason().as_str_name().to_lowercase().replace('_', " "));
                reason.unwrap_or_default()
            }
            Self::Retry => {
                let wait = governing().and_then(|limit| limit.retry_after.as_ref());
                let wait = wait.map(|wait| Nanos::from_secs(u64::try_from(wait.seconds).unwrap_or(0)));
                wait.map(length_of).unwrap_or_default()
            }
        }
    }

    fn style(self, row: &Row<'_>, theme: Theme) -> Style {
        match self {
            Self::ChecksHistory => theme.checks(),
            Self::DeniedHistory => theme.denied(),
            Self::DeniedPerSecond | Self::Denied if row.rates.denied.is_some_and(|rate| rate > 0.0) => theme.alarm(),
            Self::State | Self::Reason => theme.title(),
            _ => Style::new(),
        }
    }
}

/// The text in a width: numbers at the right, texts at the left.
fn aligned(column: Column, text: &str, room: usize) -> String {
    let text = cut(text, room);
    let space = " ".repeat(room.saturating_sub(width(&text)));
    if column.is_number() { space + &text } else { text + &space }
}

const GAP: &str = " ";
/// The sign of the selected row.
const MARKER: usize = 2;
/// Names are not cut further than this.
const LEAST_NAME: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_every_width() {
        let mut model = Model::new(String::new());
        for (page, _) in Page::ALL {
            model.page = page;
            for width in [0, 10, 40, 79, 80, 100, 120, 300] {
                let columns = fitting(&columns_of(&model), width, false);
                let used = columns.iter().map(|(_, width)| width).sum::<usize>() + columns.len() - 1 + MARKER;
                assert!(columns.iter().any(|(column, _)| *column == Column::Name));
                assert!(used == usize::from(width).max(MARKER + LEAST_NAME), "{page:?} {width}: {columns:?}");
            }
        }
    }

    #[test]
    fn totals_and_rates_change_places() {
        let mut model = Model::new(String::new());
        model.place = Place::Domain("api".to_owned());
        let has = |column, totals| fitting(&columns_of(&model), 80, totals).iter().any(|(shown, _)| *shown == column);
        for totals in [true, false] {
            assert_eq!((has(Column::Checks, totals), has(Column::ChecksPerSecond, totals)), (totals, !totals));
            assert!(has(Column::State, totals) && has(Column::Limit, totals) && has(Column::Full, totals));
        }
        assert!(has(Column::ChecksHistory, false) && has(Column::DeniedHistory, false));
    }
}
