//! `olm/`: the catalog, what installs Clarion from it with OLM v0 and v1, and the directory for the community's catalogs.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    Error, Files, Source, Tools,
    source::run,
    yaml::{self, at, part},
};

/// Who installs for OLM v1.
const INSTALLER: &str = "clarion-installer";

/// Adds `olm/`. The bundle has to be among the files already.
pub fn add(source: &Source, tools: &Tools, files: &mut Files) -> Result<(), Error> {
    catalog(source, tools, files)?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(source)?});
    v0(source, &namespace, files)?;
    v1(source, &namespace, files)?;
    community(source, files)
}

/// Name and labels of the namespace, as `config/` has them.
fn metadata(source: &Source) -> Result<Value, Error> {
    let namespace = source.object("Namespace", source.namespace()?)?;
    Ok(json!({"name": at(namespace, "/metadata/name"), "labels": part(namespace, "/metadata/labels")}))
}

fn catalog(source: &Source, tools: &Tools, files: &mut Files) -> Result<(), Error> {
    let about = &source.about;
    let bundle = rendered_bundle(source, tools, files)?;
    let name = source.versioned_name();
    let released = || source.released.iter().filter(|released| at(released, "/name") != name);

    let package = json!({
        "schema": "olm.package",
        "name": about.name,
        "defaultChannel": about.channel,
        "description": source.description,
        "icon": {"base64data": STANDARD.encode(&source.icon), "mediatype": "image/svg+xml"},
    });
    let mut entries: Vec<Value> = Vec::new();
    for bundle in released().chain([&bundle]) {
        let name = at(bundle, "/name");
        let version = name.strip_prefix(&format!("{}.v", about.name)).unwrap_or(name);
        let mut entry = json!({"name": name, "skipRange": format!("<{version}")});
        if let (Some(before), Some(entry)) = (entries.last().map(|before| part(before, "/name")), entry.as_object_mut())
        {
            entry.insert("replaces".to_owned(), before);
        }
        entries.push(entry);
    }
    let channel = json!({"schema": "olm.channel", "package": about.name, "name": about.channel, "entries": entries});

    let image = |bundle: &Value| json!({"schema": "olm.bundle", "image": at(bundle, "/image")});
    let images = released().chain([&bundle]).map(image);
    let template: Vec<Value> = [package.clone(), channel.clone()].into_iter().chain(images).collect();
    let template = json!({"schema": "olm.template.basic", "entries": template});
    files.add("olm/catalog-templates/basic.yaml", yaml::text(&template)?);

    let mut parts = vec![("", package), ("", channel)];
    parts.extend(released().chain([&bundle]).map(|bundle| ("", bundle.clone())));
    files.add(format!("olm/catalog/{}/catalog.yaml", about.name), yaml::texts(&parts)?);
    files.add("olm/catalog.Dockerfile", CATALOG_DOCKERFILE.to_owned());
    Ok(())
}

/// What `opm` makes of the bundle.
fn rendered_bundle(source: &Source, tools: &Tools, files: &Files) -> Result<Value, Error> {
    let directory = std::env::temp_dir().join(format!("clarion-bundle-{}", std::process::id()));
    let render = || {
        write_below(files, "bundle", &directory)?;
        let image = format!("{}:{}", source.about.bundle_image, source.version);
        let directory = directory.display().to_string();
        run(&tools.opm, &["render", &directory, "--output", "yaml", "--migrate", "--alpha-image-ref-template", &image])
    };
    let rendered = render();
    // Whatever became of it, the directory has served.
    let _ = std::fs::remove_dir_all(&directory);
    let mut documents = yaml::parse("what opm rendered", &rendered?)?;
    documents.pop().ok_or_else(|| Error::Missing("bundle".to_owned(), "what opm rendered".to_owned()))
}

fn write_below(files: &Files, below: &str, directory: &Path) -> Result<(), Error> {
    for (path, text) in files.below(below) {
        let path = directory.join(path);
        let parent = path.parent().unwrap_or(directory);
        std::fs::create_dir_all(parent).map_err(|error| Error::Io(parent.to_owned(), error))?;
        std::fs::write(&path, text).map_err(|error| Error::Io(path.clone(), error))?;
    }
    Ok(())
}

const CATALOG_DOCKERFILE: &str = "\
# Builds the image of the catalog: buildah bud --file olm/catalog.Dockerfile --build-arg OPM=IMAGE .
# Where opm's image is pulled from.
ARG OPM=operator-framework/opm:v1.73.0
FROM ${OPM}
ENTRYPOINT [\"/bin/opm\"]
CMD [\"serve\", \"/configs\", \"--cache-dir=/tmp/cache\"]
COPY olm/catalog /configs
RUN [\"/bin/opm\", \"serve\", \"/configs\", \"--cache-dir=/tmp/cache\", \"--cache-only\"]
LABEL operators.operatorframework.io.index.configs.v1=/configs
";

fn v0(source: &Source, namespace: &Value, files: &mut Files) -> Result<(), Error> {
    let about = &source.about;
    let (name, place) = (&about.name, source.namespace()?);
    let catalog_source = json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "CatalogSource",
        "metadata": {"name": name, "namespace": "olm"},
        "spec": {
            "sourceType": "grpc",
            "image": format!("{}:{}", about.catalog_image, source.version),
            "displayName": about.display_name,
            "publisher": about.provider.name,
            "grpcPodConfig": {"securityContextConfig": "restricted"},
            "updateStrategy": {"registryPoll": {"interval": "1h"}},
        },
    });
    let comment = "Where OLM finds Clarion. On OpenShift the namespace is openshift-marketplace.";
    files.add("olm/v0/catalogsource.yaml", yaml::texts(&[(comment, catalog_source)])?);
    let group = json!({
        "apiVersion": "operators.coreos.com/v1",
        "kind": "OperatorGroup",
        "metadata": {"name": name, "namespace": place},
        "spec": {},
    });
    let comment = "Without target namespaces it stands for all of them.";
    files.add("olm/v0/operatorgroup.yaml", yaml::texts(&[("", namespace.clone()), (comment, group)])?);
    let subscription = json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "Subscription",
        "metadata": {"name": name, "namespace": place},
        "spec": {
            "name": name,
            "channel": about.channel,
            "source": name,
            "sourceNamespace": "olm",
            "installPlanApproval": "Automatic",
        },
    });
    let comment = "Settings go into spec.config.env, as the environment variables that `clarion run --help` names.";
    files.add("olm/v0/subscription.yaml", yaml::texts(&[(comment, subscription)])?);
    Ok(())
}

