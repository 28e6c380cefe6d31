//! The imports of src/: there are no cycles between modules, and no stage imports a later one.
//!
//! A module is a file. An import is a `use` of a different module of the crate, or a path through one. Code
//! under `#[cfg(test)]` does not count, and a re-export counts like any other import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, PathSegment, UseTree, Visibility};

use crate::support::tools::project;

type Module = Vec<String>;
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// Collects the modules of a crate with their files.
fn modules(folder: &Path, module: &Module, found: &mut BTreeMap<Module, PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        let child = [module.as_slice(), std::slice::from_ref(&name)].concat();
        if path.is_dir() {
            modules(&path, &child, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            match name.as_str() {
                // The binary is not part of the library, and tests don't count.
                "main" | "tests" => {}
                "mod" | "lib" => drop(found.insert(module.clone(), path)),
                _ => drop(found.insert(child, path)),
            }
        }
    }
}

/// Collects the paths of a file, also those in the arguments of macros.
#[derive(Default)]
struct Paths {
    paths: Vec<Vec<String>>,
    /// The names that `use` brings into the file, with their paths.
    names: BTreeMap<String, Vec<String>>,
}

impl Paths {
    /// Replaces a first word that `use` brings into the file by its path.
    fn resolved(&self) -> impl Iterator<Item = Vec<String>> + use<'_> {
        self.paths.iter().map(|path| {
            match path
                .split_first()
                .and_then(|(first, rest)| self.names.get(first).map(|used| [used, rest].concat()))
            {
                Some(whole) => whole,
                None => path.clone(),
            }
        })
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        let (name, path) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => return self.paths.push(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => (Some(name.ident.to_string()), with(name.ident.to_string())),
            UseTree::Rename(rename) => (Some(rename.rename.to_string()), with(rename.ident.to_string())),
        };
        self.paths.push(path.clone());
        // A name of itself, as in `use child::Type`, stays as it is.
        if let Some(name) = name.filter(|name| path.first() != Some(name)) {
            self.names.insert(name, path);
        }
    }

    /// Adds the paths among the tokens of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(word) if colons == 2 && !path.is_empty() => {
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                other => {
                    self.paths.push(std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Ident(word) => path.push(word.to_string()),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                    }
                }
            }
        }
        self.paths.push(path);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let Some((_, items)) = &item.content {
            items.iter().for_each(|item| self.visit_item(item));
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // Skip `pub(crate)`, which imports nothing.
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let name = |segment: &PathSegment| segment.ident.to_string();
        self.paths.push(path.segments.iter().map(name).collect());
        visit::visit_path(self, path);
    }
}

/// Returns the module that a path in `module` refers to, if it is a different module of the crate.
fn target(module: &Module, path: &[String], all: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut rest = path;
    let mut base = match rest.first()?.as_str() {
        "crate" | "ext4_canon" => {
            rest = &rest[1..];
            Vec::new()
        }
        "self" => {
            rest = &rest[1..];
            module.clone()
        }
        "super" => module.clone(),
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            // Without a keyword, a path to a module begins with a child module.
            all.contains_key(&child).then_some(module.clone())?
        }
    };
    while rest.first().is_some_and(|word| word == "super") {
        base.pop();
        rest = &rest[1..];
    }
    let mut found = base;
    for word in rest {
        found.push(word.clone());
        if !all.contains_key(&found) {
            found.pop();
            break;
        }
    }
    (found != *module && all.contains_key(&found)).then_some(found)
}

/// Returns the imports of each module in a directory of sources.
fn imports(folder: &Path) -> Imports {
    let mut all = BTreeMap::new();
    modules(folder, &Vec::new(), &mut all);
    assert!(all.len() > 1, "{} has no modules", folder.display());
    let edges = all.iter().map(|(module, file)| {
        let text = fs::read_to_string(file).expect("a source");
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut paths = Paths::default();
        paths.visit_file(&parsed);
        let targets = paths.resolved().filter_map(|path| target(module, &path, &all)).collect();
        (module.clone(), targets)
    });
    edges.collect()
}

