//! Where the results go: files in `target/peers`, and on request the README.
//!
//! Knows no figures.

use std::fs;
use std::path::Path;

use crate::peers::out_dir;
use crate::sheet::Sheet;

/// A plot: the name of its file and the SVG.
pub(crate) type Plot = (&'static str, String);

/// Writes tables, figures and plots.
pub(crate) fn write(
    tables: &str,
    sheet: &Sheet,
    plots: &[Plot],
    publish: bool,
) -> Result<(), String> {
    let out = out_dir();
    put(&out.join("peers.md"), tables)?;
    put(&out.join("figures.csv"), &sheet.to_csv())?;
    put_plots(&out, plots)?;
    if publish {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        put_plots(&package.join("results"), plots)?;
        put(&package.join("results/figures.csv"), &sheet.to_csv())?;
        let readme = package.join("../../README.md");
        let text = fs::read_to_string(&readme).map_err(|error| error.to_string())?;
        put(&readme, &between_marks(&text, tables)?)?;
    }
    Ok(())
}

/// The text with something else between the marks.
fn between_marks(text: &str, new: &str) -> Result<String, String> {
    let missing = || format!("README.md has no `{BEGIN}` and `{END}`");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", new.trim()))
}

fn put_plots(dir: &Path, plots: &[Plot]) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    plots
        .iter()
        .try_for_each(|(name, svg)| put(&dir.join(name), svg))
}

fn put(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

const BEGIN: &str = "<!-- peers: written by benches/peers -->";
const END: &str = "<!-- peers: end -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let readme = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        let once = between_marks(&readme, "new\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\n\nnew\n\n{END}\nz\n"));
        assert_eq!(between_marks(&once, "new\n").unwrap(), once);
        assert!(between_marks("no marks", "new").is_err());
    }
}
