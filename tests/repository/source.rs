//! A Rust file, taken apart as far as the rules need it.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, UseTree};

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Every path outside tests, each group of a `use` spelt out.
    pub(crate) paths: Vec<PathUse>,
    /// String literals outside tests, each with the line it begins on.
    pub(crate) strings: Vec<(usize, String)>,
    /// The lines of `unsafe`, in tests too.
    pub(crate) unsafe_lines: Vec<usize>,
    /// Macros that are called, in tests too, each with its line.
    pub(crate) macros: Vec<(usize, String)>,
}

/// A path such as `std::fs::read`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    pub(crate) line: usize,
    pub(crate) path: String,
    /// Whether it is called without an argument.
    pub(crate) called_with_nothing: bool,
}

impl Source {
    /// Parses a file that the compiler takes.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let is_test = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error} in {text}"));
        let mut found = Found { in_tests: is_test, ..Found::default() };
        found.visit_file(&parsed);
        let mut unsafe_lines = Vec::new();
        unsafe_tokens(text.parse().unwrap(), &mut unsafe_lines);
        let Found { paths, strings, macros, .. } = found;
        Self { path: path.to_owned(), text: text.to_owned(), paths, strings, unsafe_lines, macros }
    }

    /// The file's module, as the names from the crate's root on; nothing for files outside `src/`.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let inside = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        Some(inside.strip_suffix("/mod").unwrap_or(inside).split('/').collect())
    }
}

/// Lines of `text` that hold `word` as a word of its own.
pub(crate) fn lines_with_word(text: &str, word: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone =
        |line: &str, at: usize| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word);
    let found = |line: &str| line.match_indices(word).any(|(at, _)| stands_alone(line, at));
    (1..).zip(text.lines()).filter(|(_, line)| found(line)).map(|(number, _)| number).collect()
}

#[derive(Default)]
struct Found {
    in_tests: bool,
    paths: Vec<PathUse>,
    strings: Vec<(usize, String)>,
    macros: Vec<(usize, String)>,
}

impl Found {
    fn add_path(&mut self, span: Span, path: String, called_with_nothing: bool) {
        if !self.in_tests {
            self.paths.push(PathUse { line: line(span), path, called_with_nothing });
        }
    }

    fn add_use(&mut self, tree: &UseTree, prefix: &str) {
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &format!("{prefix}{}::", path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, prefix)),
            UseTree::Name(name) => self.add_path(name.span(), format!("{prefix}{}", name.ident), false),
            UseTree::Rename(name) => self.add_path(name.span(), format!("{prefix}{}", name.ident), false),
            UseTree::Glob(glob) => self.add_path(glob.span(), format!("{prefix}*"), false),
        }
    }

    /// What a macro is called with is not parsed: paths and literals are taken from its tokens.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Literal(literal) => self.add_literal(&literal.to_string(), literal.span()),
                TokenTree::Ident(first) => {
                    let mut path = first.to_string();
                    while let [TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(next)] =
                        tokens.get(at..at + 3).unwrap_or_default()
                        && (a.as_char(), b.as_char()) == (':', ':')
                    {
                        path = format!("{path}::{next}");
                        at += 3;
                    }
                    let called_with_nothing = matches!(tokens.get(at), Some(TokenTree::Group(group))
                        if group.delimiter() == Delimiter::Parenthesis && group.stream().is_empty());
                    self.add_path(first.span(), path, called_with_nothing);
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    fn add_literal(&mut self, text: &str, span: Span) {
        if let Ok(text) = syn::parse_str::<syn::LitStr>(text)
            && !self.in_tests
        {
            self.strings.push((line(span), text.value()));
        }
    }

    /// Visits what has these attributes, as part of the tests if they say so.
    fn within(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.in_tests;
        self.in_tests |= attributes.iter().any(is_for_tests);
        visit(self);
        self.in_tests = before;
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item::*;
        let attributes = match item {
            Const(syn::ItemConst { attrs, .. })
            | Enum(syn::ItemEnum { attrs, .. })
            | Fn(syn::ItemFn { attrs, .. })
            | Impl(syn::ItemImpl { attrs, .. })
            | Mod(syn::ItemMod { attrs, .. })
            | Static(syn::ItemStatic { attrs, .. })
            | Struct(syn::ItemStruct { attrs, .. })
            | Trait(syn::ItemTrait { attrs, .. })
            | Type(syn::ItemType { attrs, .. })
            | Use(syn::ItemUse { attrs, .. }) => attrs.as_slice(),
            _ => &[],
        };
        self.within(attributes, |found| visit::visit_item(found, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.attrs, |found| visit::visit_impl_item_fn(found, item));
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&item.tree, "");
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        match &*call.func {
            syn::Expr::Path(path) if call.args.is_empty() => self.add_path(path.span(), text(&path.path), true),
            _ => visit::visit_expr_call(self, call),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add_path(path.span(), text(path), false);
        visit::visit_path(self, path);
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        if !self.in_tests {
            self.strings.push((line(literal.span()), literal.value()));
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.add_path(called.path.span(), text(&called.path), false);
        self.macros.push((line(called.path.span()), text(&called.path)));
        self.add_tokens(called.tokens.clone());
    }
}

/// `cfg(test)`, alone or in an `all`.
fn is_for_tests(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let mut tokens = list.tokens.clone().into_iter();
    let is_test = |token: &TokenTree| matches!(token, TokenTree::Ident(ident) if ident == "test");
    list.path.is_ident("cfg")
        && match (tokens.next(), tokens.next()) {
            (Some(first), None) => is_test(&first),
            (Some(TokenTree::Ident(all)), Some(TokenTree::Group(group))) if all == "all" => {
                group.stream().into_iter().any(|token| is_test(&token))
            }
            _ => false,
        }
}

fn text(path: &syn::Path) -> String {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::")
}

fn line(span: Span) -> usize {
    span.start().line
}

fn unsafe_tokens(tokens: TokenStream, lines: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "unsafe" => lines.push(line(ident.span())),
            TokenTree::Group(group) => unsafe_tokens(group.stream(), lines),
            _ => {}
        }
    }
}
