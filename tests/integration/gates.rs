//! Tests that need root have `#[ignore]`, so that the test harness counts them as ignored for a user.
//!
//! The harness knows nothing of [`gate`](crate::support::gate), which is called while a test runs. So the
//! sources are searched for tests that call it with such a requirement, themselves or through functions of
//! the same file. A macro that defines tests counts as one function.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::support::tools::{project, rust_files};

/// The variants of `Need` that a user without root does not meet, and the emulated kernel, which is slow.
const FOR_ROOT: [&str; 4] = ["Root", "Mounts", "Fuse", "EmulatedKernel"];

/// A function, a macro or a constant.
#[derive(Default)]
struct Item {
    test: bool,
    ignored: bool,
    /// All words in its body.
    words: BTreeSet<String>,
    /// The words in the arguments of each call of `gate`.
    gates: Vec<BTreeSet<String>>,
}

type Items = BTreeMap<String, Item>;

/// Calls `visit` with each token and the tokens after it, also inside of groups.
fn walk(tokens: TokenStream, visit: &mut impl FnMut(&TokenTree, &[TokenTree])) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        visit(token, &tokens[at + 1..]);
        if let TokenTree::Group(group) = token {
            walk(group.stream(), visit);
        }
    }
}

/// Returns all words among tokens.
fn words(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(tokens, &mut |token, _| {
        if let TokenTree::Ident(word) = token {
            found.insert(word.to_string());
        }
    });
    found
}

/// Returns the words of all attributes among tokens, also inside of groups.
fn attributes(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(tokens, &mut |token, rest| {
        if let (TokenTree::Punct(sign), Some(TokenTree::Group(group))) = (token, rest.first())
            && sign.as_char() == '#'
        {
            found.extend(words(group.stream()));
        }
    });
    found
}

/// Creates an item from the words of its attributes and its body.
fn item(attributes: &BTreeSet<String>, body: TokenStream) -> Item {
    let mut gates = Vec::new();
    walk(body.clone(), &mut |token, rest| {
        if let (TokenTree::Ident(word), Some(TokenTree::Group(arguments))) = (token, rest.first())
            && word == "gate"
            && arguments.delimiter() == Delimiter::Parenthesis
        {
            gates.push(words(arguments.stream()));
        }
    });
    let [test, ignored] = ["test", "ignore"].map(|word| attributes.contains(word));
    Item { test, ignored, words: words(body), gates }
}

/// Collects the items of a file, and of modules and implementations in it.
fn items(tokens: TokenStream, found: &mut Items) {
    let mut tokens = tokens.into_iter().peekable();
    let mut before = TokenStream::new();
    while let Some(token) = tokens.next() {
        let keyword = match &token {
            TokenTree::Ident(word) => word.to_string(),
            _ => String::new(),
        };
        let end = match keyword.as_str() {
            "fn" | "macro_rules" => End::Block,
            "const" | "static" => End::Semicolon,
            _ => {
                match token {
                    TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                        items(group.stream(), found);
                        before = TokenStream::new();
                    }
                    TokenTree::Punct(sign) if sign.as_char() == ';' => before = TokenStream::new(),
                    token => before.extend([token]),
                }
                continue;
            }
        };
        let mut body = Vec::new();
        for token in tokens.by_ref() {
            let last = end.is(&token);
            body.push(token);
            if last {
                break;
            }
        }
        let name = body.iter().find_map(|token| match token {
            TokenTree::Ident(name) => Some(name.to_string()),
            _ => None,
        });
        let body: TokenStream = body.into_iter().collect();
        // The attributes of tests that a macro defines are in its body.
        let mut seen = attributes(std::mem::take(&mut before));
        if keyword == "macro_rules" {
            seen.extend(attributes(body.clone()));
        }
        found.insert(name.expect("a name"), item(&seen, body));
    }
}

/// The last token of an item.
enum End {
    Block,
    Semicolon,
}

impl End {
    fn is(&self, token: &TokenTree) -> bool {
        match (self, token) {
            (Self::Block, TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
            (Self::Semicolon, TokenTree::Punct(sign)) => sign.as_char() == ';',
            _ => false,
        }
    }
}

/// Returns whether an item gates on something that only root has, itself or through items that it names.
fn needs_root(items: &Items, name: &str) -> bool {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![name]);
    while let Some(item) = waiting.pop().and_then(|name| items.get(name)) {
        for needs in &item.gates {
            let constants = needs.iter().filter_map(|name| items.get(name)).flat_map(|item| &item.words);
            if needs.iter().chain(constants).any(|word| FOR_ROOT.contains(&word.as_str())) {
                return true;
            }
        }
        let named = item.words.iter().map(String::as_str);
        waiting.extend(named.filter(|word| items.contains_key(*word) && seen.insert(*word)));
    }
    false
}

fn parsed(text: &str) -> Items {
    let mut found = Items::new();
    items(text.parse().expect("Rust"), &mut found);
    found
}

/// Returns the tests of a file that need root and are not ignored.
fn without_attribute(items: &Items) -> impl Iterator<Item = &String> {
    items
        .iter()
        .filter(|(name, item)| item.test && !item.ignored && needs_root(items, name))
        .map(|(name, _)| name)
}

#[test]
fn tests_that_need_root_are_ignored() {
    let folder = project("tests/integration");
    let (mut gates, mut missing) = (0, Vec::new());
    for (path, text) in rust_files(&folder) {
        let file = path.strip_prefix(&folder).expect("a path in it").display();
        let items = parsed(&text);
        missing.extend(without_attribute(&items).map(|name| format!("{file}: {name}")));
        gates += items.values().map(|item| item.gates.len()).sum::<usize>();
        // Calls from a different file are not followed.
        let shared = file.to_string().starts_with("support");
        assert!(!shared || items.keys().all(|name| !needs_root(&items, name)), "{file}: a shared gate");
    }
    assert!(gates > 100, "only {gates} gates were found");
    let missing = missing.join("\n");
    assert!(missing.is_empty(), "without #[ignore = \"needs root: …\"]:\n{missing}");
}

/// Gates are found in tests, helpers, macros and constants.
#[test]
fn gates_are_found() {
    let items = parsed(
        r#"
        const NEEDS: [Need; 1] = [Need::Mounts];
        const TOOLS: [Need; 1] = [Need::Program("xz")];
        fn helper() { if !gate(&NEEDS) { return; } }
        #[test] fn direct() { if !gate(&[Need::Root]) { return; } }
        #[test] fn indirect() { helper(); }
        #[test] fn nested() { let all = [1].map(|_| { helper() }); }
        #[test] #[ignore = "needs root: mounts"] fn ignored() { helper(); }
        #[test] fn program() { if !gate(&TOOLS) { return; } }
        #[test] fn part() { if partly(&NEEDS) { return; } }
        macro_rules! rows { ($name:ident) => { #[test] fn $name() { helper(); } }; }
        macro_rules! good { ($name:ident) => { #[test] #[ignore = ""] fn $name() { helper(); } }; }
        mod inner { #[test] fn deep() { if !gate(&[Need::Fuse]) { return; } } }
        "#,
    );
    let found: Vec<_> = without_attribute(&items).collect();
    assert_eq!(found, ["deep", "direct", "indirect", "nested", "rows"]);
}
