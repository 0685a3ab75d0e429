//! Styles. A colour is never all that makes a difference: there is a word, a sign or a weight besides it.

use ratatui::style::{Color, Modifier, Style};

/// With or without colours.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli::admin::top) struct Theme {
    has_colours: bool,
}

#[allow(clippy::unused_self, reason = "which styles have a colour is known here alone")]
impl Theme {
    /// Colours, unless NO_COLOR is set and not empty.
    pub(in crate::cli::admin::top) fn of_environment() -> Self {
        Self { has_colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    /// Without colours.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { has_colours: false };

    /// With colours.
    #[cfg(test)]
    pub(super) const COLOURED: Self = Self { has_colours: true };

    fn coloured(self, style: Style, colour: Color) -> Style {
        if self.has_colours { style.fg(colour) } else { style }
    }

    /// Titles, and what is open.
    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is there in case it is needed.
    pub(super) fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The selected row, which has a `>` before it.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Denials, bans and errors.
    pub(super) fn alarm(self) -> Style {
        self.coloured(Style::new().add_modifier(Modifier::BOLD), Color::Red)
    }

    /// Checks.
    pub(super) fn checks(self) -> Style {
        self.coloured(Style::new(), Color::Cyan)
    }

    /// Denied checks.
    pub(super) fn denied(self) -> Style {
        self.coloured(Style::new(), Color::Red)
    }
}
