//! Circles: files that lead to each other by what they import. Two nouns that cannot be read one after the other are one,
//! or a third one is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::{sources, src};

/// The circles that stay on purpose, each with its reason.
const STAYING: &[(&str, &[&str])] = &[
    (
        "the window on the sources asks the other instances, and they deliver to it",
        &["sources/instances/mod.rs", "sources/shared.rs"],
    ),
    (
        "one client of Azure, whose kinds of questions lie in a file each",
        &[
            "sync/azure/asking.rs",
            "sync/azure/discovery.rs",
            "sync/azure/groups.rs",
            "sync/azure/listing.rs",
            "sync/azure/memory.rs",
            "sync/azure/mod.rs",
            "sync/azure/trust.rs",
        ],
    ),
];

/// Rooms whose circles are still to be broken, or to be given a reason.
const OPEN: &[&str] = &["admin", "forward", "respond"];

const STAYING_MAX: usize = 6;
const FILES_MAX: usize = 8;

#[test]
fn no_files_lead_to_each_other_but_for_a_reason() {
    let listed = STAYING.iter().map(|(_, files)| files.iter().map(|file| (*file).to_owned()).collect());
    let listed: BTreeSet<Vec<String>> = listed.collect();
    let mut found = House::read().circles();
    found.retain(|files| !OPEN.iter().any(|room| files[0].starts_with(&format!("{room}/"))));
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "\nnew: {new:#?}\ngone, to be taken off the list: {gone:#?}");
    assert!(STAYING.len() <= STAYING_MAX && STAYING.iter().all(|(_, files)| files.len() <= FILES_MAX));
}

#[test]
fn imports_lead_to_the_file_that_defines_what_they_name() {
    let house = House::of([
        ("a/mod.rs", "mod b;\nmod c;\npub use b::{B, Other as Renamed};\nuse c::C;\n"),
        (
            "a/b.rs",
            "use super::C;\nuse crate::a::c;\n// use super::d::D;\n#[cfg(test)]\nmod tests { use super::super::d::D; }\n",
        ),
        ("a/c.rs", "use std::fmt;\nuse super::{\n    d::{self, D},\n    Renamed,\n};\n"),
        ("a/d.rs", "fn e() -> crate::a::B { crate::a::B }\n"),
        ("a/e.rs", "use super::d::D;\n"),
    ]);
    let arrows =
        |from: &str| house.arrows(&module_of(from)).into_iter().map(|it| it.join("/")).collect::<Vec<_>>();
    // A door is no arrow: who passes through it is.
    assert_eq!(arrows("a/mod.rs"), ["a/c"]);
    assert_eq!(arrows("a/b.rs"), ["a/c"]);
    assert_eq!(arrows("a/c.rs"), ["a/b", "a/d"]);
    assert_eq!(arrows("a/d.rs"), ["a/b"]);
    let circle = ["a/b.rs", "a/c.rs", "a/d.rs"].map(str::to_owned).to_vec();
    assert_eq!(house.circles(), BTreeSet::from([circle]));
}

/// The segments of a module's path.
type Module = Vec<String>;

/// All files that are served, none of tests.
struct House(BTreeMap<Module, File>);

struct File {
    path: String,
    imports: Vec<Import>,
}

/// A path that a file names, and the name that it has there from then on.
struct Import {
    path: Vec<String>,
    name: Option<String>,
    is_public: bool,
}

impl House {
    fn read() -> House {
        let files = sources().into_iter().map(|file| {
            let path = file.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
            (path, std::fs::read_to_string(file).unwrap())
        });
        House::of(files.filter(|(path, _)| !matches!(path.as_str(), "lib.rs" | "main.rs")))
    }

