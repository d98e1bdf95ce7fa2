//! The cases of this directory: objects over those that all cases start from.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A case.
pub struct Case {
    /// Its manifests.
    pub manifests: String,
    /// Flags for `clarion render`.
    pub flags: Vec<String>,
}

/// The directory with all cases.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|path| path.join("test/golden")).find(|p| p.exists()).unwrap()
}

/// The objects of YAML documents.
pub fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

impl Case {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let common = std::fs::read_to_string(directory().join("common.yaml")).unwrap();
        let own = documents(&text);
        let mut objects: Vec<Value> = documents(&common);
        objects.retain(|object| !own.iter().any(|other| identity(other) == identity(object)));
        objects.extend(own.into_iter().filter(|object| object["$delete"] != json!(true)));
        let manifests = objects.iter().map(|object| format!("---\n{}", serde_saphyr::to_string(object).unwrap()));
        let flags = text.lines().find_map(|line| line.strip_prefix("# flags: ")).unwrap_or_default();
        Self { manifests: manifests.collect(), flags: flags.split_whitespace().map(str::to_owned).collect() }
    }

    /// How `clarion` is called to render the case, once its manifests are in this directory.
    pub fn render<'a>(&'a self, files: &'a Path) -> Vec<&'a str> {
        let mut arguments = vec!["render", "--at", "2030-01-01T00:00:00Z", "-f", files.to_str().unwrap()];
        arguments.extend(self.flags.iter().map(String::as_str));
        arguments
    }
}

fn identity(object: &Value) -> (&Value, &Value, &Value) {
    (&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"])
}
