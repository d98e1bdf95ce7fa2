use std::{collections::BTreeMap, num::NonZero, process::Command, thread::available_parallelism};

use clarion_api::Timestamp;
use clarion_envtest::{Operator, tools};
use serde::Serialize;
use serde_json::Value;

use crate::Result;

/// Where, when and with what something is measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// How many cores this process may use.
    pub cores: usize,
    /// The version of the kernel.
    pub kernel: String,
    /// The day, as RFC 3339 writes it.
    pub date: String,
    /// What runs, by name.
    pub versions: BTreeMap<String, Value>,
}

impl Machine {
    /// This one, with Clarion and these components of `test/tools/build`, whose folders are called by their versions.
    ///
    /// # Errors
    /// If it can't be told.
    pub fn this(components: &[&str]) -> Result<Self> {
        let clarion = Command::new(Operator::binary()?).args(["version", "-o", "json"]).output()?;
        let mut versions = BTreeMap::from([("clarion".to_owned(), serde_json::from_slice(&clarion.stdout)?)]);
        for component in components {
            let directory = tools(component)?;
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            versions.insert((*component).to_owned(), name.into());
        }
        Ok(Self {
            cores: available_parallelism().map_or(1, NonZero::get),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            date: Timestamp::now().strftime("%F").to_string(),
            versions,
        })
    }
}