    fn of(files: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> House {
        let files: Vec<(String, String)> =
            files.into_iter().map(|(path, text)| (path.into(), text.into())).collect();
        let of_tests: BTreeSet<Module> =
            files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
        let is_of_tests =
            |module: &Module| (1..=module.len()).any(|length| of_tests.contains(&module[..length]));
        let served = files.into_iter().filter(|(path, _)| !is_of_tests(&module_of(path)));
        House(served.map(|(path, text)| (module_of(&path), File { imports: imports(&text), path })).collect())
    }

    /// The modules whose files a module's file uses.
    fn arrows(&self, module: &Module) -> BTreeSet<Module> {
        let imports = self.0[module].imports.iter();
        let targets = imports.filter_map(|import| {
            let target = self.defining(&self.absolute(module, &import.path)?, 0)?;
            // What a module shows of those within it is its door.
            let is_door = import.is_public && target.starts_with(module);
            (!is_door && target != *module).then_some(target)
        });
        targets.collect()
    }

    /// A path from the root of the crate; `None` for other crates' and for what is no module.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([module, &path[1..]].concat()),
            "super" => Some([module.get(..module.len().checked_sub(supers)?)?, &path[supers..]].concat()),
            first => {
                let child = [&module[..], &[first.to_owned()]].concat();
                self.0.contains_key(&child).then(|| [module, path].concat())
            }
        }
    }

    /// The module whose file defines what a path names: doors are passed through.
    fn defining(&self, path: &[String], depth: usize) -> Option<Module> {
        let length = (1..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let module = path[..length].to_vec();
        let Some(name) = path.get(length) else { return Some(module) };
        let mut shown =
            self.0[&module].imports.iter().filter(|it| it.name.as_ref() == Some(name) && depth < 8);
        let behind = shown.find_map(|import| {
            let whole = [self.absolute(&module, &import.path)?, path[length + 1..].to_vec()].concat();
            self.defining(&whole, depth + 1)
        });
        behind.or(Some(module))
    }

    /// The files of each circle, in order.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        let arrows: BTreeMap<&Module, BTreeSet<Module>> =
            self.0.keys().map(|module| (module, self.arrows(module))).collect();
        let reached = |from: &Module| {
            let (mut reached, mut next) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = next.pop() {
                let new = arrows[&module].iter().filter(|it| reached.insert((*it).clone()));
                next.extend(new.cloned().collect::<Vec<_>>());
            }
            reached
        };
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            self.0.keys().map(|module| (module, reached(module))).collect();
        let circles = self.0.keys().filter(|module| reached[module].contains(*module)).map(|module| {
            let circle = reached[module].iter().filter(|other| reached[other].contains(module));
            let mut circle: Vec<String> = circle.map(|other| self.0[other].path.clone()).collect();
            circle.sort();
            circle
        });
        circles.collect()
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`.
fn module_of(path: &str) -> Module {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    path.strip_suffix("/mod").unwrap_or(path).split('/').map(str::to_owned).collect()
}

/// The modules that a file declares for tests alone.
fn test_modules(path: &str, text: &str) -> Vec<Module> {
    let declared = text.split("#[cfg(test)]").skip(1).filter_map(|behind| {
        let (name, _) = behind.split_once(';')?;
        let name =
            name.trim().trim_start_matches("pub(super) ").trim_start_matches("pub ").strip_prefix("mod ")?;
        name.chars().all(|char| char.is_alphanumeric() || char == '_').then(|| name.to_owned())
    });
    declared.map(|name| [module_of(path), vec![name]].concat()).collect()
}

/// What a file imports, and what else it names from the crate's root or from above.
fn imports(text: &str) -> Vec<Import> {
    let served = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<&str> = served.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let (mut imports, mut body) = (Vec::new(), String::new());
    let mut lines = code.into_iter();
    while let Some(line) = lines.next() {
        let line = line.trim();
        let (is_public, rest) = match line.strip_prefix("pub") {
            Some(rest) => (true, rest.split_once(") ").map_or(rest, |(_, rest)| rest).trim_start()),
            None => (false, line),
        };
        let Some(tree) = rest.strip_prefix("use ") else {
            body += line;
            body.push('\n');
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            tree += lines.next().unwrap_or(";");
        }
        let tree = tree.split(';').next().unwrap_or_default();
        expand(tree, &[], &mut |path, name| imports.push(Import { path, name: Some(name), is_public }));
    }
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    for root in ["crate::", "super::"] {
        for (at, _) in body.match_indices(root) {
            if body[..at].ends_with(|before: char| is_word(before) || before == ':') {
                continue;
            }
            let path: String = body[at..].chars().take_while(|char| is_word(*char) || *char == ':').collect();
            let path = path.split("::").filter(|segment| !segment.is_empty()).map(str::to_owned);
            imports.push(Import { path: path.collect(), name: None, is_public: false });
        }
    }
    imports
}

/// The paths of a tree, `a::{b, c as d}`, each with its name.
fn expand(tree: &str, before: &[String], found: &mut impl FnMut(Vec<String>, String)) {
    let tree = tree.trim();
    if tree.is_empty() {
        return;
    }
    if let Some((front, rest)) = tree.split_once('{') {
        let front = front.split("::").map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned);
        let before = [before.to_vec(), front.collect()].concat();
        let inner = rest.strip_suffix('}').unwrap_or(rest);
        let (mut depth, mut start) = (0, 0);
        for (at, char) in inner.char_indices() {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&inner[start..at], &before, found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return expand(&inner[start..], &before, found);
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let path =
        path.split("::").map(str::trim).filter(|it| !it.is_empty() && *it != "self" || before.is_empty());
    let path = [before.to_vec(), path.map(str::to_owned).collect()].concat();
    if let Some(last) = path.last() {
        let name = name.unwrap_or(last).to_owned();
        found(path, name);
    }
}
