//! `clarion support-bundle`

mod redact;

use std::{fs::File, io, path::PathBuf, time::Duration};

use clap::Args;
use clarion_api::{Timestamp, names};
use flate2::{Compression, write::GzEncoder};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, LogParams},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{cluster, program, progress, version};

/// Collect in one file what those need who look for a fault: objects, states and logs
///
/// Secrets are not read, and clear-text passwords are taken out of what is. What can't be read is listed in `errors.txt` of
/// the file; for metrics, which need a token that the API server does not pass on, with the commands that get them.
#[derive(Debug, Args)]
pub struct SupportBundle {
    /// The file to write
    #[arg(short = 'o', long, value_name = "FILE", default_value = "clarion-support.tar.gz")]
    output: PathBuf,
    /// The namespace of Clarion; found by the label of its Pods if not given
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The last lines of each log
    #[arg(long, value_name = "NUMBER", default_value_t = 5000)]
    tail: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("{file} can't be written: {why}; choose another with --output", file = .file.display())]
    Write { file: PathBuf, why: io::Error },
    #[error("an object can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// Kinds of which all objects are collected: group, version, kind.
const KINDS: [(&str, &str, &str); 17] = [
    (names::GROUP, names::VERSION, "LoadBalancerPool"),
    (names::GROUP, names::VERSION, "AddressReservation"),
    (names::GROUP, names::VERSION, "LoadBalancerAdvertisement"),
    (names::GROUP, names::VERSION, "RouterPeer"),
    (names::GROUP, names::VERSION, "CommunityAlias"),
    ("frrk8s.metallb.io", "v1beta1", "FRRConfiguration"),
    ("frrk8s.metallb.io", "v1beta1", "FRRNodeState"),
    ("frrk8s.metallb.io", "v1beta1", "BGPSessionState"),
    ("", "v1", "Service"),
    ("", "v1", "Node"),
    ("", "v1", "Namespace"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
    ("networking.k8s.io", "v1", "ServiceCIDR"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("events.k8s.io", "v1", "Event"),
    ("apps", "v1", "Deployment"),
    ("", "v1", "Pod"),
];
/// Kinds of which only those objects matter that carry Clarion's label.
const LABELLED: [&str; 3] = ["Lease", "Deployment", "Pod"];
/// What marks the objects of an installation.
const LABEL: &str = "app.kubernetes.io/name=clarion";
/// Objects of one page of a list. An FRRNodeState may have 1.5 MB.
const PAGE: u32 = 100;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers that are awaited at the same time.
const IN_FLIGHT: usize = 4;

/// A file of the bundle, or why there is none.
struct Entry {
    name: String,
    content: Result<String, String>,
}

impl SupportBundle {
    pub fn execute(self) -> Result<(), Error> {
        let entries = cluster::block_on(progress::during("reading the cluster", async {
            self.gather(cluster::client().await?).await
        }))??;
        let failed = entries.iter().filter(|entry| entry.content.is_err()).count();
        self.write(&entries).map_err(|why| Error::Write { file: self.output.clone(), why })?;
        let count = entries.len() - failed;
        println!("{}: {count} files; Secrets were not read", self.output.display());
        if failed > 0 {
            program::tell(format!("{failed} parts could not be read; errors.txt in the file has why"));
        }
        Ok(())
    }

    async fn gather(&self, client: Client) -> Result<Vec<Entry>, Error> {
        let lists = stream::iter(KINDS).map(|kind| {
            let client = client.clone();
            async move { (kind.2, objects(client, kind).await) }
        });
        let mut entries = vec![Entry { name: "version.yaml".to_owned(), content: versions(&client).await }];
        let mut lists = lists.buffered(IN_FLIGHT);
        while let Some((kind, objects)) = lists.next().await {
            let content = match objects {
                Ok(items) => Ok(serde_saphyr::to_string(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?),
                Err(error) => Err(error),
            };
            entries.push(Entry { name: format!("objects/{}.yaml", kind.to_lowercase()), content });
        }
        match self.pods(&client).await {
            Ok(pods) => {
                for pod in pods {
                    entries.extend(self.of_pod(&client, &pod).await);
                }
            }
            Err(error) => entries.push(Entry { name: "logs".to_owned(), content: Err(error) }),
        }
        Ok(entries)
    }

    async fn pods(&self, client: &Client) -> Result<Vec<Pod>, String> {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        Ok(patiently(api.list(&ListParams::default().labels(LABEL))).await?.items)
    }

    /// The logs of a Pod, those before its last restart too, and how to get its metrics.
    async fn of_pod(&self, client: &Client, pod: &Pod) -> Vec<Entry> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let mut entries = Vec::new();
        for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
            for previous in [false, true] {
                let parameters = LogParams {
                    container: Some(container.name.clone()),
                    previous,
                    tail_lines: Some(i64::from(self.tail)),
                    timestamps: true,
                    ..LogParams::default()
                };
                let log = patiently(api.logs(&name, &parameters)).await;
                // Most have not been restarted.
                if previous && log.is_err() {
                    continue;
                }
                let file = if previous { "previous.log" } else { "log" };
                entries.push(Entry {
                    name: format!("pods/{namespace}/{name}/{}.{file}", container.name),
                    content: log.map(|text| redact::configuration(&text)),
                });
            }
            let ports = container.ports.iter().flatten();
            for port in ports.filter(|port| port.name.as_deref() == Some("metrics-local")) {
                let port = port.container_port;
                entries.push(Entry {
                    name: format!("pods/{namespace}/{name}/metrics.txt"),
                    content: Err(format!(
                        "metrics are given to who shows a token, and the API server passes none on; get them with \
                         `kubectl --namespace {namespace} port-forward pod/{name} {port}` and \
                         `curl http://localhost:{port}/metrics`"
                    )),
                });
            }
        }
        entries
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        let mut archive = tar::Builder::new(GzEncoder::new(File::create(&self.output)?, Compression::default()));
        let errors: String = entries
            .iter()
            .filter_map(|entry| Some(format!("{}: {}\n", entry.name, entry.content.as_ref().err()?)))
            .collect();
        let files = entries.iter().filter_map(|entry| Some((entry.name.as_str(), entry.content.as_ref().ok()?)));
        for (name, content) in files.chain((!errors.is_empty()).then_some(("errors.txt", &errors))) {
            let mut header = tar::Header::new_gnu();
            header.set_size(u64::try_from(content.len()).unwrap_or_default());
            header.set_mode(0o644);
            header.set_mtime(u64::try_from(Timestamp::now().as_second()).unwrap_or_default());
            archive.append_data(&mut header, format!("clarion-support/{name}"), content.as_bytes())?;
        }
        archive.into_inner()?.finish()?.sync_all()
    }
}

/// This build and the API server's.
async fn versions(client: &Client) -> Result<String, String> {
    let server = patiently(client.apiserver_version()).await?;
    let versions = json!({"clarion": version::BUILD, "kubernetes": server, "at": Timestamp::now().to_string()});
    serde_saphyr::to_string(&versions).map_err(|error| error.to_string())
}

/// All objects of a kind, without what is secret.
async fn objects(client: Client, (group, version, kind): (&str, &str, &str)) -> Result<Vec<Value>, String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut parameters = ListParams::default().limit(PAGE);
    if LABELLED.contains(&kind) {
        parameters = parameters.labels(LABEL);
    }
    let mut objects = Vec::new();
    loop {
        let page = patiently(api.list(&parameters)).await?;
        for object in page.items {
            let mut value = serde_json::to_value(object).map_err(|error| error.to_string())?;
            redact::redact(&mut value);
            objects.push(value);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(objects),
        }
    }
}

async fn patiently<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}