/// Returns a cycle of imports, if there is one.
fn cycle(imports: &Imports) -> Option<Vec<Module>> {
    // Modules from which no cycle can be reached.
    let mut done = BTreeSet::new();
    for start in imports.keys() {
        let mut way: Vec<(Module, Vec<Module>)> =
            vec![(start.clone(), imports[start].iter().cloned().collect())];
        while let Some((module, next)) = way.last_mut() {
            let Some(next) = next.pop() else {
                done.insert(module.clone());
                way.pop();
                continue;
            };
            if let Some(first) = way.iter().position(|(module, _)| *module == next) {
                let mut found: Vec<_> = way.into_iter().skip(first).map(|(module, _)| module).collect();
                found.push(next);
                return Some(found);
            }
            if !done.contains(&next) {
                let targets = imports[&next].iter().cloned().collect();
                way.push((next, targets));
            }
        }
    }
    None
}

fn shown(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

/// Returns the stages in docs/architecture.md with their modules, in the order of the table.
fn stages() -> Vec<(String, Vec<Module>)> {
    let document = fs::read_to_string(project("docs/architecture.md")).expect("a document");
    let rows = document.lines().skip_while(|line| !line.starts_with("| stage |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let files = cells[2].split('`').skip(1).step_by(2);
        let modules = files.map(|file| {
            let file = file.trim_end_matches(".rs").trim_end_matches('/');
            if file == "lib" { Vec::new() } else { file.split('/').map(str::to_owned).collect() }
        });
        (cells[1].to_owned(), modules.collect())
    });
    rows.collect()
}

/// Returns the index of a module's stage: the one with the longest matching prefix.
fn stage_of(module: &Module, stages: &[(String, Vec<Module>)]) -> Option<usize> {
    let fits = stages.iter().enumerate().flat_map(|(index, (_, modules))| {
        // The root is a separate stage, not a prefix of the others.
        let belongs = |name: &&Module| module.starts_with(name) && name.is_empty() == module.is_empty();
        modules.iter().filter(belongs).map(move |name| (name.len(), index))
    });
    fits.max().map(|(_, index)| index)
}

#[test]
fn imports_have_no_cycle() {
    let imports = imports(&project("src"));
    if let Some(cycle) = cycle(&imports) {
        let edges: Vec<_> = cycle.iter().map(shown).collect();
        panic!("import cycle: {}", edges.join(" -> "));
    }
}

#[test]
fn stages_import_only_stages_before_them() {
    let (imports, stages) = (imports(&project("src")), stages());
    assert!(stages.len() > 10, "docs/architecture.md has no table of stages: {stages:?}");
    let mut wrong = Vec::new();
    for (module, targets) in &imports {
        let Some(own) = stage_of(module, &stages) else {
            wrong.push(format!("{} belongs to no stage", shown(module)));
            continue;
        };
        for target in targets {
            let other = stage_of(target, &stages);
            if other.is_none_or(|other| other > own) {
                wrong.push(format!("{} imports {}", shown(module), shown(target)));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that violate docs/architecture.md:\n{}", wrong.join("\n"));
}

#[test]
fn cycles_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("writing");
    };
    write("lib.rs", "mod a; mod b; pub use a::A;");
    write("a/mod.rs", "mod c; pub struct A; fn f() { c::g() }");
    write(
        "a/c.rs",
        "pub fn g() { let _ = crate::b::B { x: 1 }; }\n#[cfg(test)] mod tests { use super::super::A; }",
    );
    write("b.rs", "pub struct B { pub x: u8 }");
    assert_eq!(cycle(&imports(folder.path())), None);
    write("b.rs", "use crate::a::{self as other, A}; pub struct B;");
    let names = |cycle: Option<Vec<Module>>| cycle.map(|cycle| cycle.iter().map(shown).collect::<Vec<_>>());
    let found = names(cycle(&imports(folder.path()))).expect("a cycle");
    assert_eq!(found.first(), found.last());
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 3, "{found:?}");
    // Paths in macros, and through names that `use` gives to modules.
    for text in [
        "pub struct B; fn f() { println!(\"{}\", crate::a::c::g()); }",
        "use crate::a as other; pub struct B; fn f() { other::c::g() }",
        "use crate::a; pub struct B; fn f() { vec![a::c::g()]; }",
    ] {
        write("b.rs", text);
        let found = names(cycle(&imports(folder.path()))).unwrap_or_else(|| panic!("no cycle: {text}"));
        assert!(found.contains(&"b".to_owned()), "{text}: {found:?}");
    }
    write("b.rs", "pub struct B;");
    write("a/c.rs", "use super::A; pub fn g() {}");
    assert_eq!(names(cycle(&imports(folder.path()))), Some(["a", "a::c", "a"].map(str::to_owned).to_vec()));
}
