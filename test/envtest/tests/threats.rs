//! What somebody can do who owns one namespace and nothing else, as docs/security.md has it: Mallory, who is admin of the namespace
//! `mallory`, beside a Service in `default`.

use std::time::Duration;

use clarion_envtest::{Operator, wait};
use kube::{Api, ResourceExt as _, api::DynamicObject};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cluster::{Cluster, endpoints, object, pool_with, service};

/// What the aggregated ClusterRoles `admin`, `edit` and `view` come to in a cluster with a controller manager.
const RIGHTS: [&str; 5] = [
    "system:aggregate-to-admin",
    "system:aggregate-to-edit",
    "system:aggregate-to-view",
    "clarion-viewer",
    "clarion-editor",
];

/// A cluster with Clarion, a Service `victim` that may share its address, and Mallory.
struct Scene {
    cluster: Cluster,
    operator: Operator,
    /// The victim's address.
    address: String,
}

impl Scene {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster
            .0
            .apply(&[object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mallory"}}))])
            .await
            .unwrap();
        let binding = |role: &str| {
            object(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": "mallory"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "name": "mallory"}],
            }))
        };
        cluster.0.apply(&RIGHTS.map(binding)).await.unwrap();
        let mut operator = Operator::start(&cluster.0).unwrap();
        operator.leading().await.unwrap();
        let mut victim = service("victim", &["IPv4"]);
        victim.annotations_mut().insert("clarionlb.io/allow-shared-ip".to_owned(), "web".to_owned());
        cluster.0.apply(&[endpoints("victim"), victim]).await.unwrap();
        let address = cluster.all_announced(&["victim"]).await["victim"][0].to_string();
        let this = Self { cluster, operator, address };
        wait::until("Mallory's rights", async || this.by_mallory(&this.service("first", json!({})))).await.unwrap();
        this.mallorys(&["delete", "service", "first"]).unwrap();
        this
    }

    /// Runs kubectl as Mallory, in her namespace if no other is given.
    fn mallorys(&self, arguments: &[&str]) -> Result<String, String> {
        let own: &[&str] = if arguments.contains(&"--namespace") { &[] } else { &["--namespace", "mallory"] };
        self.cluster.0.kubectl(&[&["--as", "mallory"], own, arguments].concat()).map_err(|error| error.to_string())
    }

    /// Applies an object as Mallory.
    fn by_mallory(&self, object: &DynamicObject) -> Result<(), String> {
        let path = self.cluster.0.directory().join("mallory.json");
        std::fs::write(&path, serde_json::to_string(object).unwrap()).unwrap();
        let namespace = object.namespace().unwrap_or_else(|| "mallory".to_owned());
        let apply = ["apply", "--server-side", "--force-conflicts", "--namespace", &namespace, "-f"];
        self.mallorys(&[&apply[..], &[path.to_str().unwrap()]].concat()).map(drop)
    }

    /// A Service of Mallory's with another port than the victim's, and these annotations.
    fn service(&self, name: &str, annotations: Value) -> DynamicObject {
        let mut service = service(name, &["IPv4"]);
        service.metadata.namespace = Some("mallory".to_owned());
        service.metadata.annotations = Some(serde_json::from_value(annotations).unwrap());
        service.data["spec"]["ports"] = json!([{"port": 8443}]);
        service
    }

    /// Waits for a condition of a Service of Mallory's; returns its message.
    async fn becomes(&self, name: &str, type_: &str, status: &str, reason: &str) -> String {
        let type_ = format!("clarionlb.io/{type_}");
        self.cluster.becomes_in("mallory", "service", name, &type_, status, reason).await
    }

    /// The victim has what it had.
    async fn victim_is_well(&self) {
        assert_eq!(
            self.cluster.addresses().await.unwrap()["victim"].iter().map(ToString::to_string).collect::<Vec<_>>(),
            [self.address.as_str()]
        );
        assert!(self.cluster.announced().await.unwrap().contains(&format!("{}/32", self.address)));
    }
}

