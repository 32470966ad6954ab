//! The Markdown files of the repository, as far as the tests of the documentation read them.

use std::fs;
use std::path::{Path, PathBuf};

/// A Markdown file.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// Returns every page of the repository, except what tools leave in it.
pub fn pages() -> Vec<Page> {
    let mut paths = Vec::new();
    walk(&root(), "md", &mut paths);
    paths.iter().map(|path| Page::read(path)).collect()
}

/// Returns the root of the repository, from the package of the library or of the command.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |dir: &&Path| dir.join("README.md").is_file() && dir.join("docs").is_dir();
    let root = package.ancestors().find(is_root).expect("a root");
    fs::canonicalize(root).expect("a root that exists")
}

/// Appends the files with that extension below a directory, in order.
pub fn walk(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a name").to_string_lossy();
        let is_made = matches!(&*name, "target" | "node_modules") || name.starts_with('.');
        if path.is_dir() && !is_made {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

impl Page {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a readable page");
        let path = path.to_owned();
        Self { path, text }
    }

    /// Returns the path below the root.
    pub fn name(&self) -> String {
        let below = self.path.strip_prefix(root()).expect("below the root");
        below.to_string_lossy().into_owned()
    }

    /// Returns the blocks of code: what stands behind the fence, and the lines.
    pub fn fences(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts().filter_map(|(is_code, part)| {
            let (mark, code) = part.split_once('\n')?;
            is_code.then_some((mark, code))
        })
    }

    /// Returns the targets of the links, and of the pictures.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        let prose = self.parts().filter(|(is_code, _)| !is_code);
        let ends = prose.flat_map(|(_, part)| part.split("](").skip(1));
        ends.filter_map(|rest| rest.split(')').next())
    }

    /// Returns the anchors that GitHub gives to the headings.
    pub fn anchors(&self) -> impl Iterator<Item = String> {
        let prose = self.parts().filter(|(is_code, _)| !is_code);
        let lines = prose.flat_map(|(_, part)| part.lines());
        let headings = lines.filter(|line| line.starts_with('#'));
        headings.map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter_map(|letter| match letter {
                ' ' => Some('-'),
                '-' | '_' => Some(letter),
                _ => letter.is_alphanumeric().then_some(letter),
            });
            kept.collect()
        })
    }

    /// Returns what is set as code in the prose, and the commands of the transcripts and scripts:
    /// each in one line.
    pub fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        for (is_code, part) in self.parts() {
            let part = part.replace("\\\n", " ");
            if !is_code {
                let spans = part.split('`').skip(1).step_by(2);
                commands.extend(spans.map(|span| span.replace('\n', " ")));
            } else if part.starts_with("console\n") {
                let typed = part.lines().filter_map(|line| line.strip_prefix("$ "));
                commands
                    .extend(typed.map(|line| line.split(" # ").next().unwrap_or_default().into()));
            } else if part.starts_with("sh\n") {
                commands.extend(part.lines().skip(1).map(str::to_owned));
            }
        }
        commands
    }

    /// Returns prose and code in turn; the mark of the code is its first line.
    fn parts(&self) -> impl Iterator<Item = (bool, &str)> {
        let parts = self.text.split("\n```");
        parts.enumerate().map(|(n, part)| (n % 2 == 1, part))
    }
}
