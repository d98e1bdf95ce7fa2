use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Error;

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The way from one directory to another: kustomize takes no absolute paths.
///
/// # Errors
/// If one of them is not there.
pub fn relative(from: &Path, to: &Path) -> Result<String, Error> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let up = "../".repeat(from.components().count().saturating_sub(1));
    Ok(format!("{up}{}", to.strip_prefix("/").unwrap_or(&to).display()))
}

/// Where cargo puts what it builds of the repository.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The directory with a component's binaries, built first if need be: see `test/tools/build`. `kubernetes 1.31` is that of a
/// version.
///
/// # Errors
/// If the component can't be built; what went wrong was printed.
pub fn tools(component: &str) -> Result<PathBuf, Error> {
    let output = Command::new(repository().join("test/tools/build"))
        .args(component.split(' '))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(Error::Command(format!("test/tools/build {component}"), "see above".to_owned()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