#[tokio::test]
async fn she_gets_no_address_that_somebody_else_has() {
    let scene = Scene::start().await;
    let address = scene.address.as_str();
    let mut by_field = scene.service("by-field", json!({}));
    by_field.data["spec"]["loadBalancerIP"] = json!(address);
    let wishes = [
        by_field,
        scene.service("by-annotation", json!({"clarionlb.io/loadBalancerIPs": address})),
        scene
            .service("by-key", json!({"clarionlb.io/loadBalancerIPs": address, "clarionlb.io/allow-shared-ip": "web"})),
        scene.service(
            "by-key-across",
            json!({
                "clarionlb.io/loadBalancerIPs": address, "clarionlb.io/allow-shared-ip": "web",
                "clarionlb.io/share-with-namespaces": "default",
            }),
        ),
        scene.service(
            "by-other-key",
            json!({"metallb.io/loadBalancerIPs": address, "metallb.io/allow-shared-ip": "web"}),
        ),
    ];
    for wish in &wishes {
        scene.by_mallory(wish).unwrap();
        let message = scene.becomes(&wish.name_any(), "AddressAllocated", "False", "AddressNotAvailable").await;
        assert!(message.contains(address), "{message}");
    }
    // A reservation is no way around it.
    let reservation = object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "AddressReservation",
        "metadata": {"name": "mine", "namespace": "mallory"},
        "spec": {"poolName": "main", "serviceName": "by-field", "addresses": [address]},
    }));
    scene.by_mallory(&reservation).unwrap();
    let held = wait::until("the reservation to be judged", async || {
        let json = scene.mallorys(&["get", "lbres", "mine", "-o", "json"])?;
        let found: Value = serde_json::from_str(&json).unwrap();
        let ready = found["status"]["conditions"].as_array().and_then(|all| all.first()).cloned();
        ready.ok_or_else(|| "no condition yet".to_owned())
    })
    .await
    .unwrap();
    assert_eq!((&held["status"], &held["reason"]), (&json!("False"), &json!("AddressNotAvailable")), "{held}");
    scene.victim_is_well().await;
}

#[tokio::test]
async fn she_writes_neither_a_status_nor_what_is_for_all() {
    let scene = Scene::start().await;
    scene.by_mallory(&scene.service("hers", json!({}))).unwrap();
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": scene.address}]}}}).to_string();
    let refused = |arguments: &[&str]| {
        let error = scene.mallorys(arguments).unwrap_err();
        assert!(error.contains("Forbidden") || error.contains("forbidden"), "{arguments:?}: {error}");
    };
    refused(&["patch", "service", "hers", "--subresource=status", "--type=merge", "-p", &status]);
    refused(&["get", "lease", "clarion", "--namespace", "clarion-system"]);
    let frr = |namespace: &str| {
        object(json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
            "metadata": {"name": "hers", "namespace": namespace}, "spec": {},
        }))
    };
    let own = |kind: &str| {
        object(json!({"apiVersion": "clarionlb.io/v1beta1", "kind": kind, "metadata": {"name": "hers"}, "spec": {}}))
    };
    let kinds = ["LoadBalancerPool", "LoadBalancerAdvertisement", "RouterPeer", "CommunityAlias"];
    for object in [frr("frr-k8s-system"), frr("mallory")].into_iter().chain(kinds.map(own)) {
        let error = scene.by_mallory(&object).unwrap_err();
        assert!(error.contains("orbidden"), "{error}");
    }
    scene.victim_is_well().await;
}

