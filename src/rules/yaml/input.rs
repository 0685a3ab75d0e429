//! The input of the parser, which hides forms that libyaml accepts and the parser does not.

use saphyr_parser::input::SkipTabs;
use saphyr_parser::{Input, StrInput};

/// As the parser's own input, except that a comment may follow a closing quote or bracket, a comma or a block header without
/// a space, and a tab between the colon of a key and its value is white space. libyaml accepts both, YAML 1.2 does not.
pub(super) struct Lenient<'t>(StrInput<'t>);

impl<'t> Lenient<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self(StrInput::new(text))
    }
}

impl Input for Lenient<'_> {
    fn skip_ws_to_eol(&mut self, skip_tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        let (skipped, result) = self.0.skip_ws_to_eol(skip_tabs);
        let tabs = match result {
            Ok(found) => found.found_tabs(),
            // The only possible error: the next character begins a comment.
            Err(_) => return (skipped + self.0.skip_while_non_breakz(), Ok(SkipTabs::Result(false, true))),
        };
        (skipped, Ok(SkipTabs::Result(tabs, true)))
    }

    fn lookahead(&mut self, count: usize) {
        self.0.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.0.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.0.bufmaxlen()
    }

    fn raw_read_ch(&mut self) -> char {
        self.0.raw_read_ch()
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.0.raw_read_non_breakz_ch()
    }

    fn skip(&mut self) {
        self.0.skip();
    }

    fn skip_n(&mut self, count: usize) {
        self.0.skip_n(count);
    }

    fn peek(&self) -> char {
        self.0.peek()
    }

    fn peek_nth(&self, n: usize) -> char {
        self.0.peek_nth(n)
    }

    fn peek_opt(&self) -> Option<char> {
        self.0.peek_opt()
    }

    fn look_ch(&mut self) -> char {
        self.0.look_ch()
    }

    fn skip_while_non_breakz(&mut self) -> usize {
        self.0.skip_while_non_breakz()
    }
}
