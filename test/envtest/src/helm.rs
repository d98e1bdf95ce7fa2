use std::process::Command;

use crate::{ControlPlane, Error, repository, tools};

/// Helm, with a home of its own and everything in one namespace.
pub struct Helm<'c> {
    control_plane: &'c ControlPlane,
    namespace: String,
    home: tempfile::TempDir,
}

impl<'c> Helm<'c> {
    /// For releases in this namespace.
    ///
    /// # Errors
    /// If there is no place for its home.
    pub fn new(control_plane: &'c ControlPlane, namespace: &str) -> Result<Self, Error> {
        Ok(Self { control_plane, namespace: namespace.to_owned(), home: tempfile::tempdir()? })
    }

    /// Runs it in the repository, and returns what it prints.
    ///
    /// # Errors
    /// If it can't be built or fails, with what it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        let output = Command::new(tools("packaging")?.join("helm"))
            .args(arguments)
            .args(["--namespace", &self.namespace])
            .current_dir(repository())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.control_plane.kubeconfig())
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Command(format!("helm {}", arguments.join(" ")), why));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
