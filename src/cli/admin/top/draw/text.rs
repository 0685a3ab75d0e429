//! Numbers, sparklines and lines of a given width.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::cli::admin::time::length;
use crate::units::{Nanos, Timestamp};

/// A count with its thousands apart: `12,345`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate in at most six characters: `0`, `0.3`, `123`, `12.3k`; `-`: not known.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate <= 0.0 => "0".to_owned(),
        Some(rate) if rate < 0.05 => "<0.1".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) if rate < 9_999.5 => format!("{rate:.0}"),
        Some(rate) if rate < 999_950.0 => format!("{:.1}k", rate / 1e3),
        Some(rate) if rate < 999_950_000.0 => format!("{:.1}M", rate / 1e6),
        Some(rate) => format!("{:.1}G", rate / 1e9),
    }
}

/// A share in percent; 100 only of the whole, and `-` of nothing.
pub(super) fn percent(share: Option<f64>) -> String {
    match share {
        None => "-".to_owned(),
        Some(share) if share >= 1.0 => "100%".to_owned(),
        Some(share) if share <= 0.0 => "0%".to_owned(),
        Some(share) => format!("{:.1}%", (share * 100.0).clamp(0.1, 99.9)),
    }
}

/// The last rates as a line of bars, in relation to the largest one; nothing is a space, and anything a bar.
pub(super) fn sparkline(rates: &[f64], width: usize) -> String {
    let last = rates.get(rates.len().saturating_sub(width)..).unwrap_or_default();
    let most = last.iter().copied().fold(0.0, f64::max);
    let bar = |rate: &f64| {
        if *rate <= 0.0 {
            return ' ';
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // From 1 to 8.
        let height = (rate / most * 8.0).ceil().clamp(1.0, 8.0) as usize;
        BARS.get(height - 1).copied().unwrap_or(' ')
    };
    let bars: String = last.iter().map(bar).collect();
    format!("{}{bars}", " ".repeat(width.saturating_sub(last.len())))
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A length of time: its two largest units.
pub(super) fn length_of(time: Nanos) -> String {
    prost_types::Duration::try_from(std::time::Duration::from(time)).map(|time| length(&time)).unwrap_or_default()
}

/// The time of the day, in UTC: `15:04:05Z`.
pub(super) fn time_of_day(at: Timestamp) -> String {
    let seconds = at.as_ns() / Nanos::SECOND.as_ns();
    format!("{:02}:{:02}:{:02}Z", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Words in lines of at most `width` characters; a word that is longer is divided.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        let used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + rest.len() <= width {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
                line.extend(rest);
            }
            continue;
        }
        if used > 0 {
            lines.push(String::new());
        }
        while rest.len() > width.max(1) {
            let tail = rest.split_off(width.max(1));
            lines.pop();
            lines.push(rest.into_iter().collect());
            lines.push(String::new());
            rest = tail;
        }
        if let Some(line) = lines.last_mut() {
            line.extend(rest);
        }
    }
    lines
}

/// A line with something at its right end, which is never cut.
pub(super) fn two_sided(frame: &mut Frame<'_>, area: Rect, left: Line<'_>, right: Line<'_>) {
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX).min(area.width);
    let left_width = area.width.saturating_sub(width.saturating_add(1));
    frame.render_widget(left, Rect { width: left_width, ..area });
    frame.render_widget(right, Rect { x: area.x + area.width - width, width, ..area });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (count, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(count), expected);
        }
        for (number, expected) in [
            (None, "-"),
            (Some(0.0), "0"),
            (Some(-0.0), "0"),
            (Some(0.01), "<0.1"),
            (Some(0.33), "0.3"),
            (Some(9.96), "10"),
            (Some(9_999.0), "9999"),
            (Some(9_999.6), "10.0k"),
            (Some(1_234_567.0), "1.2M"),
            (Some(5e9), "5.0G"),
        ] {
            assert_eq!(rate(number), expected, "{number:?}");
        }
        for (share, expected) in [
            (None, "-"),
            (Some(0.0), "0%"),
            (Some(0.000_1), "0.1%"),
            (Some(0.123_4), "12.3%"),
            (Some(0.999_9), "99.9%"),
            (Some(1.0), "100%"),
        ] {
            assert_eq!(percent(share), expected, "{share:?}");
        }
    }

    #[test]
    fn sparklines() {
        for (rates, width, expected) in [
            (&[][..], 3, "   "),
            (&[0.0, 0.0], 2, "  "),
            (&[1.0, 2.0, 4.0, 8.0], 6, "  ▁▂▄█"),
            (&[100.0, 0.0, 0.001, 4.0], 3, " ▁█"),
        ] {
            assert_eq!(sparkline(rates, width), expected, "{rates:?}");
        }
    }

    #[test]
    fn texts_are_wrapped() {
        for (text, width, expected) in [
            ("", 5, &[""][..]),
            ("ab cd ef", 5, &["ab cd", "ef"]),
            ("abcdefghijk", 5, &["abcde", "fghij", "k"]),
            ("ab abcdefg h", 5, &["ab", "abcde", "fg h"]),
            ("abcde fghij", 5, &["abcde", "fghij"]),
            ("ab", 0, &["a", "b"]),
        ] {
            assert_eq!(wrapped(text, width), expected, "{text:?}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time_of_day(Timestamp::from_ns(1_795_665_661_900_000_000)), "04:01:01Z");
        assert_eq!(length_of(Nanos::from_secs(3_725)), "1h 2m");
    }
}
