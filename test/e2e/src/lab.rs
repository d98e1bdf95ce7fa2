use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use clarion_api::frr::FRRConfiguration;
use clarion_envtest::{ControlPlane, Operator, Process, Webhook, repository, wait};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use crate::{
    Client, Error, Frr, Node, Router, Space, Topology, enter::ROOT, node, space::run_here, topology::Interface,
};

/// The AS number of all nodes.
pub const NODES_ASN: u32 = 64512;
/// The pool that every network has.
const POOL: [&str; 2] = ["198.51.100.0/24", "2001:db8:5::/120"];
/// What marks the objects of a case, which go when it ends.
const OF_CASE: &str = "lab=case";

/// A network that runs, with Clarion in it.
pub struct Lab {
    // In the order in which they are to end.
    /// Clarion, unless a case has stopped it.
    pub operator: Option<Operator>,
    webhook: Webhook,
    nodes: BTreeMap<&'static str, Node>,
    clients: BTreeMap<&'static str, Client>,
    routers: BTreeMap<&'static str, Router>,
    /// The API server.
    pub control_plane: ControlPlane,
    topology: Topology,
    interfaces: BTreeMap<&'static str, Vec<Interface>>,
}

pub(crate) fn object(value: Value) -> Result<DynamicObject, Error> {
    Ok(serde_json::from_value(value)?)
}

