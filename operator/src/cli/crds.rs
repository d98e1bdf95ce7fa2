//! `clarion crds`

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Args;

#[derive(Debug, Args)]
pub struct Crds {
    /// Write one file for each kind into this directory instead of printing them
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a CRD can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Yaml(#[from] serde_saphyr::SerializeError),
    #[error("the CRDs can't be written: {0}")]
    Io(#[from] io::Error),
}

impl Crds {
    pub fn execute(self) -> Result<(), Error> {
        for crd in clarion_api::crds() {
            let yaml = serde_saphyr::to_string(&crd)?;
            match &self.dir {
                Some(dir) => {
                    let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
                    std::fs::write(dir.join(name), yaml)?;
                }
                None => write!(io::stdout(), "---\n{yaml}")?,
            }
        }
        Ok(())
    }
}
