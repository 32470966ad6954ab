//! Writes the results to `target/peers`; on request, also the report to `results` and a summary to
//! `docs/benchmarks.md`.
//!
//! Knows no figures.

use std::fs;
use std::path::Path;

use crate::peers::out_dir;
use crate::sheet::Sheet;

/// A plot.
pub(crate) struct Plot {
    /// Name of the file.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

/// Writes tables, figures and plots to `target/peers`, and with `publish` also into the repository.
pub(crate) fn write(
    summary: &str,
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
        let results = package.join("results");
        put_plots(&results, plots)?;
        put(&results.join("figures.csv"), &sheet.to_csv())?;
        put(&results.join("README.md"), &report(tables, plots))?;
        let page = package.join("../../docs/benchmarks.md");
        let text = fs::read_to_string(&page).map_err(|error| error.to_string())?;
        put(&page, &between_marks(&text, summary)?)?;
    }
    Ok(())
}

/// Returns the report: all tables, then all plots, which are files beside it.
fn report(tables: &str, plots: &[Plot]) -> String {
    let mut report = format!("{HEAD}\n{}\n", tables.trim());
    for Plot { file, title, .. } in plots {
        report += &format!("\n![{title}]({file})\n");
    }
    report
}

/// Returns the text with `new` between the marks.
fn between_marks(text: &str, new: &str) -> Result<String, String> {
    let missing = || format!("docs/benchmarks.md has no `{BEGIN}` and `{END}`");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", new.trim()))
}

fn put_plots(dir: &Path, plots: &[Plot]) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    plots
        .iter()
        .try_for_each(|plot| put(&dir.join(plot.file), &plot.svg))
}

fn put(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

const HEAD: &str = "\
# ebbtide beside other servers

`--publish` wrote this report. [benches/README.md](../../README.md) says how it is measured;
[figures.csv](figures.csv) has the figures of every round.
";
const BEGIN: &str = "<!-- peers: written by benches/peers -->";
const END: &str = "<!-- peers: end -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_shows_every_plot_after_the_tables() {
        let plot = |file, title| Plot {
            file,
            title,
            svg: String::new(),
        };
        let plots = [plot("a.svg", "One"), plot("b.svg", "Two")];
        let report = report("\ntables\n", &plots);
        assert!(
            report.ends_with("\n\ntables\n\n![One](a.svg)\n\n![Two](b.svg)\n"),
            "{report}"
        );
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        let once = between_marks(&page, "new\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\n\nnew\n\n{END}\nz\n"));
        assert_eq!(between_marks(&once, "new\n").unwrap(), once);
        assert!(between_marks("no marks", "new").is_err());
    }
}