impl Lab {
    pub(crate) async fn start(topology: Topology) -> Result<Self, Error> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let control_plane = ControlPlane::with_frr_k8s().await?;
        let pods = repository().join("config/components/frr-k8s-pods/rbac.yaml");
        control_plane.kubectl(&["apply", "-f", &pods.display().to_string()])?;
        let directory = Path::new(ROOT).join(format!("lab-{}", LABS.fetch_add(1, Ordering::Relaxed)));
        let mut spaces = BTreeMap::new();
        let routers = topology.routers.iter().map(|(name, _)| *name);
        for name in topology.nodes.iter().copied().chain(routers).chain(topology.clients.iter().copied()) {
            spaces.insert(name, Space::start(&directory, name).await?);
        }
        let interfaces = topology.connect(&spaces)?;
        for (name, space) in &spaces {
            for gateway in topology.gateway(name)?.into_iter().flatten() {
                let version = if gateway.is_ipv4() { "-4" } else { "-6" };
                space.run(&["ip", version, "route", "add", "default", "via", &gateway.to_string()])?;
            }
        }
        let mut take = |name: &str| {
            spaces.remove(name).ok_or_else(|| Error::Topology(format!("there are two machines named {name}")))
        };
        let mut routers = BTreeMap::new();
        for (name, asn) in &topology.routers {
            let space = take(name)?;
            space.run(&["sh", "-c", FORWARD])?;
            let configuration = router_configuration(&topology, &interfaces, name, *asn);
            std::fs::write(space.directory().join("etc/frr.conf"), configuration)?;
            let frr = Frr::start(&space, true).await?;
            routers.insert(*name, Router { space, frr, asn: *asn });
        }
        let mut clients = BTreeMap::new();
        for name in &topology.clients {
            clients.insert(*name, Client { space: take(name)? });
        }
        let webhook = Webhook::start(&control_plane).await?;
        let mut nodes = BTreeMap::new();
        for name in &topology.nodes {
            let space = take(name)?;
            for (pool, version) in POOL.iter().zip(["-4", "-6"]) {
                // What kube-proxy does with IPVS or rules: traffic for the addresses of Services is for this node.
                space.run(&["ip", version, "route", "add", "local", pool, "dev", "lo"])?;
            }
            let first = interfaces.get(name).and_then(|all| all.first());
            let first = first.ok_or_else(|| Error::Topology(format!("{name} is in no subnet")))?;
            nodes.insert(*name, Node::start(&control_plane, space, topology.pace, (first.v4, first.v6)).await?);
        }
        let mut this = Self { operator: None, webhook, nodes, clients, routers, control_plane, topology, interfaces };
        this.start_clarion().await?;
        Ok(this)
    }

    /// Starts Clarion.
    ///
    /// # Errors
    /// If it does not come to lead.
    pub async fn start_clarion(&mut self) -> Result<(), Error> {
        let mut operator = self.clarion_of(&Operator::binary()?)?;
        operator.leading().await?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Starts a build of Clarion, beside what runs already.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn clarion_of(&self, binary: &Path) -> Result<Operator, Error> {
        // As shipped: with a shorter one, a loaded machine loses it, and nobody starts Clarion again here.
        let arguments = ["--lease-duration", "15s"];
        let kubeconfig = self.control_plane.operator_kubeconfig();
        Ok(Operator::start_binary(binary, &self.control_plane, &kubeconfig, &arguments)?)
    }

    /// A node.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn node(&self, name: &str) -> Result<&Node, Error> {
        self.nodes.get(name).ok_or_else(|| Error::Topology(format!("there is no node {name}")))
    }

    /// A node, to change what runs on it.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node, Error> {
        self.nodes.get_mut(name).ok_or_else(|| Error::Topology(format!("there is no node {name}")))
    }

    /// Reports that FRR-K8s's Pod on a node is ready, or is not, as the kubelet does that probes it: there is none here.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn report_pod(&self, node: &str, ready: bool) -> Result<(), Error> {
        node::report_pod(&self.control_plane, node, ready)
    }

    /// All nodes, by their names.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<&'static str, Node> {
        &self.nodes
    }

    /// A router.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn router(&self, name: &str) -> Result<&Router, Error> {
        self.routers.get(name).ok_or_else(|| Error::Topology(format!("there is no router {name}")))
    }

    /// A router, to change what runs on it.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn router_mut(&mut self, name: &str) -> Result<&mut Router, Error> {
        self.routers.get_mut(name).ok_or_else(|| Error::Topology(format!("there is no router {name}")))
    }

    /// A client.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn client(&self, name: &str) -> Result<&Client, Error> {
        self.clients.get(name).ok_or_else(|| Error::Topology(format!("there is no client {name}")))
    }

    /// All machines, by their names.
    pub fn spaces(&self) -> impl Iterator<Item = (&'static str, &Space)> {
        let routers = self.routers.iter().map(|(name, router)| (*name, &router.space));
        let nodes = self.nodes.iter().map(|(name, node)| (*name, &node.space));
        routers.chain(nodes).chain(self.clients.iter().map(|(name, client)| (*name, &client.space)))
    }

    /// The addresses of a machine in a subnet, counted from 0.
    ///
    /// # Errors
    /// If it is not in that subnet.
    pub fn addresses(&self, name: &str, subnet: usize) -> Result<(IpAddr, IpAddr), Error> {
        let found = self.interfaces.get(name).into_iter().flatten().find(|interface| interface.subnet == subnet);
        let found = found.ok_or_else(|| Error::Topology(format!("{name} is not in subnet {subnet}")))?;
        Ok((found.v4.into(), found.v6.into()))
    }

    /// Cuts the link of a machine to a subnet, or mends it. The machines at both ends don't see that, as where a switch
    /// stands between.
    ///
    /// # Errors
    /// If it is not in that subnet.
    pub fn cut(&self, name: &str, subnet: usize, cut: bool) -> Result<(), Error> {
        let found = self.interfaces.get(name).into_iter().flatten().find(|interface| interface.subnet == subnet);
        let found = found.ok_or_else(|| Error::Topology(format!("{name} is not in subnet {subnet}")))?;
        // A port that learns nothing and forwards nothing.
        let state = if cut { "0" } else { "3" };
        run_here(&["bridge", "link", "set", "dev", &found.port, "state", state]).map(drop)
    }

    /// Applies objects; they go when the case ends.
    ///
    /// # Errors
    /// If the API server refuses one.
    pub async fn apply(&self, objects: &[Value]) -> Result<(), Error> {
        let marked = objects.iter().map(|value| {
            let mut object = object(value.clone())?;
            let (label, value) = OF_CASE.split_once('=').unwrap_or_default();
            object.labels_mut().insert(label.to_owned(), value.to_owned());
            Ok(object)
        });
        Ok(self.control_plane.apply(&marked.collect::<Result<Vec<_>, Error>>()?).await?)
    }

    /// Deletes an object, as kubectl does: `["service", "web"]`.
    ///
    /// # Errors
    /// If it is not there.
    pub fn delete(&self, object: &[&str]) -> Result<(), Error> {
        let mut arguments = vec!["delete", "--wait=false"];
        arguments.extend(object);
        Ok(self.control_plane.kubectl(&arguments).map(drop)?)
    }

    /// Makes a Service with an endpoint on each of these nodes.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn service(&self, name: &str, policy: &str, nodes: &[&str]) -> Result<(), Error> {
        let spec = json!({"externalTrafficPolicy": policy, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
        self.endpoints(name, nodes).await?;
        self.apply(&[service_with(name, &spec)]).await
    }

    /// Makes the endpoints of a Service be on these nodes, one on each, for both IP families.
    ///
    /// # Errors
    /// If the API server refuses them.
    pub async fn endpoints(&self, service: &str, nodes: &[&str]) -> Result<(), Error> {
        let slices = [("IPv4", "10.244.0."), ("IPv6", "fd00:10:244::")].map(|(family, prefix)| {
            let endpoint = |(number, node): (usize, &&str)| {
                json!({"addresses": [format!("{prefix}{}", number + 1)], "nodeName": node, "conditions": {"ready": true}})
            };
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{service}-{}", family.to_lowercase()), "namespace": "default",
                    "labels": {"kubernetes.io/service-name": service},
                },
                "addressType": family,
                "endpoints": nodes.iter().enumerate().map(endpoint).collect::<Vec<_>>(),
                "ports": [{"port": 80}],
            })
        });
        self.apply(&slices).await
    }

    /// Waits for the addresses of a Service, IPv4 first.
    ///
    /// # Errors
    /// If it gets none.
    pub async fn addresses_of(&self, service: &str) -> Result<Vec<IpAddr>, Error> {
        let services: Api<Service> = Api::namespaced(self.control_plane.client(), "default");
        let what = format!("an address of {service}");
        let waited = wait::until(&what, async || {
            let found = services.get(service).await.map_err(|error| error.to_string())?;
            let ingress = found.status.and_then(|s| s.load_balancer).and_then(|l| l.ingress).unwrap_or_default();
            let mut addresses: Vec<IpAddr> = ingress.iter().filter_map(|i| i.ip.as_ref()?.parse().ok()).collect();
            addresses.sort();
            if addresses.is_empty() { Err("it has none".to_owned()) } else { Ok(addresses) }
        });
        waited.await.map_err(Error::Never)
    }

    /// Waits for the first address of a Service, and returns it with its prefix.
    ///
    /// # Errors
    /// If it gets none.
    pub async fn address_of(&self, service: &str) -> Result<(IpAddr, String), Error> {
        let addresses = self.addresses_of(service).await?;
        let address = addresses.first().copied().ok_or_else(|| Error::Never(format!("{service} has no address")))?;
        Ok((address, format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })))
    }

    /// A condition of an object: status, reason, message.
    ///
    /// # Errors
    /// If it has none of that type.
    pub fn condition(&self, kind: &str, name: &str, type_: &str) -> Result<(String, String, String), String> {
        let json = self.control_plane.kubectl(&["get", kind, name, "-o", "json"]).map_err(|e| e.to_string())?;
        let object: Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let found = conditions.iter().find(|c| c.get("type").is_some_and(|t| t == type_));
        let found = found.ok_or("no such condition yet")?;
        let text = |field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((text("status"), text("reason"), text("message")))
    }

    /// Waits for a condition to have a status and a reason; returns its message.
    ///
    /// # Errors
    /// With what it is, if that does not come to be.
    pub async fn becomes(
        &self,
        kind: &str,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String, Error> {
        let what = format!("{type_}={status} ({reason}) of {kind} {name}");
        let waited = wait::until(&what, async || {
            let found = self.condition(kind, name, type_)?;
            if found.0 == status && found.1 == reason { Ok(found.2) } else { Err(format!("{found:?}")) }
        });
        waited.await.map_err(Error::Never)
    }

    /// Runs a command of Clarion on the cluster; what it prints, whether or not it is content.
    ///
    /// # Errors
    /// If it can't be run.
    pub fn clarion(&self, arguments: &[&str]) -> Result<String, Error> {
        let output = Command::new(Operator::binary()?)
            .args(arguments)
            .env("KUBECONFIG", self.control_plane.kubeconfig())
            .output()?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    /// The FRRConfigurations that Clarion has written.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn configurations(&self) -> Result<Vec<FRRConfiguration>, Error> {
        let all: Api<FRRConfiguration> = Api::all(self.control_plane.client());
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=clarion");
        Ok(all.list(&ours).await?.items)
    }

    /// The RouterPeer for a router in the first subnet, with further fields; those that are null are left out.
    ///
    /// # Errors
    /// If there is no such router.
    pub fn peer(&self, router: &str, fields: &Value) -> Result<Value, Error> {
        let asn = self.router(router)?.asn;
        let interfaces = self.interfaces.get(router).into_iter().flatten();
        let shared = interfaces.filter(|interface| self.has_nodes(interface.subnet));
        let address = shared.map(|interface| interface.v4).next();
        let mut spec = json!({
            "myASN": NODES_ASN, "peerASN": asn, "peerAddress": address, "dualStackAddressFamily": true,
            // FRR tries again after 2 minutes if nobody says otherwise.
            "connectTime": "2s",
        });
        if let (Some(spec), Some(fields)) = (spec.as_object_mut(), fields.as_object()) {
            spec.extend(fields.clone());
            spec.retain(|_, value| !value.is_null());
        }
        Ok(json!({
            "apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": router}, "spec": spec,
        }))
    }

    fn has_nodes(&self, subnet: usize) -> bool {
        let members = self.topology.subnets.get(subnet).map(|subnet| &subnet.members);
        members.into_iter().flatten().any(|member| self.nodes.contains_key(member))
    }

    /// What every case finds: a pool of both families, a RouterPeer for each router beside nodes, one advertisement of
    /// everything; no Service, no FRRConfiguration of users, and no route at any router.
    ///
    /// # Errors
    /// If that does not come to be.
    pub async fn reset(&mut self) -> Result<(), Error> {
        if self.operator.is_none() {
            self.start_clarion().await?;
        }
        let kinds = "services,endpointslices,lbpool,lbadv,lbpeer,lbcomm,lbres,frrconfigurations,secrets";
        self.control_plane.kubectl(&["delete", kinds, "-A", "-l", OF_CASE, "--ignore-not-found", "--wait=false"])?;
        let mut standard = Vec::new();
        for name in self.nodes.keys() {
            standard.push(node::node(name, &json!({}))?);
        }
        standard.push(object(pool("main", &POOL))?);
        standard.push(object(advertisement("all", &json!({})))?);
        let mut sessions = Vec::new();
        for (name, router) in &self.routers {
            let beside = self.interfaces.get(name).into_iter().flatten().any(|i| self.has_nodes(i.subnet));
            if beside {
                standard.push(object(self.peer(name, &json!({}))?)?);
                sessions.extend(self.nodes.values().map(|node| (router, node.v4.to_string())));
            }
        }
        self.control_plane.apply(&standard).await?;
        for (router, neighbor) in sessions {
            router.session_is("Established", &neighbor, |session| session.established()).await?;
        }
        for router in self.routers.values() {
            self.empty(router).await?;
        }
        Ok(())
    }

    async fn empty(&self, router: &Router) -> Result<(), Error> {
        let what = format!("no route at {}", router.space.name());
        let waited = wait::until(&what, async || {
            let prefixes: BTreeSet<_> = router.prefixes().map_err(|error| error.to_string())?;
            if prefixes.is_empty() { Ok(()) } else { Err(format!("{prefixes:?}")) }
        });
        waited.await.map_err(Error::Never)
    }

    /// What somebody wants to see whose case has failed.
    #[must_use]
    pub fn picture(&self) -> String {
        let mut text = String::new();
        let shown = |result: Result<String, Error>| result.unwrap_or_else(|error| error.to_string());
        for router in self.routers.values() {
            let summary = shown(router.space.run(&["vtysh", "-c", "show bgp summary", "-c", "show bgp ipv4 unicast"]));
            let _ = writeln!(text, "--- {}\n{summary}\n{}", router.space.name(), end(router.frr.daemon("bgpd")));
        }
        for node in self.nodes.values() {
            let configuration = shown(node.vtysh("show running-config"));
            let _ = writeln!(text, "--- {}\n{configuration}", node.space.name());
            let _ = writeln!(text, "its daemon:\n{}", end(Some(&node.daemon)));
            let _ = writeln!(text, "its reloader:\n{}", last(&node.reloader_log()));
        }
        let objects = ["get", "frrconfigurations,frrnodestates", "-A", "-o", "yaml"];
        let objects = self.control_plane.kubectl(&objects).unwrap_or_else(|error| error.to_string());
        let _ = writeln!(text, "--- FRR-K8s's objects\n{objects}");
        let _ = writeln!(text, "--- the webhook\n{}", end(Some(&self.webhook.process)));
        let _ = writeln!(text, "--- Clarion\n{}", end(self.operator.as_ref().map(|operator| &operator.process)));
        text
    }
}

