//! The flags of the static files.

use std::path::PathBuf;

pub(crate) use super::open::Symlinks;

/// Which files are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileFlags {
    /// Serve the files below this directory, at every path that is none of the routes above. A
    /// directory is its index.html. None by default, so that nothing is exposed by accident
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    // Not as a doc comment, where rustdoc takes the brackets for a link.
    /// Which symbolic links are followed
    #[arg(
        help = "Which symbolic links below --root are followed: never, inside (those that lead to \
                something below it) or any. Nothing outside by accident [default: inside]"
    )]
    #[arg(
        long,
        value_name = "never|inside|any",
        value_enum,
        hide_possible_values = true
    )]
    pub symlinks: Option<Symlinks>,

    /// Also serve files and directories whose name begins with a dot. Off by default, as .git and
    /// .env are not meant for everyone; /.well-known is always served
    #[arg(long)]
    pub dot_files: bool,
}

impl FileFlags {
    /// Finds flags that do not go together.
    ///
    /// # Errors
    ///
    /// The flag and what is wrong with it.
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
        Err(format!("{flag}: is of no use without --root"))
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
