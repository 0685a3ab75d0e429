//! The explanation of the keys.

use ratatui::Frame;
use ratatui::text::Line;

use super::Theme;
use super::dialog::draw_box;

pub(super) fn draw(frame: &mut Frame<'_>, theme: Theme) {
    let line = |text: &&'static str| {
        if text.starts_with(' ') { Line::from(*text) } else { Line::styled(*text, theme.title()) }
    };
    draw_box(frame, "Keys", HELP.iter().map(line).collect());
}

/// At most 72 columns and 22 lines, so that it fits 80 x 24.
const HELP: [&str; 22] = [
    "Move",
    "  up down pgup pgdn home end   select      1 2 3 4   open a page",
    "  enter   open: domain, rule, value, counter         esc   go up",
    "  e       group the counters of a rule by another entry",
    "Look",
    "  /       show only names with a text      p         pause",
    "  s S i   sort by next, previous, reverse  t         totals or rates",
    "Act, after a question (with an operator's token)",
    "  b ban a counter          u lift a ban    r         reset counters",
    "  c change a limit         o switch off or on        x remove a setting",
    "  Settings are of the selected rule, or of the selected value only.",
    "Read",
    "  full     used share of the fullest counter among the 1,000 most used",
    "  waiting  hits in queues of those         delayed   checks so far",
    "  state    2 over: counters that deny now  set       by a setting",
    "  off      not enforced                    shadow    denies nobody",
    "  Keys are the 1,000 with the most hits. Totals count from the start",
    "  of the server, rates over three reports. Bars show a rate in relation",
    "  to the largest in their line.",
    "Close",
    "  q       quit",
    "Any key closes this.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_fits_the_smallest_screen() {
        assert!(HELP.iter().all(|line| line.chars().count() <= 72), "{HELP:?}");
    }
}