fn end(process: Option<&Process>) -> String {
    process.map(|process| last(&process.log())).unwrap_or_default()
}

fn last(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(25)).copied().collect::<Vec<_>>().join("\n")
}

fn pool(name: &str, addresses: &[&str]) -> Value {
    json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": name},
        "spec": {"addresses": addresses},
    })
}

fn advertisement(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerAdvertisement", "metadata": {"name": name},
        "spec": spec,
    })
}

/// A Service of Clarion's class with port 80, with further fields.
#[must_use]
pub fn service_with(name: &str, fields: &Value) -> Value {
    let mut spec = json!({
        "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "ports": [{"port": 80}],
    });
    if let (Some(spec), Some(fields)) = (spec.as_object_mut(), fields.as_object()) {
        spec.extend(fields.clone());
        spec.retain(|_, value| !value.is_null());
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// Forward, and choose among next hops by addresses and ports.
const FORWARD: &str = "
cd /proc/sys/net
echo 1 >ipv4/ip_forward
echo 1 >ipv6/conf/all/forwarding
echo 1 >ipv4/fib_multipath_hash_policy
echo 1 >ipv6/fib_multipath_hash_policy
";

/// A router that waits for every node of its subnets, takes what they announce, and uses all equal paths.
fn router_configuration(
    topology: &Topology,
    interfaces: &BTreeMap<&'static str, Vec<Interface>>,
    name: &str,
    asn: u32,
) -> String {
    let mut text = format!(
        "frr defaults traditional\nhostname {name}\ndebug bgp updates in\nrouter bgp {asn}\n bgp log-neighbor-changes\n \
         no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n bgp bestpath as-path multipath-relax\n \
         neighbor nodes peer-group\n neighbor nodes remote-as {NODES_ASN}\n neighbor nodes passive\n"
    );
    let own: BTreeSet<_> = interfaces.get(name).into_iter().flatten().map(|interface| interface.subnet).collect();
    for node in &topology.nodes {
        for interface in interfaces.get(node).into_iter().flatten().filter(|i| own.contains(&i.subnet)) {
            let _ = writeln!(
                text,
                " neighbor {} peer-group nodes\n neighbor {} peer-group nodes",
                interface.v4, interface.v6
            );
        }
    }
    for family in ["ipv4", "ipv6"] {
        let _ = write!(
            text,
            " address-family {family} unicast\n  neighbor nodes activate\n  maximum-paths 16\n  maximum-paths ibgp 16\n \
             exit-address-family\n"
        );
    }
    text.push_str("exit\n");
    text
}
