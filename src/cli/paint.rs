//! Colours texts on a terminal.

use std::env;
use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use super::args::Color;

/// A painter that colours texts, or leaves them plain.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    coloured: bool,
}

impl Paint {
    /// Creates a painter for a stream. With [`Color::Auto`], it uses colours on a terminal, unless `NO_COLOR`
    /// is set and not empty, or `TERM` is `dumb`.
    pub fn new(choice: Color, is_terminal: bool) -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let coloured = match choice {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb,
        };
        Self { coloured }
    }

    /// Returns whether the painter uses colours.
    pub fn is_coloured(self) -> bool {
        self.coloured
    }

    fn styled(self, style: Style, text: impl Display) -> String {
        if self.coloured { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// Colours a value in the first image, or a bad verdict, red.
    pub fn red(self, text: impl Display) -> String {
        self.styled(AnsiColor::Red.on_default(), text)
    }

    /// Colours a value in the second image, or a good verdict, green.
    pub fn green(self, text: impl Display) -> String {
        self.styled(AnsiColor::Green.on_default(), text)
    }

    /// Emphasizes a path or a name.
    pub fn bold(self, text: impl Display) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// Makes a text less visible.
    pub fn dim(self, text: impl Display) -> String {
        self.styled(Style::new().dimmed(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(Paint::new(Color::Never, true).red("x"), "x");
        assert_eq!(Paint::new(Color::Auto, false).bold("x"), "x");
        assert_eq!(Paint::new(Color::Always, false).red("x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
