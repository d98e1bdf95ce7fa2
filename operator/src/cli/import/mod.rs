//! `clarion import`

mod cluster;
mod convert;
mod metallb;
mod report;

use std::{
    collections::BTreeSet,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use clarion_api::names::DEFAULT_FRR_K8S_NAMESPACE;
use itertools::Itertools as _;
use serde::Serialize;
use serde_json::{Value, json};

pub use self::convert::{Imported, peer::password_of};
use self::{
    convert::{Settings, convert},
    metallb::{GROUP, Id, KINDS, Objects, Read, ReadError},
    report::Effect,
};
use super::manifests::{self, Manifest, Other};

/// Turn MetalLB's objects into Clarion's
///
/// Prints what `kubectl apply` takes: LoadBalancerPools, RouterPeers, LoadBalancerAdvertisements, CommunityAliases, and Secrets
/// for passwords. What can't be carried over is said on standard error, a line for each, beginning with what becomes of it:
///
///   error     it can't be read, or MetalLB refuses it too; nothing is printed
///   left out  it is not carried over
///   cut-over  it has to be dealt with before Clarion runs beside MetalLB
///   changed   it is carried over in another form
///   kept      it refers to something that is not among the objects
///
/// The exit status is 1 if there is an error, else 0. Nothing is written to the cluster.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Import {
    /// YAML files, or directories of them, with MetalLB's objects and the Secrets that they refer to; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1.., required_unless_present = "from_cluster")]
    paths: Vec<PathBuf>,
    /// Read MetalLB's objects from the cluster, and those Secrets that they refer to
    #[arg(long, conflicts_with = "paths")]
    from_cluster: bool,
    /// The namespace of MetalLB; in files, by default the one that all objects have, else metallb-system
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The namespace of FRR-K8s; with --from-cluster, by default the one that MetalLB writes to, else frr-k8s-system
    #[arg(long, value_name = "NAMESPACE")]
    frr_k8s_namespace: Option<String>,
    /// The form of what is printed
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One document for each object
    Yaml,
    /// A List
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Manifests(#[from] manifests::Error),
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("standard input can't be read: {0}")]
    Stdin(io::Error),
    #[error("there is no object of MetalLB in the namespace {0}; is --namespace right?")]
    Nothing(String),
    #[error(
        "there are objects of MetalLB in several namespaces, of which it reads one: choose with --namespace among {0}"
    )]
    Namespaces(String),
    #[error("{0} errors, see above; nothing was printed")]
    Unreadable(usize),
    #[error("the objects can't be written: {0}")]
    Write(#[from] io::Error),
    #[error("an object can't be written as JSON: {0}; this is a fault of Clarion, please report it")]
    Json(#[from] serde_json::Error),
    #[error("an object can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// Where MetalLB is if nothing else is said.
const METALLB_NAMESPACE: &str = "metallb-system";

/// An object, and where it was found.
struct Found {
    origin: String,
    manifest: Manifest,
}

impl Import {
    pub fn execute(self) -> Result<(), Error> {
        let (found, settings) = if self.from_cluster {
            let metallb_namespace = self.namespace.unwrap_or_else(|| METALLB_NAMESPACE.to_owned());
            let read = cluster::read(&metallb_namespace, self.frr_k8s_namespace)?;
            (read.found, Settings { metallb_namespace, frr_k8s_namespace: read.frr_k8s_namespace })
        } else {
            let found = found(&self.paths)?;
            let metallb_namespace = namespace(&found, self.namespace)?;
            let frr_k8s_namespace = self.frr_k8s_namespace.unwrap_or_else(|| DEFAULT_FRR_K8S_NAMESPACE.to_owned());
            (found, Settings { metallb_namespace, frr_k8s_namespace })
        };
        let imported = imported(found, &settings)?;
        Ok(io::stdout().write_all(print(&imported, self.format)?.as_bytes())?)
    }
}

/// What the objects of MetalLB in the cluster become. Tells what can't be carried over.
///
/// # Errors
/// If MetalLB is not there, or an object can't be read.
pub fn of_cluster(namespace: Option<String>, frr_k8s_namespace: String) -> Result<Imported, Error> {
    let metallb_namespace = namespace.unwrap_or_else(|| METALLB_NAMESPACE.to_owned());
    let read = cluster::read(&metallb_namespace, Some(frr_k8s_namespace))?;
    imported(read.found, &Settings { metallb_namespace, frr_k8s_namespace: read.frr_k8s_namespace })
}

/// What the objects of MetalLB among those of manifests become. Tells what can't be carried over.
///
/// # Errors
/// If there are none, or one can't be read.
pub fn of_manifests(
    others: Vec<Other>,
    namespace: Option<String>,
    frr_k8s_namespace: String,
) -> Result<Imported, Error> {
    let found =
        others.into_iter().map(|Other { file, manifest }| Found { origin: file.display().to_string(), manifest });
    let found: Vec<Found> = found.collect();
    let metallb_namespace = self::namespace(&found, namespace)?;
    imported(found, &Settings { metallb_namespace, frr_k8s_namespace })
}

/// Whether an import looks at an object.
pub fn is_of_interest(manifest: &Manifest) -> bool {
    is_metallb(manifest) || (manifest.api_version == "v1" && manifest.kind == "Secret")
}

/// Converts what was found, and tells what can't be carried over.
fn imported(found: Vec<Found>, settings: &Settings) -> Result<Imported, Error> {
    let (objects, mut errors) = take(found, settings);
    if objects.is_empty() && errors == 0 {
        return Err(Error::Nothing(settings.metallb_namespace.clone()));
    }
    let imported = convert(&objects, settings);
    for note in &imported.notes {
        eprintln!("{note}");
        errors += usize::from(note.effect == Effect::Error);
    }
    if errors > 0 { Err(Error::Unreadable(errors)) } else { Ok(imported) }
}

/// The objects of files, in their order.
fn found(paths: &[PathBuf]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut add = |file: &Path, text: &str| -> Result<(), Error> {
        let origin = file.display().to_string();
        let documents = manifests::documents(file, text).map_err(without_excerpt)?;
        found.extend(documents.into_iter().map(|manifest| Found { origin: origin.clone(), manifest }));
        Ok(())
    };
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(Error::Stdin)?;
            add(Path::new("standard input"), &text)?;
            continue;
        }
        for file in manifests::files(path)? {
            let text = std::fs::read_to_string(&file).map_err(|error| manifests::Error::Read(file.clone(), error))?;
            add(&file, &text)?;
        }
    }
    Ok(found)
}

