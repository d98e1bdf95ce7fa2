use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    discovery::pinned_kind,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{Error, Etcd, Process, etcd, repository, tools};

/// etcd and a kube-apiserver, for one test.
pub struct ControlPlane {
    // In the order in which they are to end.
    api_server: Option<Process>,
    etcd: etcd::Server,
    tools: PathBuf,
    port: u16,
    /// What the API server is told beyond what it always is.
    flags: &'static [&'static str],
    client: Client,
    directory: TempDir,
}

/// Who may do everything.
const ADMIN: &str = "admin-token";
/// The operator's ServiceAccount, as `config/` sets it up.
const OPERATOR: &str = "operator-token";
/// How long a component may take to come up.
const START: Duration = Duration::from_secs(60);

impl ControlPlane {
    /// Starts a control plane; needs about three seconds, more on a loaded machine.
    ///
    /// # Errors
    /// If a component can't be built or does not come up.
    pub async fn start() -> Result<Self, Error> {
        Self::start_of("kubernetes").await
    }

    /// Starts a control plane of a version, as [`tools`] knows it.
    ///
    /// # Errors
    /// If a component can't be built or does not come up.
    pub async fn start_of(component: &str) -> Result<Self, Error> {
        Self::start_with(component, &[]).await
    }

    /// Starts a control plane that stores everything as JSON, for [`ControlPlane::etcd`] to show.
    ///
    /// # Errors
    /// If a component can't be built or does not come up.
    pub async fn storing_json() -> Result<Self, Error> {
        Self::start_with("kubernetes", &["--storage-media-type=application/json"]).await
    }

