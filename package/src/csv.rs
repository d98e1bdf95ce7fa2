//! The ClusterServiceVersion: what OLM and OperatorHub know of a version.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    Error, Source,
    words::title,
    yaml::{at, part, without_metadata},
};

/// The whole object.
pub fn csv(source: &Source) -> Result<Value, Error> {
    let about = &source.about;
    let image = source.image()?;
    let mut spec = json!({
        "displayName": about.display_name,
        "description": source.description,
        "version": source.version,
        "maturity": about.maturity,
        "minKubeVersion": about.min_kube_version,
        "provider": about.provider,
        "maintainers": about.maintainers,
        "links": about.links,
        "keywords": about.keywords,
        "icon": [{"base64data": STANDARD.encode(&source.icon), "mediatype": "image/svg+xml"}],
        "installModes": install_modes(),
        "customresourcedefinitions": {"owned": owned(source)?},
        "install": install(source)?,
        "relatedImages": [{"name": about.name, "image": image}],
    });
    if let (false, Some(spec)) = (about.replaces.is_empty(), spec.as_object_mut()) {
        spec.insert("replaces".to_owned(), json!(format!("{}.v{}", about.name, about.replaces)));
    }
    Ok(json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": source.versioned_name(),
            "namespace": "placeholder",
            "annotations": annotations(source, image)?,
            "labels": labels(source),
        },
        "spec": spec,
    }))
}

/// Addresses and nodes belong to the whole cluster.
fn install_modes() -> Value {
    let modes = ["OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces"];
    modes.iter().map(|mode| json!({"type": mode, "supported": *mode == "AllNamespaces"})).collect()
}

fn annotations(source: &Source, image: &str) -> Result<Value, Error> {
    let about = &source.about;
    let mut annotations = json!({
        "alm-examples": pretty(&json!(source.examples))?,
        "capabilities": about.capabilities,
        "categories": "Networking",
        "certified": "false",
        "containerImage": image,
        "createdAt": about.created_at,
        "description": about.summary,
        "olm.skipRange": format!("<{}", source.version),
        "operatorframework.io/cluster-monitoring": "true",
        "operatorframework.io/initialization-resource": pretty(&initialization(source)?)?,
        "operatorframework.io/suggested-namespace": source.namespace()?,
        "operatorframework.io/suggested-namespace-template":
            pretty(&without_metadata(source.object("Namespace", source.namespace()?)?.clone(), "annotations"))?,
        "repository": about.repository,
        "support": about.support,
    });
    if let Some(annotations) = annotations.as_object_mut() {
        // Only images that are named by digest can be mirrored.
        let disconnected = ("disconnected".to_owned(), image.contains("@sha256:").to_string());
        for (feature, value) in about.features.iter().chain([(&disconnected.0, &disconnected.1)]) {
            annotations.insert(format!("features.operators.openshift.io/{feature}"), json!(value));
        }
    }
    Ok(annotations)
}

/// What is created first: a pool.
fn initialization(source: &Source) -> Result<Value, Error> {
    let pool = source.examples.iter().find(|example| at(example, "/kind") == "LoadBalancerPool");
    let mut pool = pool
        .cloned()
        .ok_or_else(|| Error::Missing("example of a LoadBalancerPool".to_owned(), "package/examples".to_owned()))?;
    if let Some(pool) = pool.as_object_mut() {
        pool.remove("status");
    }
    Ok(pool)
}

fn labels(source: &Source) -> Value {
    let mut labels = Map::new();
    for architecture in &source.about.architectures {
        labels.insert(format!("operatorframework.io/arch.{architecture}"), json!("supported"));
    }
    labels.insert("operatorframework.io/os.linux".to_owned(), json!("supported"));
    Value::Object(labels)
}

fn install(source: &Source) -> Result<Value, Error> {
    let deployment = source.object("Deployment", "clarion")?;
    let account = at(deployment, "/spec/template/spec/serviceAccountName");
    let rules = |kind| Ok::<_, Error>(part(source.object(kind, "clarion")?, "/rules"));
    Ok(json!({
        "strategy": "deployment",
        "spec": {
            "clusterPermissions": [{"serviceAccountName": account, "rules": rules("ClusterRole")?}],
            "permissions": [{"serviceAccountName": account, "rules": rules("Role")?}],
            "deployments": [{
                "name": at(deployment, "/metadata/name"),
                "label": part(deployment, "/metadata/labels"),
                "spec": part(deployment, "/spec"),
            }],
        },
    }))
}

/// What is said of each kind, as far as possible in the words of its schema.
fn owned(source: &Source) -> Result<Vec<Value>, Error> {
    source.crds.iter().map(|crd| kind(source, crd)).collect()
}

fn kind(source: &Source, crd: &Value) -> Result<Value, Error> {
    let name = at(crd, "/spec/names/kind");
    let about = source.about.kinds.get(name);
    let about = about.ok_or_else(|| Error::Missing(name.to_owned(), "kinds of package/package.yaml".to_owned()))?;
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    Ok(json!({
        "name": at(crd, "/metadata/name"),
        "version": at(crd, "/spec/versions/0/name"),
        "kind": name,
        "displayName": about.display_name,
        "description": at(crd, &format!("{schema}/description")),
        "resources": about.resources,
        "specDescriptors": descriptors(&part(crd, &format!("{schema}/properties/spec/properties")), spec_widget),
        "statusDescriptors": descriptors(&part(crd, &format!("{schema}/properties/status/properties")), status_widget),
    }))
}

/// One descriptor for each field of an object.
fn descriptors(properties: &Value, widget: fn(&str, &Value) -> Option<&'static str>) -> Vec<Value> {
    let fields = properties.as_object().into_iter().flatten();
    let descriptor = |(field, schema): (&String, &Value)| {
        let mut descriptor = json!({
            "path": field,
            "displayName": title(field),
            // Line breaks are those of the source code.
            "description": at(schema, "/description").split_whitespace().collect::<Vec<_>>().join(" "),
        });
        if let (Some(widget), Some(descriptor)) = (widget(field, schema), descriptor.as_object_mut()) {
            descriptor.insert("x-descriptors".to_owned(), json!([widget]));
        }
        descriptor
    };
    fields.map(descriptor).collect()
}

/// How a console lets people enter a field.
fn spec_widget(_: &str, schema: &Value) -> Option<&'static str> {
    match at(schema, "/type") {
        "boolean" => Some("urn:alm:descriptor:com.tectonic.ui:booleanSwitch"),
        "integer" => Some("urn:alm:descriptor:com.tectonic.ui:number"),
        "string" => Some("urn:alm:descriptor:com.tectonic.ui:text"),
        _ => None,
    }
}

/// How a console shows a field.
fn status_widget(field: &str, schema: &Value) -> Option<&'static str> {
    match (field, at(schema, "/type")) {
        ("conditions", _) => Some("urn:alm:descriptor:io.kubernetes.conditions"),
        (_, "integer" | "string") => Some("urn:alm:descriptor:text"),
        _ => None,
    }
}

fn pretty(value: &Value) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|error| Error::Yaml("an annotation".to_owned(), error.to_string()))
}
