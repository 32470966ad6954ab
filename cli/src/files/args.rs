//! The flags of the static files.

use std::path::PathBuf;

pub(crate) use super::open::Symlinks;

/// The flags for static files.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileFlags {
    /// Serve the files below this directory at every path that none of the routes above takes. The
    /// path of a directory gives its index.html. Off by default, so that nothing is exposed by
    /// accident
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    // A doc comment would not do: rustdoc takes the brackets for a link.
    /// Symbolic links to follow
    #[arg(
        help = "Symbolic links below --root to follow: never, inside (links to something below \
                --root) or any. By default no link exposes another file by accident \
                [default: inside]"
    )]
    #[arg(
        long,
        value_name = "never|inside|any",
        value_enum,
        hide_possible_values = true
    )]
    pub symlinks: Option<Symlinks>,

    /// Serve also files and directories whose name begins with a dot. Off by default, because .git
    /// and .env are private; /.well-known is always served
    #[arg(long)]
    pub dot_files: bool,
}

impl FileFlags {
    /// Checks that the flags fit together.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(crate) fn check(&self) -> Result<(), String> {
        let flag = match self {
            Self { root: Some(_), .. } => return Ok(()),
            Self {
                dot_files: true, ..
            } => "--dot-files",
            Self {
                symlinks: Some(_), ..
            } => "--symlinks",
            _ => return Ok(()),
        };
        Err(format!("{flag}: has no effect without --root"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_root_the_other_flags_are_a_mistake() {
        let root = Some(PathBuf::from("/srv"));
        for symlinks in [None, Some(Symlinks::Any)] {
            for dot_files in [false, true] {
                let mut flags = FileFlags {
                    root: None,
                    symlinks,
                    dot_files,
                };
                let none = symlinks.is_none() && !dot_files;
                assert_eq!(flags.check().is_ok(), none, "{flags:?}");
                flags.root.clone_from(&root);
                assert_eq!(flags.check(), Ok(()));
            }
        }
    }
}
