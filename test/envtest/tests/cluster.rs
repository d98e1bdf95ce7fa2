//! What tests set up and look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::frr::{FRRConfiguration, FRRNodeState};
use clarion_envtest::{ControlPlane, Operator, crowd::addresses, wait};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Whether the tests run with this version of Kubernetes, which is not the default one.
pub fn kubernetes_is(version: &str) -> bool {
    std::env::var("KUBERNETES").is_ok_and(|set| set == version)
}

pub fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

pub fn node(name: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
    }))
}

pub fn pool(name: &str, addresses: &[&str]) -> DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool",
        "metadata": {"name": name}, "spec": {"addresses": addresses},
    }))
}

pub fn pool_with(name: &str, spec: Value) -> DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": name}, "spec": spec,
    }))
}

pub fn peer() -> DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": "tor"},
        "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true},
    }))
}

pub fn advertisement() -> DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerAdvertisement",
        "metadata": {"name": "all"}, "spec": {},
    }))
}

/// A Service of our class; with an endpoint in [`endpoints`].
pub fn service(name: &str, families: &[&str]) -> DynamicObject {
    let policy = if families.len() == 2 { "RequireDualStack" } else { "SingleStack" };
    object(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp",
            "ipFamilies": families, "ipFamilyPolicy": policy, "ports": [{"port": 80}],
        },
    }))
}

pub fn endpoints(service: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.1"]}], "ports": [{"port": 80}],
    }))
}

/// The same for IPv6.
pub fn endpoints_v6(service: &str) -> DynamicObject {
    let mut slice = endpoints(service);
    slice.metadata.name = Some(format!("{service}-6"));
    slice.data["addressType"] = json!("IPv6");
    slice.data["endpoints"] = json!([{"addresses": ["2001:db8:a::1"]}]);
    slice
}

/// Two nodes, a pool of both families, a peer, an advertisement.
pub fn basics() -> Vec<DynamicObject> {
    let mut objects = vec![node("node-a"), node("node-b")];
    objects.extend([pool("main", &["198.51.100.0/24", "2001:db8:5::/120"]), peer(), advertisement()]);
    objects
}

pub struct Cluster(pub ControlPlane);

impl Cluster {
    /// With Clarion's and FRR-K8s's CRDs and the basics.
    pub async fn start() -> Self {
        let this = Self(ControlPlane::with_frr_k8s().await.unwrap());
        this.0.apply(&basics()).await.unwrap();
        this
    }

    pub async fn add_services(&self, names: &[&str]) {
        for name in names {
            self.0.apply(&[endpoints(name), service(name, &["IPv4"])]).await.unwrap();
        }
    }

    pub fn services(&self) -> Api<Service> {
        Api::namespaced(self.0.client(), "default")
    }

    pub fn configurations(&self) -> Api<FRRConfiguration> {
        Api::all(self.0.client())
    }

    /// The addresses of all Services that have one.
    pub async fn addresses(&self) -> Result<BTreeMap<String, Vec<IpAddr>>, kube::Error> {
        let services = self.services().list(&ListParams::default()).await?;
        Ok(services.items.iter().map(|s| (s.name_any(), addresses(s))).filter(|(_, a)| !a.is_empty()).collect())
    }

    /// The prefixes in all of our FRRConfigurations.
    pub async fn announced(&self) -> Result<Vec<String>, kube::Error> {
        let configurations = self.configurations().list(&ListParams::default()).await?;
        let mut prefixes: Vec<_> = configurations.items.iter().flat_map(prefixes).collect();
        prefixes.sort();
        prefixes.dedup();
        Ok(prefixes)
    }

    /// Waits until each of these Services has an address that is announced.
    pub async fn all_announced(&self, names: &[&str]) -> BTreeMap<String, Vec<IpAddr>> {
        wait::until("an announced address for each Service", async || {
            let (addresses, announced) = self.state().await?;
            for name in names {
                let Some(addresses) = addresses.get(*name) else { return Err(format!("{name} has no address")) };
                for address in addresses {
                    let prefix = host_prefix(*address);
                    if !announced.contains(&prefix) {
                        return Err(format!("{prefix} of {name} is not announced: {announced:?}"));
                    }
                }
            }
            Ok(addresses)
        })
        .await
        .unwrap()
    }