    async fn start_with(component: &str, flags: &'static [&'static str]) -> Result<Self, Error> {
        let tools = tools(component)?;
        let directory = tempfile::Builder::new().prefix("clarion-envtest-").tempdir()?;
        let port = free_port()?;
        write_files(directory.path(), port)?;
        let etcd = etcd::Server::start(&tools, directory.path())?;
        let client = client(&directory.path().join("kubeconfig")).await?;
        let mut this = Self { api_server: None, etcd, tools, port, flags, client, directory };
        this.start_api_server().await?;
        Ok(this)
    }

    /// Starts a control plane with everything of `config/`. The Deployment stays without Pods.
    ///
    /// # Errors
    /// If a component can't be built or does not come up.
    pub async fn with_clarion() -> Result<Self, Error> {
        let this = Self::start().await?;
        this.install_clarion().await?;
        Ok(this)
    }

    /// Installs everything of `config/`.
    ///
    /// # Errors
    /// If it can't be applied.
    pub async fn install_clarion(&self) -> Result<(), Error> {
        let rendered = self.kubectl(&["kustomize", "config/"])?;
        self.apply(&parse("config/", &rendered)?).await
    }

    /// Starts a control plane with Clarion's and FRR-K8s's CRDs, and the namespace of FRR-K8s.
    ///
    /// # Errors
    /// If a component can't be built or does not come up.
    pub async fn with_frr_k8s() -> Result<Self, Error> {
        let this = Self::with_clarion().await?;
        this.install_frr_k8s().await?;
        Ok(this)
    }

    /// Installs FRR-K8s's CRDs and its namespace.
    ///
    /// # Errors
    /// If they can't be had or are refused.
    pub async fn install_frr_k8s(&self) -> Result<(), Error> {
        self.install_frr_k8s_of("frr-k8s").await
    }

    /// Installs the CRDs of this component of `test/tools/build`, and the namespace of FRR-K8s.
    ///
    /// # Errors
    /// If they can't be had or are refused.
    pub async fn install_frr_k8s_of(&self, component: &str) -> Result<(), Error> {
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "frr-k8s-system"},
        });
        let mut objects = vec![object(namespace)?];
        let is_crd =
            |object: &DynamicObject| object.types.as_ref().is_some_and(|t| t.kind == "CustomResourceDefinition");
        objects.extend(manifests(&tools(component)?.join("crds"))?.into_iter().filter(is_crd));
        self.apply(&objects).await
    }

    /// A client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig that may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// A kubeconfig of the operator's ServiceAccount, which may do what `config/` allows.
    #[must_use]
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig-operator")
    }

    /// A directory that lives as long as the control plane.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends the API server, the hard way.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts the API server, on the port that it had, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start_api_server(&mut self) -> Result<(), Error> {
        let mut process = self.run_api_server()?;
        let end = Instant::now() + START;
        loop {
            let ready = http::Request::get("/readyz").body(Vec::new()).map_err(kube::Error::HttpError)?;
            if self.client.request_text(ready).await.is_ok()
                && Api::<Namespace>::all(self.client()).get_opt("default").await.is_ok_and(|found| found.is_some())
            {
                break;
            }
            if process.exited()?.is_some() || Instant::now() >= end {
                return Err(process.not_up("/readyz"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.api_server = Some(process);
        Ok(())
    }

    fn run_api_server(&self) -> Result<Process, Error> {
        let directory = self.directory.path();
        let file = |name: &str| directory.join(name).display().to_string();
        let arguments = [
            format!("--etcd-servers={}", self.etcd.url()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            // Else it looks for a default route, which a network namespace need not have.
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--cert-dir={}", file("")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            format!("--service-account-key-file={}", file("accounts.pub")),
            // Kubernetes 1.31 writes a bit for each of these with each Service.
            "--service-cluster-ip-range=10.96.0.0/14,fd00:10:96::/112".to_owned(),
            // Nobody makes ServiceAccounts here.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        let arguments = arguments.into_iter().chain(self.flags.iter().map(|flag| (*flag).to_owned()));
        let (log, no_environment): (_, [(&str, &str); 0]) = (directory.join("kube-apiserver.log"), []);
        Process::start("kube-apiserver", &log, self.tools.join("kube-apiserver"), arguments, no_environment)
    }

    /// etcd, past the API server.
    ///
    /// # Errors
    /// Never: its address is one.
    pub fn etcd(&self) -> Result<Etcd, Error> {
        Etcd::new(&self.etcd.url())
    }

    /// Ends etcd, the hard way, and starts it on the data that it had. Returns when it answers.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart_etcd(&mut self) -> Result<(), Error> {
        self.etcd.stop();
        self.etcd.run()?;
        self.etcd()?.answers().await.map_err(|why| self.etcd.not_up(&why))
    }

    /// Applies objects in their order, and waits for CRDs to be served.
    ///
    /// # Errors
    /// If the API server refuses one.
    pub async fn apply(&self, objects: &[DynamicObject]) -> Result<(), Error> {
        for object in objects {
            let types = object.types.clone().unwrap_or_default();
            let gvk = GroupVersionKind::try_from(&types)
                .map_err(|error| Error::Manifest(object.name_any(), error.to_string()))?;
            let end = Instant::now() + START;
            let (resource, capabilities) = loop {
                match pinned_kind(&self.client, &gvk).await {
                    Ok(found) => break found,
                    Err(_) if Instant::now() < end => sleep(Duration::from_millis(20)).await,
                    Err(error) => return Err(error.into()),
                }
            };
            let api: Api<DynamicObject> = if capabilities.scope == kube::discovery::Scope::Namespaced {
                let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
                Api::namespaced_with(self.client(), &namespace, &resource)
            } else {
                Api::all_with(self.client(), &resource)
            };
            let parameters = PatchParams::apply("envtest").force();
            while let Err(error) = api.patch(&object.name_any(), &parameters, &Patch::Apply(object)).await {
                // A server that has just come up, or whose etcd has no time, answers so for a while.
                let passes = matches!(&error, kube::Error::Api(status) if status.code >= 500 || status.code == 429);
                if !passes || Instant::now() >= end {
                    return Err(error.into());
                }
                sleep(Duration::from_millis(100)).await;
            }
            if gvk.kind == "CustomResourceDefinition" {
                self.wait_for_crd(&api, &object.name_any()).await?;
            }
        }
        Ok(())
    }

    async fn wait_for_crd(&self, api: &Api<DynamicObject>, name: &str) -> Result<(), Error> {
        let end = Instant::now() + START;
        while Instant::now() < end {
            let crd = api.get(name).await?;
            let conditions =
                crd.data.pointer("/status/conditions").and_then(|c| c.as_array()).cloned().unwrap_or_default();
            let is = |type_: &str| {
                conditions
                    .iter()
                    .any(|c| c.get("type").is_some_and(|t| t == type_) && c.get("status").is_some_and(|s| s == "True"))
            };
            if is("Established") && is("NamesAccepted") {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(Error::Manifest(name.to_owned(), "the CRD is not served".to_owned()))
    }

    /// Runs kubectl and returns what it prints.
    ///
    /// # Errors
    /// With what it complains of.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        let output = std::process::Command::new(self.tools.join("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .current_dir(repository())
            .output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Command(format!("kubectl {}", arguments.join(" ")), error));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where kubectl is.
    #[must_use]
    pub fn kubectl_path(&self) -> PathBuf {
        self.tools.join("kubectl")
    }
}

/// Reads the objects of a YAML file, or of all YAML files of a directory in the order of their names.
///
/// # Errors
/// If one can't be read.
pub fn manifests(path: &Path) -> Result<Vec<DynamicObject>, Error> {
    if path.is_dir() {
        let mut files: Vec<_> =
            path.read_dir()?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        files.sort();
        let each =
            files.iter().filter(|file| file.extension().is_some_and(|e| e == "yaml")).map(|file| manifests(file));
        return Ok(each.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect());
    }
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Error::Manifest(name.clone(), error.to_string()))?;
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Vec<DynamicObject>, Error> {
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(text).map_err(|error| Error::Manifest(name.to_owned(), error.to_string()))?;
    documents.into_iter().filter(|document| !document.is_null()).map(object).collect()
}

pub(crate) fn object(value: serde_json::Value) -> Result<DynamicObject, Error> {
    serde_json::from_value(value).map_err(|error| Error::Manifest("a manifest".to_owned(), error.to_string()))
}

/// Ports that the kernel gives to no client connection (`net.ipv4.ip_local_port_range` starts at 32768): one that is free
/// now is free still when the component that it is for listens on it.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port that nothing listens on, and that this process has not given away before.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16, Error> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let size = u32::from(PORTS.end - PORTS.start);
    // Processes that run side by side start far from each other.
    let first = std::process::id().wrapping_mul(7919);
    for _ in 0..size {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % size;
        let port = PORTS.start + u16::try_from(next).unwrap_or_default();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(std::io::Error::from(std::io::ErrorKind::AddrInUse).into())
}

/// A client with this kubeconfig. Its connections belong to the runtime that makes it.
pub async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    let manifest = |error: kube::config::KubeconfigError| Error::Manifest("kubeconfig".to_owned(), error.to_string());
    let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(manifest)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(manifest)?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

fn write_files(directory: &Path, port: u16) -> Result<(), Error> {
    let server = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    std::fs::write(directory.join("server.crt"), server.cert.pem())?;
    std::fs::write(directory.join("server.key"), server.signing_key.serialize_pem())?;
    let accounts = rcgen::KeyPair::generate()?;
    std::fs::write(directory.join("accounts.key"), accounts.serialize_pem())?;
    std::fs::write(directory.join("accounts.pub"), accounts.public_key_pem())?;
    let groups = "system:serviceaccounts,system:serviceaccounts:clarion-system";
    std::fs::write(
        directory.join("tokens.csv"),
        format!(
            "{ADMIN},admin,1,\"system:masters\"\n{OPERATOR},system:serviceaccount:clarion-system:clarion,2,\"{groups}\"\n"
        ),
    )?;
    let url = format!("https://127.0.0.1:{port}");
    let ca = directory.join("server.crt");
    for (name, token) in [("kubeconfig", ADMIN), ("kubeconfig-operator", OPERATOR)] {
        std::fs::write(directory.join(name), kubeconfig(&url, Some(&ca), token))?;
    }
    Ok(())
}

pub(crate) fn kubeconfig(url: &str, ca: Option<&Path>, token: &str) -> String {
    let mut cluster = serde_json::json!({"server": url});
    if let (Some(ca), Some(cluster)) = (ca, cluster.as_object_mut()) {
        cluster.insert("certificate-authority".to_owned(), serde_json::json!(ca));
    }
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
    });
    config.to_string()
}