/// Only where the error is: the lines around it may hold passwords.
fn without_excerpt(error: manifests::Error) -> manifests::Error {
    match error {
        manifests::Error::Yaml(file, text) => {
            manifests::Error::Yaml(file, text.lines().next().unwrap_or_default().to_owned())
        }
        other => other,
    }
}

/// The namespace of MetalLB: what was asked for, else the one that the objects have.
fn namespace(found: &[Found], wanted: Option<String>) -> Result<String, Error> {
    let objects = found.iter().map(|found| &found.manifest).filter(|manifest| is_metallb(manifest));
    let namespaces: BTreeSet<&str> = objects.filter_map(namespace_of).collect();
    match (wanted, namespaces.len()) {
        (Some(wanted), _) => Ok(wanted),
        (None, 0 | 1) => Ok(namespaces.first().copied().unwrap_or(METALLB_NAMESPACE).to_owned()),
        (None, _) => Err(Error::Namespaces(namespaces.into_iter().join(", "))),
    }
}

fn is_metallb(manifest: &Manifest) -> bool {
    manifest.api_version.split('/').next() == Some(GROUP) && KINDS.contains(&manifest.kind.as_str())
}

fn namespace_of(manifest: &Manifest) -> Option<&str> {
    manifest.metadata.get("namespace").and_then(Value::as_str).filter(|namespace| !namespace.is_empty())
}

/// Reads the objects of MetalLB's namespace, and returns how many could not be read, of which it has told.
fn take(found: Vec<Found>, settings: &Settings) -> (Objects, usize) {
    let (mut objects, mut errors) = (Objects::default(), 0);
    for Found { origin, manifest } in found {
        let (kind, name) = (manifest.kind.clone(), manifest.name().to_owned());
        let namespace = namespace_of(&manifest).unwrap_or_default().to_owned();
        if is_metallb(&manifest) && !namespace.is_empty() && namespace != settings.metallb_namespace {
            let id = Id { kind, namespace, name };
            eprintln!("{}: {id}: it is not in the namespace of MetalLB ({origin})", Effect::LeftOut);
            continue;
        }
        match objects.take(manifest) {
            Ok(Read::Taken | Read::Status) => {}
            Ok(Read::Foreign(message)) => eprintln!("{}: {message} ({origin})", Effect::LeftOut),
            Err(ReadError::Nameless) => {
                eprintln!("{}: a {kind}: {} ({origin})", Effect::Error, ReadError::Nameless);
                errors += 1;
            }
            Err(error) => {
                eprintln!("{}: {}: {error} ({origin})", Effect::Error, Id { kind, namespace, name });
                errors += 1;
            }
        }
    }
    (objects, errors)
}

/// What `kubectl apply` takes, in an order in which nothing refers to what comes later.
fn print(imported: &Imported, format: Format) -> Result<String, Error> {
    let Imported { secrets, aliases, pools, peers, advertisements, notes: _ } = imported;
    let mut objects: Vec<Value> = secrets.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    objects.extend(plain(aliases, json!({"aliases": []}))?);
    objects.extend(plain(pools, json!({"addresses": []}))?);
    objects.extend(plain(peers, json!({}))?);
    objects.extend(plain(advertisements, json!({}))?);
    match format {
        Format::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            Ok(serde_json::to_string_pretty(&list)? + "\n")
        }
        Format::Yaml => {
            let mut text = String::new();
            for object in objects {
                text.push_str("---\n");
                text.push_str(&serde_saphyr::to_string(&object)?);
            }
            Ok(text)
        }
    }
}

/// Objects without the fields that say what is so anyway.
fn plain<K>(objects: &[K], least: Value) -> Result<Vec<Value>, Error>
where
    K: Serialize + kube::core::object::HasSpec,
    K::Spec: Serialize + serde::de::DeserializeOwned,
{
    let defaults = serde_json::to_value(serde_json::from_value::<K::Spec>(least)?)?;
    let mut plain = Vec::new();
    for object in objects {
        let mut object = serde_json::to_value(object)?;
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|field, value| defaults.get(field) != Some(value));
        }
        plain.push(object);
    }
    Ok(plain)
}
