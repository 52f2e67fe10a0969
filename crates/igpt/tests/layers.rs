//! Modules look down only: the order of ARCHITECTURE.md's module table, and no circles between the files of a folder.
//!
//! The sources are read as text: every `use` and every path that starts at `crate`, `super`, `self`, a child module or an
//! imported module is an edge from its file to the file that defines the item, re-exports followed. What compiles for tests
//! alone doesn't count.

#[path = "layers/graph.rs"]
mod graph;
#[path = "layers/source.rs"]
mod source;

use std::path::{Path, PathBuf};

use graph::{Graph, circles};

/// Files, or folders of them, whose imports are not held against the rules yet. An entry that is no longer needed fails.
const PENDING: [&str; 0] = [];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The heading of the column in ARCHITECTURE.md that names the library's modules.
const HEADING: &str = "| module, lowest floor first |";

/// The modules of the library from the lowest floor to the highest, as ARCHITECTURE.md's table names them.
fn order() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with(HEADING));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let first = rows.filter_map(|row| row.split('|').nth(1));
    let names = first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches('/').into()));
    names.collect()
}

/// The module right below the crate's root that a file belongs to.
fn top(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Imports of a higher floor: `FILE uses FILE`.
fn upward(graph: &Graph, order: &[String]) -> Vec<String> {
    let floor = |file: &str| {
        let named = order.iter().position(|name| name == top(file));
        named.unwrap_or_else(|| panic!("{} is not in ARCHITECTURE.md's table of modules", top(file)))
    };
    let looks_up = |(from, to): &(String, String)| *from != "lib.rs" && (*to == "lib.rs" || floor(to) > floor(from));
    graph.edges().filter(looks_up).map(|(from, to)| format!("{from} uses {to}, which is above it")).collect()
}

/// The crates held against the rules, with their imports.
fn crates() -> [(&'static str, Graph); 3] {
    ["igpt", "igpt-server", "igpt-mpi"].map(|name| (name, Graph::of(&root().join("crates").join(name).join("src"))))
}

/// What is against the rules in `crates` but for the files of `pending`.
fn problems(crates: &[(&'static str, Graph)], pending: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, graph) in crates {
        let waived = |file: &str| pending.iter().any(|entry| format!("{name}/{file}").starts_with(entry));
        let mut graph = graph.filtered(|from, _| !waived(from));
        if *name == "igpt" {
            problems.extend(upward(&graph, &order()));
            // Any circle that leaves a module has an edge upward.
            graph = graph.filtered(|from, to| top(from) == top(to));
        }
        problems.extend(circles(&graph).into_iter().map(|circle| format!("a circle in {name}: {circle}")));
    }
    problems
}

#[test]
fn modules_look_down_and_files_of_a_folder_make_no_circles() {
    let found = problems(&crates(), &PENDING);
    assert!(found.is_empty(), "{} imports against the order:\n{}", found.len(), found.join("\n"));
}

#[test]
fn nothing_waits_that_is_in_order_already() {
    let crates = crates();
    for entry in PENDING {
        let others: Vec<&str> = PENDING.into_iter().filter(|other| *other != entry).collect();
        assert!(!problems(&crates, &others).is_empty(), "{entry} is in order: strike it from PENDING");
    }
}

#[test]
fn every_module_has_its_floor() {
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let modules = source::children(&source::read(&root().join("crates/igpt/src/lib.rs")));
    assert_eq!(sorted(order()), sorted(modules), "ARCHITECTURE.md's table of modules, and the modules of lib.rs");
}

#[test]
fn a_bad_import_and_a_circle_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod low;\npub mod high;\npub use low::Low;\n");
    write("low.rs", "use crate::high::{self, deep::Deep as D};\npub struct Low;\n");
    write(
        "high/mod.rs",
        "pub mod deep;\nmod other;\npub use deep::Deep;\n#[cfg(test)]\nmod tests { use crate::low; }\n",
    );
    write("high/deep.rs", "use super::other;\nuse crate::Low;\npub struct Deep(other::Other);\n");
    write(
        "high/other.rs",
        "pub struct Other; // crate::low\npub(in crate::high) fn f() -> &'static str { \"crate::low\" }\n",
    );
    let graph = Graph::of(folder.path());
    let order = ["low".into(), "high".into()];
    let up = ["low.rs uses high/deep.rs, which is above it", "low.rs uses high/mod.rs, which is above it"];
    assert_eq!(upward(&graph, &order), up);
    write("low.rs", "/// crate::high::Doc\npub struct Low;\n");
    let graph = Graph::of(folder.path());
    assert_eq!((upward(&graph, &order), circles(&graph)), (Vec::new(), Vec::new()));
    // Through a re-export, and by a path in the code.
    write("high/other.rs", "pub struct Other;\nfn f() -> super::Deep { todo!() }\n");
    assert_eq!(circles(&Graph::of(folder.path())), ["high/deep.rs -> high/other.rs -> high/deep.rs"]);
    // What a parent defines is no child's to import.
    write("high/other.rs", "pub struct Other(super::Own);\n");
    write("high/mod.rs", "pub mod deep;\nmod other;\npub struct Own;\n");
    assert_eq!(circles(&Graph::of(folder.path())), ["high/deep.rs -> high/other.rs -> high/mod.rs -> high/deep.rs"]);
    // A glob is an import of everything.
    write("high/deep.rs", "pub struct Deep;\n");
    write("high/other.rs", "use super::*;\n");
    assert_eq!(circles(&Graph::of(folder.path())), ["high/mod.rs -> high/other.rs -> high/mod.rs"]);
}
