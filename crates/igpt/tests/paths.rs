//! Each public type is reached by one path, so that documents, errors and imports all name it alike, and each public module
//! has an example that runs.
//!
//! The sources are read as text, from each crate's `lib.rs` on: `pub mod`, `pub use` and the public types of each file.

#[path = "layers/source.rs"]
#[allow(dead_code, reason = "the rules of layers read more of a source")]
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use source::{Import, children, imports, read, words};

/// A module in a file of its own.
struct Module {
    public_children: Vec<String>,
    /// Public types that it defines.
    types: Vec<String>,
    exports: Vec<Import>,
    /// Everything that it imports or exports.
    names: Vec<Import>,
}

/// The modules of a crate by their path from its root.
type Tree = BTreeMap<Vec<String>, Module>;

fn below(place: &[String], name: &str) -> Vec<String> {
    [place, &[name.to_string()]].concat()
}

/// Reads the module at `place`, in `file`, and those that it declares.
fn add(src: &Path, file: PathBuf, place: &[String], tree: &mut Tree) {
    let code = read(&file);
    let words = words(&code);
    let follows = |before: &[&str], at: usize| words[at..].starts_with(before);
    let public = |kind: &str| -> Vec<String> {
        let at = (0..words.len().saturating_sub(2)).filter(|at| follows(&["pub", kind], *at));
        at.map(|at| words[at + 2].to_string()).collect()
    };
    let types = ["struct", "enum", "trait", "type", "union"].into_iter().flat_map(public).collect();
    let exported: Vec<&str> = (0..words.len())
        .filter(|at| follows(&["pub", "use"], *at))
        .flat_map(|at| words[at + 1..].iter().copied().take_while(|word| *word != ";").chain([";"]))
        .collect();
    let module = Module { public_children: public("mod"), types, exports: imports(&exported), names: imports(&words) };
    tree.insert(place.to_vec(), module);
    for name in children(&code) {
        let place = below(place, &name);
        let stem = src.join(place.join("/"));
        let files = [stem.with_extension("rs"), stem.join("mod.rs")];
        let file = files.into_iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("no file of {place:?}"));
        add(src, file, &place, tree);
    }
}

/// The module and the name in it that `path`, said in the module at `place`, stands for; none outside of the crate.
fn defined(tree: &Tree, place: &[String], path: &[String], depth: usize) -> Option<(Vec<String>, String)> {
    let (name, modules) = path.split_last()?;
    let mut at = place.to_vec();
    for (i, part) in modules.iter().enumerate() {
        match part.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            part if tree.contains_key(&below(&at, part)) => at.push(part.into()),
            part => {
                let import = tree.get(&at)?.names.iter().find(|import| import.name == part)?;
                let rest = [&import.path[..], &path[i + 1..]].concat();
                return (depth < 8).then(|| defined(tree, &at, &rest, depth + 1)).flatten();
            }
        }
    }
    let module = tree.get(&at)?;
    if module.types.contains(name) {
        return Some((at, name.clone()));
    }
    let import = module.names.iter().find(|import| import.name == *name && import.path != path)?;
    (depth < 8).then(|| defined(tree, &at, &import.path, depth + 1)).flatten()
}

/// The public paths of each public type of the crate whose sources are in `src`.
fn public_paths(src: &Path) -> BTreeMap<(Vec<String>, String), Vec<String>> {
    let mut tree = Tree::new();
    add(src, src.join("lib.rs"), &[], &mut tree);
    let mut found: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut open = vec![Vec::new()];
    while let Some(place) = open.pop() {
        let module = &tree[&place];
        let own = module.types.iter().map(|name| (name, Some((place.clone(), name.clone()))));
        let exports = module.exports.iter().map(|import| (&import.name, defined(&tree, &place, &import.path, 0)));
        for (name, item) in own.chain(exports) {
            if let Some(item) = item {
                found.entry(item).or_default().push(below(&place, name).join("::"));
            }
        }
        open.extend(module.public_children.iter().map(|name| below(&place, name)));
    }
    found
}

#[test]
fn each_public_type_is_reached_by_one_path() {
    for (name, at_least) in [("igpt", 200), ("igpt-kernels", 25), ("igpt-server", 4)] {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let found = public_paths(&src);
        assert!(found.len() >= at_least, "only {} public types of {name} are found", found.len());
        let twice: Vec<String> =
            found.values().filter(|paths| paths.len() > 1).map(|paths| paths.join(" = ")).collect();
        assert!(twice.is_empty(), "types of {name} that have several paths:\n{}", twice.join("\n"));
    }
}

/// Modules for the workspace's own programs and tests, which are no user's way in.
const INTERNAL: [&str; 4] = ["files", "machine", "text", "testing"];

#[test]
fn each_public_module_has_an_example() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut tree = Tree::new();
    add(&src, src.join("lib.rs"), &[], &mut tree);
    let mut open = vec![Vec::new()];
    let mut count = 0;
    while let Some(place) = open.pop() {
        let stem = src.join(place.join("/"));
        let files = [stem.join("lib.rs"), stem.with_extension("rs"), stem.join("mod.rs")];
        let file = files.iter().find(|file| file.is_file()).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let mut head = text.lines().take_while(|line| line.starts_with("//!"));
        assert!(head.any(|line| line.starts_with("//! ```")), "{} has no example", file.display());
        let public = tree[&place].public_children.iter().filter(|name| !INTERNAL.contains(&name.as_str()));
        open.extend(public.map(|name| below(&place, name)));
        count += 1;
    }
    assert!(count > 15, "only {count} public modules are found");
}

#[test]
fn a_type_of_two_paths_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod low;\npub mod high;\npub use low::{Low, Other as Renamed};\npub struct Here;\n");
    write("low.rs", "pub struct Low;\npub(crate) struct Hidden;\npub enum Other { A }\n");
    write("high.rs", "pub use crate::Low;\n// pub use crate::Here;\nuse crate::Here;\n");
    let found: Vec<Vec<String>> = public_paths(folder.path()).into_values().collect();
    assert_eq!(found, [vec!["Here".to_string()], vec!["Low".into(), "high::Low".into()], vec!["Renamed".into()]]);
}
