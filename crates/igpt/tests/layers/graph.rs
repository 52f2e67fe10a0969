//! Which file of a crate uses which other, and circles among them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::source::{Import, children, imports, paths, read, words};

/// A module in a file of its own.
struct Module {
    /// Relative to the crate's sources.
    file: String,
    children: Vec<String>,
    imports: Vec<Import>,
    paths: Vec<Vec<String>>,
}

/// Edges between files of a crate.
pub(crate) struct Graph(BTreeMap<String, BTreeSet<String>>);

type Tree = BTreeMap<Vec<String>, Module>;

impl Graph {
    /// That of the crate whose sources are in `src`, from its `lib.rs` on.
    pub(crate) fn of(src: &Path) -> Self {
        let mut tree = Tree::new();
        add(src, "lib.rs".into(), Vec::new(), &mut tree);
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (place, module) in &tree {
            let mut uses = BTreeSet::new();
            for import in &module.imports {
                uses.extend(owner(&tree, place, &import.path, 0));
            }
            for path in &module.paths {
                uses.extend(owner(&tree, place, path, 0));
            }
            // Whoever declares a module knows it, so that a child may import nothing that its parent defines.
            for child in &module.children {
                uses.insert([&place[..], std::slice::from_ref(child)].concat());
            }
            uses.remove(place);
            let files = uses.iter().map(|used| tree[used].file.clone()).collect();
            edges.insert(module.file.clone(), files);
        }
        Self(edges)
    }

    /// All edges: (file, the file that it uses).
    pub(crate) fn edges(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().flat_map(|(from, uses)| uses.iter().map(move |to| (from.clone(), to.clone())))
    }

    /// Only the edges of which `keep` holds.
    pub(crate) fn filtered(&self, keep: impl Fn(&str, &str) -> bool) -> Self {
        let kept = |(from, uses): (&String, &BTreeSet<String>)| {
            (from.clone(), uses.iter().filter(|to| keep(from, to)).cloned().collect())
        };
        Self(self.0.iter().map(kept).collect())
    }
}

/// Reads a module and those that it declares.
fn add(src: &Path, file: String, place: Vec<String>, tree: &mut Tree) {
    let code = read(&src.join(&file));
    let words = words(&code);
    let names = children(&code);
    for name in &names {
        let place = [&place[..], std::slice::from_ref(name)].concat();
        let stem = place.join("/");
        let file = [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find(|file| src.join(file).is_file());
        add(src, file.unwrap_or_else(|| panic!("no file of module {stem} in {}", src.display())), place, tree);
    }
    tree.insert(place, Module { file, children: names, imports: imports(&words), paths: paths(&words) });
}

/// The module that defines what `path` names in the module at `place`; none outside of the crate.
fn owner(tree: &Tree, place: &[String], path: &[String], depth: usize) -> Option<Vec<String>> {
    // Two modules may re-export from each other by globs.
    if depth > 8 {
        return None;
    }
    let (mut at, rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (place.to_vec(), &path[1..]),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            (place[..place.len().saturating_sub(ups)].to_vec(), &path[ups..])
        }
        first if tree[place].children.iter().any(|child| child == first) => (place.to_vec(), path),
        first => {
            let import = tree[place].imports.iter().find(|import| import.name == *first && import.path != path)?;
            return owner(tree, place, &[&import.path[..], &path[1..]].concat(), depth + 1);
        }
    };
    for (i, name) in rest.iter().enumerate() {
        let module = &tree[&at];
        if module.children.contains(name) {
            // A function of a module's name that the module defines and the parent re-exports is found there, too.
            at.push(name.clone());
            continue;
        }
        return match module.imports.iter().find(|import| import.name == *name) {
            Some(import) => owner(tree, &at, &[&import.path[..], &rest[i + 1..]].concat(), depth + 1),
            None => Some(at),
        };
    }
    Some(at)
}

/// The shortest circle through each file that is in one and in no circle named before: `a.rs -> b.rs -> a.rs`.
pub(crate) fn circles(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    let mut named = BTreeSet::new();
    for start in graph.0.keys() {
        if named.contains(start) {
            continue;
        }
        if let Some(circle) = circle(graph, start) {
            found.push(circle.join(" -> "));
            named.extend(circle);
        }
    }
    found
}

/// The shortest way from `start` back to it.
fn circle(graph: &Graph, start: &String) -> Option<Vec<String>> {
    let mut before: BTreeMap<&String, &String> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in &graph.0[file] {
            if next == start {
                let mut way = vec![start.clone(), file.clone()];
                while way.last() != Some(start) {
                    way.push(before[&way[way.len() - 1]].clone());
                }
                way.reverse();
                return Some(way);
            }
            before.entry(next).or_insert_with(|| {
                queue.push_back(next);
                file
            });
        }
    }
    None
}
