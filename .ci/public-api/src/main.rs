//! Prints the public interface of the library, one item a line, from the JSON of rustdoc.

use std::collections::HashSet;

const INTERNALS: &str = "ebbtide::internals::";

/// How the definition of a type at the root begins.
const DEFINITIONS: [&str; 3] = ["struct ebbtide::", "enum ebbtide::", "trait ebbtide::"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = std::env::args().nth(1).ok_or("name the JSON of rustdoc")?;
    // The impls that every type has, or that a derive writes, say nothing of this library.
    let interface = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let items: Vec<String> = interface.items().map(ToString::to_string).collect();
    let named: HashSet<&str> = items.iter().flat_map(|item| at_root(item)).collect();
    let defined: HashSet<&str> = items
        .iter()
        .filter(|item| DEFINITIONS.iter().any(|kind| item.contains(kind)))
        .flat_map(|item| at_root(item))
        .collect();
    // Any release may change the internals. A type that the root exports too is defined only there.
    let exported = |path: &str| {
        let name = path.split("::").find_map(type_of);
        name.is_some_and(|name| named.contains(name) && !defined.contains(name))
    };
    for item in &items {
        if item
            .split_once(INTERNALS)
            .is_none_or(|(_, path)| exported(path))
        {
            println!("{item}");
        }
    }
    Ok(())
}

/// Returns the types in an item whose path begins at the root.
fn at_root(item: &str) -> impl Iterator<Item = &str> {
    item.split("ebbtide::").skip(1).filter_map(type_of)
}

/// Returns the name of a type at the beginning of a path.
fn type_of(path: &str) -> Option<&str> {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = &path[..end.unwrap_or(path.len())];
    name.starts_with(char::is_uppercase).then_some(name)
}