#[tokio::test]
async fn she_takes_no_more_of_a_pool_than_her_quota() {
    let scene = Scene::start().await;
    let pool = pool_with(
        "main",
        json!({"addresses": ["198.51.100.0/28"], "quotas": [{"namespace": "mallory", "maxAddresses": 2}]}),
    );
    scene.cluster.0.apply(&[pool]).await.unwrap();
    // Before she comes, the quota is in effect.
    scene.cluster.becomes("lbpool", "main", "Ready", "True", "Valid").await;
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    for name in &names {
        scene.by_mallory(&scene.service(name, json!({}))).unwrap();
    }
    let message = scene.becomes("s19", "AddressAllocated", "False", "NoPool").await;
    assert_eq!(message, "no IPv4 address: main: quota 2/2 used");
    let services: Api<k8s_openapi::api::core::v1::Service> = Api::namespaced(scene.cluster.0.client(), "mallory");
    let services = services.list(&Default::default()).await.unwrap().items;
    let with_address = services.iter().filter(|service| !clarion_envtest::crowd::addresses(service).is_empty()).count();
    assert_eq!(with_address, 2);
    scene.cluster.add_services(&["late"]).await;
    scene.cluster.all_announced(&["late"]).await;
    scene.victim_is_well().await;
}

/// Whatever stands in a Service reaches FRR as addresses of a pool and as communities that an advertisement permits, or not at all.
#[tokio::test]
async fn nothing_that_she_writes_gets_into_the_configuration_of_frr() {
    let scene = Scene::start().await;
    let evil = "64512:1\n neighbor 192.0.2.66 remote-as 666\n!\nrouter bgp 666";
    let texts = [evil, "64512:666", "blue\u{0}", "large:1:2:3", "no-export", "0:0", "${PASSWORD}", "../../etc"];
    for (n, text) in texts.iter().enumerate() {
        let name = format!("s{n}");
        let mut service =
            scene.service(&name, json!({"clarionlb.io/communities": text, "clarionlb.io/loadBalancerIPs": ""}));
        service.data["spec"]["loadBalancerIP"] = json!(format!("10.0.0.1{text}"));
        // What the API server takes of it.
        let _ = scene.by_mallory(&service);
        let mut other = scene.service(&format!("t{n}"), json!({"clarionlb.io/communities": text}));
        other.labels_mut().insert("evil".to_owned(), "neighbor-192.0.2.66".to_owned());
        if scene.by_mallory(&other).is_ok() {
            scene.becomes(&format!("t{n}"), "AddressAllocated", "True", "Allocated").await;
        }
    }
    scene.cluster.add_services(&["late"]).await;
    scene.cluster.all_announced(&["late"]).await;
    let written = scene.cluster.0.kubectl(&["get", "frrconfigurations", "-A", "-o", "json"]).unwrap();
    for trace in ["192.0.2.66", "666", "no-export", "PASSWORD", "etc", "neighbor "] {
        assert!(!written.contains(trace), "{trace}: {written}");
    }
    scene.victim_is_well().await;
}

#[tokio::test]
async fn she_neither_fills_the_log_nor_keeps_others_waiting() {
    let scene = Scene::start().await;
    let before = scene.operator.process.log().lines().filter(|line| line.contains("mallory/")).count();
    // An annotation as long as the API server takes it, on twenty Services, and each of them changed ten times.
    let long = "64512:1,".repeat(30_000);
    for n in 0..20 {
        for round in 0..10 {
            let text = format!("bad-{round},{long}");
            scene.by_mallory(&scene.service(&format!("s{n}"), json!({"clarionlb.io/communities": text}))).unwrap();
        }
    }
    scene.cluster.add_services(&["late"]).await;
    scene.cluster.all_announced(&["late"]).await;
    sleep(Duration::from_secs(1)).await;
    let log = scene.operator.process.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("mallory/") && !line.contains("DEBUG")).collect();
    // Of each Service a finding is told of once a minute.
    assert!((1..=40).contains(&(told.len() - before)), "{} lines", told.len() - before);
    assert!(told.iter().all(|line| line.len() < 1_000), "{told:?}");
    assert!(log.contains("findings were too many to be logged"), "{log}");
    scene.victim_is_well().await;
}
