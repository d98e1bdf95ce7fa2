//! What the package is made of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Tools,
    yaml::{self, at},
};

/// `package/package.yaml`: what is said of Clarion and can't be known from elsewhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct About {
    /// The name of the package, and the prefix of its versions' names.
    pub name: String,
    /// The name as people write it.
    pub display_name: String,
    /// One line.
    pub summary: String,
    /// When this version was made.
    pub created_at: String,
    /// The version before this one; empty for the first.
    pub replaces: String,
    /// Where the image of the bundle is pulled from, without a tag.
    pub bundle_image: String,
    /// Where the image of the catalog is pulled from, without a tag.
    pub catalog_image: String,
    /// The channel of the catalog.
    pub channel: String,
    /// How far it is: `alpha`, `beta`, `stable` …
    pub maturity: String,
    /// The oldest Kubernetes that it runs on.
    pub min_kube_version: String,
    /// The versions of OpenShift that it is offered in.
    pub openshift_versions: String,
    /// The capability level that holds.
    pub capabilities: String,
    /// Who provides it.
    pub provider: Link,
    /// Where the source is.
    pub repository: String,
    /// Who supports it.
    pub support: String,
    /// Who maintains it.
    pub maintainers: Vec<Maintainer>,
    /// Where to read on.
    pub links: Vec<Link>,
    /// What to find it by.
    pub keywords: Vec<String>,
    /// `features.operators.openshift.io/…`
    pub features: BTreeMap<String, String>,
    /// The architectures that the image is there for.
    pub architectures: Vec<String>,
    /// Who reviews changes of the package in the community's repository.
    pub reviewers: Vec<String>,
    /// What is said of each kind.
    pub kinds: BTreeMap<String, KindAbout>,
}

/// A name with an address in the web.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The name.
    pub name: String,
    /// The address.
    pub url: String,
}

/// A person or group with an e-mail address.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Maintainer {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

/// What is said of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindAbout {
    /// The name as people write it.
    pub display_name: String,
    /// What an object of the kind leads to.
    pub resources: Vec<Value>,
}

/// Examples of a kind.
#[derive(Clone, Debug)]
pub struct Examples {
    /// As they are written, with comments.
    pub text: String,
    /// The objects.
    pub objects: Vec<Value>,
}

/// Everything that the generated files are made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// What can't be known from elsewhere.
    pub about: About,
    /// The version of the workspace.
    pub version: String,
    /// The Markdown text for OperatorHub.
    pub description: String,
    /// The icon, an SVG.
    pub icon: String,
    /// What `config/` renders, without the CRDs.
    pub config: Vec<Value>,
    /// The CRDs, in the order of their names.
    pub crds: Vec<Value>,
    /// An example of each kind, in the order of the CRDs.
    pub examples: Vec<Value>,
    /// Examples with every field of `docs/examples/reference`, by the singular name of their kind.
    pub reference: BTreeMap<String, Examples>,
    /// The objects of `config/components`, by component.
    pub components: BTreeMap<String, Vec<Value>>,
    /// What `opm` rendered of earlier versions, the oldest first.
    pub released: Vec<Value>,
    /// The root of the repository.
    pub root: PathBuf,
}

impl Source {
    /// Reads everything.
    ///
    /// # Errors
    /// If a file is missing or not as it should be, or kustomize complains.
    pub fn read(root: &Path, tools: &Tools) -> Result<Self, Error> {
        let package = root.join("package");
        let about = yaml::read(&package.join("package.yaml"))?;
        let about: About = serde_saphyr::from_str(&about)
            .map_err(|error| Error::Yaml("package/package.yaml".to_owned(), error.to_string()))?;

        let rendered = run(&tools.kustomize, &["build", &root.join("config").display().to_string()])?;
        let is_crd = |object: &Value| at(object, "/kind") == "CustomResourceDefinition";
        let (mut crds, config): (Vec<_>, Vec<_>) = yaml::parse("config/", &rendered)?.into_iter().partition(is_crd);
        crds.sort_by(|a, b| at(a, "/metadata/name").cmp(at(b, "/metadata/name")));

        let mut examples = Vec::new();
        for crd in &crds {
            let singular = at(crd, "/spec/names/singular");
            let mut found = yaml::documents(&package.join("examples").join(format!("{singular}.yaml")))?;
            if found.len() != 1 {
                return Err(Error::Missing("single example".to_owned(), format!("package/examples/{singular}.yaml")));
            }
            examples.append(&mut found);
        }
        let mut reference = BTreeMap::new();
        for file in listed(&root.join("docs/examples/reference"))? {
            let singular = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = yaml::read(&file)?;
            let objects = yaml::parse(&file.display().to_string(), &text)?;
            reference.insert(singular, Examples { text, objects });
        }
        let mut components = BTreeMap::new();
        let directory = root.join("config/components");
        for path in listed(&directory)? {
            let mut objects = Vec::new();
            for file in listed(&path)? {
                if file.file_name().is_none_or(|name| name != "kustomization.yaml") {
                    objects.append(&mut yaml::documents(&file)?);
                }
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            components.insert(name, objects);
        }
        let released = package.join("released/catalog.yaml");
        let released = if released.exists() { yaml::documents(&released)? } else { Vec::new() };
        Ok(Self {
            about,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: yaml::read(&package.join("description.md"))?,
            icon: yaml::read(&package.join("icon.svg"))?,
            config,
            crds,
            examples,
            reference,
            components,
            released,
            root: root.to_owned(),
        })
    }

    /// The one object of a kind in `config/`, by name.
    ///
    /// # Errors
    /// If there is none.
    pub fn object(&self, kind: &str, name: &str) -> Result<&Value, Error> {
        let found = self.config.iter().find(|o| at(o, "/kind") == kind && at(o, "/metadata/name") == name);
        found.ok_or_else(|| Error::Missing(format!("{kind} {name}"), "config/base".to_owned()))
    }

    /// The objects of a component.
    ///
    /// # Errors
    /// If there is no such component.
    pub fn component(&self, name: &str) -> Result<&[Value], Error> {
        let found = self.components.get(name).map(Vec::as_slice);
        found.ok_or_else(|| Error::Missing(name.to_owned(), "config/components".to_owned()))
    }

    /// The image of the operator, as `config/` has it.
    ///
    /// # Errors
    /// If the Deployment names none.
    pub fn image(&self) -> Result<&str, Error> {
        let image = at(self.object("Deployment", "clarion")?, "/spec/template/spec/containers/0/image");
        if image.is_empty() {
            return Err(Error::Missing("image".to_owned(), "config/base/deployment.yaml".to_owned()));
        }
        Ok(image)
    }

    /// The namespace that `config/` installs into.
    ///
    /// # Errors
    /// If there is no Deployment.
    pub fn namespace(&self) -> Result<&str, Error> {
        Ok(at(self.object("Deployment", "clarion")?, "/metadata/namespace"))
    }

    /// The name of this version of the package.
    #[must_use]
    pub fn versioned_name(&self) -> String {
        format!("{}.v{}", self.about.name, self.version)
    }
}

/// What a directory holds, in the order of the names; nothing if there is no such directory.
fn listed(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let fail = |error| Error::Io(directory.to_owned(), error);
    let entries = std::fs::read_dir(directory).map_err(fail)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(fail)?;
    paths.sort();
    Ok(paths)
}

/// Runs a tool and returns what it prints.
pub fn run(tool: &Path, arguments: &[&str]) -> Result<String, Error> {
    let name = tool.display().to_string();
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Tool(name.clone(), error.to_string()))?;
    if !output.status.success() {
        return Err(Error::Tool(name, String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
