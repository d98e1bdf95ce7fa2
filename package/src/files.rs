//! Generated files: written as a whole, or compared with what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use similar::TextDiff;

use crate::Error;

/// Directories with nothing but generated files: what else lies there goes.
const WHOLLY_GENERATED: [&str; 3] = ["bundle", "olm", "charts/clarion/files"];

/// Files by their path from the root of the repository.
#[derive(Debug, Default)]
pub struct Files(BTreeMap<PathBuf, String>);

impl Files {
    /// Adds a file; a second one of the same path takes the place of the first.
    pub fn add(&mut self, path: impl Into<PathBuf>, text: String) {
        self.0.insert(path.into(), text);
    }

    /// The files below a directory, by their path from there.
    pub fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a Path, &'a str)> {
        self.0.iter().filter_map(move |(path, text)| Some((path.strip_prefix(directory).ok()?, text.as_str())))
    }

    /// Writes all files, and removes what is not among them from where nothing else may be.
    ///
    /// # Errors
    /// If a file can't be written or removed.
    pub fn write(&self, root: &Path) -> Result<(), Error> {
        for path in self.left_over(root)? {
            let path = root.join(path);
            std::fs::remove_file(&path).map_err(|error| Error::Io(path, error))?;
        }
        for (path, text) in &self.0 {
            let path = root.join(path);
            let directory = path.parent().unwrap_or(root);
            std::fs::create_dir_all(directory).map_err(|error| Error::Io(directory.to_owned(), error))?;
            std::fs::write(&path, text).map_err(|error| Error::Io(path, error))?;
        }
        Ok(())
    }

    /// What would change, as unified diffs; empty if nothing would.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn differences(&self, root: &Path) -> Result<String, Error> {
        let mut out = String::new();
        for (path, new) in &self.0 {
            let full = root.join(path);
            let old = match std::fs::read_to_string(&full) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                Err(error) => return Err(Error::Io(full, error)),
            };
            if old != *new {
                let name = path.display().to_string();
                let diff = TextDiff::from_lines(&old, new);
                out.push_str(&diff.unified_diff().header(&name, "generated").to_string());
            }
        }
        for path in self.left_over(root)? {
            out.push_str(&format!("{}: nothing generates this file\n", path.display()));
        }
        Ok(out)
    }

    fn left_over(&self, root: &Path) -> Result<BTreeSet<PathBuf>, Error> {
        let mut found = BTreeSet::new();
        for directory in WHOLLY_GENERATED {
            collect(root, Path::new(directory), &mut found)?;
        }
        found.retain(|path| !self.0.contains_key(path));
        Ok(found)
    }
}

/// The files below a directory, by their path from the root.
fn collect(root: &Path, directory: &Path, found: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    let full = root.join(directory);
    let fail = |error| Error::Io(full.clone(), error);
    let entries = match std::fs::read_dir(&full) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let path = directory.join(entry.file_name());
        if entry.file_type().map_err(fail)?.is_dir() {
            collect(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_differs_is_told_and_goes_when_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("bundle/old")).unwrap();
        std::fs::write(root.path().join("bundle/old/left.yaml"), "").unwrap();
        std::fs::write(root.path().join("beside.yaml"), "").unwrap();
        let mut files = Files::default();
        files.add("bundle/a.yaml", "a: 1\n".to_owned());
        files.add("charts/clarion/Chart.yaml", "b: 2\n".to_owned());

        let differences = files.differences(root.path()).unwrap();
        for part in ["+a: 1", "+b: 2", "bundle/old/left.yaml: nothing generates this file"] {
            assert!(differences.contains(part), "{part} is not in {differences}");
        }
        files.write(root.path()).unwrap();
        assert_eq!(files.differences(root.path()).unwrap(), "");
        assert!(root.path().join("beside.yaml").exists(), "what is elsewhere stays");
        std::fs::write(root.path().join("bundle/a.yaml"), "a: 3\n").unwrap();
        assert!(files.differences(root.path()).unwrap().contains("-a: 3\n+a: 1\n"));
    }
}