    pub async fn state(&self) -> Result<(BTreeMap<String, Vec<IpAddr>>, Vec<String>), String> {
        let addresses = self.addresses().await.map_err(|error| error.to_string())?;
        let announced = self.announced().await.map_err(|error| error.to_string())?;
        Ok((addresses, announced))
    }

    /// A condition of any object: status, reason, message.
    pub async fn condition(&self, kind: &str, name: &str, type_: &str) -> Result<(String, String, String), String> {
        self.condition_in("default", kind, name, type_).await
    }

    /// The same in another namespace.
    async fn condition_in(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
        type_: &str,
    ) -> Result<(String, String, String), String> {
        let get = ["get", kind, name, "--namespace", namespace, "-o", "json"];
        let json = self.0.kubectl(&get).map_err(|error| error.to_string())?;
        let object: Value = serde_json::from_str(&json).unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|c| c["type"] == type_).ok_or("no such condition yet")?;
        if type_ == "Ready" && found["observedGeneration"] != object["metadata"]["generation"] {
            return Err("the condition is of an older generation".to_owned());
        }
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        Ok((text("status"), text("reason"), text("message")))
    }

    /// Waits for a condition to have a status and a reason; returns its message.
    pub async fn becomes(&self, kind: &str, name: &str, type_: &str, status: &str, reason: &str) -> String {
        self.becomes_in("default", kind, name, type_, status, reason).await
    }

    /// The same in another namespace.
    pub async fn becomes_in(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> String {
        let what = format!("{type_}={status} ({reason}) of {kind} {name}");
        wait::until(&what, async || {
            let found = self.condition_in(namespace, kind, name, type_).await?;
            if found.0 == status && found.1 == reason { Ok(found.2) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap()
    }

    /// Waits until a Service has just these addresses, in any order.
    pub async fn has(&self, name: &str, expected: &[&str]) {
        let expected: BTreeSet<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        wait::until(&format!("{name} with {expected:?}"), async || {
            let all = self.addresses().await.map_err(|error| error.to_string())?;
            let found: BTreeSet<IpAddr> = all.get(name).into_iter().flatten().copied().collect();
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }

    /// Runs a command of the operator's binary on the cluster, and returns what it prints.
    pub fn clarion(&self, arguments: &[&str]) -> Result<String, String> {
        let output = std::process::Command::new(Operator::binary().unwrap())
            .args(arguments)
            .env("KUBECONFIG", self.0.kubeconfig())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Sets annotations of a Service; one without a value goes.
    pub async fn annotate(&self, name: &str, annotations: Value) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        self.services().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until RouterPeer `tor` tells of a refused write in these words. Writes that time out may be told of first.
    pub async fn tells_of_refusal(&self, words: &str) {
        wait::until(words, async || {
            let (status, reason, message) = self.condition("lbpeer", "tor", "Ready").await?;
            let told = status == "False" && reason == "WriteRefused" && message.contains(words);
            if told { Ok(()) } else { Err(format!("{status} {reason}: {message}")) }
        })
        .await
        .unwrap();
    }

    /// Waits until the daemon of a node reports that it converted everything.
    pub async fn converted(&self, node: &str) {
        let states: Api<FRRNodeState> = Api::all(self.0.client());
        wait::until("a successful conversion", async || {
            let state = states.get(node).await.map_err(|error| error.to_string())?;
            let result = state.status.unwrap_or_default().last_conversion_result.unwrap_or_default();
            if result == "success" { Ok(()) } else { Err(result) }
        })
        .await
        .unwrap();
    }
}

pub fn prefixes(configuration: &FRRConfiguration) -> Vec<String> {
    let routers = configuration.spec.bgp.iter().flat_map(|bgp| &bgp.routers);
    routers.flat_map(|router| router.prefixes.clone()).collect()
}

pub fn host_prefix(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
