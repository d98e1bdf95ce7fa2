//! Writes the files that Clarion is packaged in, and the reference of its API, all from one source: `config/` for manifests, `crds/`
//! for CRDs, the version of the workspace, and `package/` for what can't be known from elsewhere.
//!
//! [`Source`] reads, [`generate`] makes files of it, and [`Files`] writes them or compares them with what is there.

mod bundle;
mod chart;
mod csv;
mod files;
mod olm;
mod reference;
mod source;
mod words;
mod yaml;

use std::path::PathBuf;

pub use files::Files;
pub use source::{About, Examples, Source};

/// Where the tools are that take part.
#[derive(Clone, Debug)]
pub struct Tools {
    /// `kustomize`, which renders `config/`.
    pub kustomize: PathBuf,
    /// `opm`, which renders the catalog.
    pub opm: PathBuf,
}

/// Why files can't be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read or written.
    #[error("{0}: {1}; run this in the root of the repository, or name that with --root")]
    Io(PathBuf, std::io::Error),
    /// A file is not the YAML that it should be.
    #[error("{0}: {1}; correct it")]
    Yaml(String, String),
    /// Something that the package needs is not in its source.
    #[error("there is no {0} in {1}, but the package needs it: add it there")]
    Missing(String, String),
    /// A tool can't be started, or complains.
    #[error("{0}: {1}; `test/tools/build packaging` builds it")]
    Tool(String, String),
}

/// All generated files.
///
/// # Errors
/// If the source lacks something, or `opm` refuses the bundle.
pub fn generate(source: &Source, tools: &Tools) -> Result<Files, Error> {
    let mut files = Files::default();
    bundle::add(source, &mut files)?;
    olm::add(source, tools, &mut files)?;
    chart::add(source, &mut files)?;
    reference::add(source, &mut files)?;
    Ok(files)
}