fn v1(source: &Source, namespace: &Value, files: &mut Files) -> Result<(), Error> {
    let about = &source.about;
    let (name, place) = (&about.name, source.namespace()?);
    let catalog = json!({
        "apiVersion": "olm.operatorframework.io/v1",
        "kind": "ClusterCatalog",
        "metadata": {"name": name},
        "spec": {
            "source": {
                "type": "Image",
                "image": {"ref": format!("{}:{}", about.catalog_image, source.version), "pollIntervalMinutes": 60},
            },
        },
    });
    files.add("olm/v1/clustercatalog.yaml", yaml::text(&catalog)?);

    let extension = json!({
        "apiVersion": "olm.operatorframework.io/v1",
        "kind": "ClusterExtension",
        "metadata": {"name": name},
        "spec": {
            "namespace": place,
            "serviceAccount": {"name": INSTALLER},
            "source": {
                "sourceType": "Catalog",
                "catalog": {"packageName": name, "channels": [about.channel]},
            },
        },
    });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": INSTALLER, "namespace": place},
    });
    let subjects = json!([{"kind": "ServiceAccount", "name": INSTALLER, "namespace": place}]);
    let role = |kind: &str, metadata: Value, rules: Vec<Value>| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules});
    let binding = |kind: &str, of: &str, metadata: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": of, "name": INSTALLER},
        })
    };
    let (wide, here) = (json!({"name": INSTALLER}), json!({"name": INSTALLER, "namespace": place}));
    let parts = [
        ("", namespace.clone()),
        ("OLM v1 installs with the rights of this account, and no others.", account),
        (
            "CRDs and roles, and whatever Clarion and the people who use it may do: nobody can give rights that they lack.\n\
             OLM makes up the names of the operator's roles, so the rule for roles can't name them.",
            role("ClusterRole", wide.clone(), installer_rules(source)?),
        ),
        ("", binding("ClusterRoleBinding", "ClusterRole", wide)),
        ("What is in the namespace.", role("Role", here.clone(), installer_rules_in_namespace())),
        ("", binding("RoleBinding", "Role", here)),
        ("", extension),
    ];
    files.add("olm/v1/clusterextension.yaml", yaml::texts(&parts)?);
    Ok(())
}

fn installer_rules(source: &Source) -> Result<Vec<Value>, Error> {
    let crds: Vec<&str> = source.crds.iter().map(|crd| at(crd, "/metadata/name")).collect();
    let mut rules = vec![
        json!({
            "apiGroups": ["olm.operatorframework.io"], "resources": ["clusterextensions/finalizers"],
            "resourceNames": [source.about.name], "verbs": ["update"],
        }),
        json!({
            "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
            "verbs": ["create", "list", "watch"],
        }),
        json!({
            "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
            "resourceNames": crds, "verbs": ["get", "update", "patch", "delete"],
        }),
        json!({
            "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles", "clusterrolebindings"],
            "verbs": ["create", "get", "list", "watch", "update", "patch", "delete"],
        }),
        // OLM gives this to every operator that watches all namespaces.
        json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}),
    ];
    let held = [
        ("ClusterRole", "clarion"),
        ("Role", "clarion"),
        ("ClusterRole", "clarion-viewer"),
        ("ClusterRole", "clarion-editor"),
        ("ClusterRole", "clarion-metrics-reader"),
    ];
    for (kind, name) in held {
        rules.extend(part(source.object(kind, name)?, "/rules").as_array().cloned().unwrap_or_default());
    }
    Ok(rules)
}

fn installer_rules_in_namespace() -> Vec<Value> {
    let kinds = [
        ("", "serviceaccounts", "clarion"),
        ("", "services", "clarion-metrics"),
        ("apps", "deployments", "clarion"),
        ("policy", "poddisruptionbudgets", "clarion"),
    ];
    let rules = kinds.iter().map(|(group, resource, name)| {
        [
            json!({"apiGroups": [group], "resources": [resource], "verbs": ["create", "list", "watch"]}),
            json!({
                "apiGroups": [group], "resources": [resource], "resourceNames": [name],
                "verbs": ["get", "update", "patch", "delete"],
            }),
        ]
    });
    rules.flatten().collect()
}

/// What a change of the community's repository consists of.
fn community(source: &Source, files: &mut Files) -> Result<(), Error> {
    let base = format!("olm/community/operators/{}", source.about.name);
    let mut ci = Map::new();
    ci.insert("updateGraph".to_owned(), json!("replaces-mode"));
    if !source.about.reviewers.is_empty() {
        ci.insert("reviewers".to_owned(), json!(source.about.reviewers));
    }
    files.add(format!("{base}/ci.yaml"), yaml::text(&Value::Object(ci))?);
    let copies: Vec<_> = files.below("bundle").map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    for (path, text) in copies {
        files.add(format!("{base}/{}/{}", source.version, path.display()), text);
    }
    Ok(())
}
