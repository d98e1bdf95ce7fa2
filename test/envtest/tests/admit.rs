//! The merge that Clarion simulates against the daemon's own, on random sets of FRRConfigurations.
//!
//! Each run has the same sets, unless `ADMIT_SEED` gives another seed; `ADMIT_CASES` gives their number.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::frr::{BfdProfile, FRRConfiguration};
use clarion_core::{
    admit::{self, Families, Named, NodeConfig, Parameters, Password, Received},
    world::{Family, ObjectName},
};
use clarion_envtest::{ControlPlane, Conversion, Converter, FrrConf, Load};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::cluster::object;

const SEED: u64 = 20_260_101;
const CASES: usize = 300;
/// Every daemon looks at all objects of a batch each time.
const BATCH: usize = 100;
/// Each needs a core while it converts.
const DAEMONS: usize = 4;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn the_daemon_agrees() {
    let (seed, cases) = (setting("ADMIT_SEED", SEED), setting("ADMIT_CASES", CASES));
    println!("ADMIT_SEED={seed} ADMIT_CASES={cases}");
    let control_plane = ControlPlane::with_frr_k8s().await.unwrap();
    control_plane.apply(&["a", "b"].map(secret)).await.unwrap();
    let mut converter = Converter::start(&control_plane, DAEMONS).await.unwrap();
    let mut random = Random(seed);
    let loads: Vec<Load> = (0..cases).map(|_| load(&mut random)).collect();
    let start = std::time::Instant::now();
    let mut conversions = Vec::new();
    for batch in loads.chunks(BATCH) {
        conversions.extend(converter.convert(batch).await.unwrap());
    }
    println!("{cases} sets converted in {:?}", start.elapsed());
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for (index, (load, theirs)) in loads.iter().zip(&conversions).enumerate() {
        let ours = ours(load);
        if let Err(refusal) = &ours {
            let fault = format!("{:?}", refusal.fault);
            let fault = fault.split([' ', '(']).next().unwrap().to_owned();
            *refusals.entry(format!("{} {fault}", refusal.field)).or_default() += 1;
        }
        if let Some(difference) = difference(&ours, theirs) {
            let yaml: Vec<String> = load.objects.iter().map(|o| serde_saphyr::to_string(o).unwrap()).collect();
            failures.push(format!("--- set {index}: {difference}\n{}", yaml.join("---\n")));
        }
    }
    let refused: usize = refusals.values().sum();
    println!("{refused} of {cases} refused: {refusals:#?}");
    assert!(failures.is_empty(), "seed {seed}: {} sets differ\n{}", failures.len(), failures.join("\n"));
    assert!((cases / 3..=cases * 2 / 3).contains(&refused), "about half of the sets are to be refused");
}

fn ours(load: &Load) -> Result<NodeConfig, Box<admit::Refusal>> {
    let names: Vec<_> =
        load.objects.iter().map(|object| ObjectName::new("frr-k8s-system", object.name_any())).collect();
    let named = names.iter().zip(&load.objects).map(|(name, object)| Named { name, spec: &object.spec });
    admit::merge(named.filter(|named| admit::selects(named.spec, &load.labels).unwrap()))
}

fn difference(ours: &Result<NodeConfig, Box<admit::Refusal>>, theirs: &Conversion) -> Option<String> {
    match (ours, theirs) {
        (Err(_), Err(_)) => None,
        (Ok(_), Err(theirs)) => Some(format!("we take it, the daemon says {theirs}")),
        (Err(ours), Ok(_)) => Some(format!("the daemon takes it, we say {ours}")),
        (Ok(ours), Ok(theirs)) => {
            let (ours, theirs) = (said_by_us(ours), said_by_the_daemon(theirs, &unordered(ours)));
            let lines = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                one.difference(other).cloned().collect::<Vec<_>>().join("\n  ")
            };
            (ours != theirs).then(|| {
                format!("only we say\n  {}\nonly the daemon says\n  {}", lines(&ours, &theirs), lines(&theirs, &ours))
            })
        }
    }
}

/// The neighbors whose graceful restart depends on the order of objects.
fn unordered(node: &NodeConfig) -> BTreeSet<(String, String)> {
    let neighbors =
        node.routers.iter().flat_map(|(vrf, router)| router.neighbors.iter().map(move |(key, n)| (vrf, key, n)));
    let unordered = neighbors.filter(|(_, _, neighbor)| neighbor.graceful_restart.is_none());
    unordered.map(|(vrf, key, _)| (vrf.clone(), key.clone())).collect()
}

/// The lines of a neighbor that carry a route, and what is on it.
fn route(
    place: &str,
    net: impl std::fmt::Display,
    local_pref: Option<i64>,
    communities: &BTreeSet<String>,
    next_hop: Option<&String>,
) -> String {
    format!("{place}: announce {net} {local_pref:?} {communities:?} {next_hop:?}")
}

fn said_by_the_daemon(conf: &FrrConf, unordered: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (vrf, router) in &conf.routers {
        lines.insert(format!("{vrf:?}: {} {:?}", router.asn, router.id));
        lines.extend(router.networks.iter().map(|net| format!("{vrf:?}: network {net}")));
        lines.extend(router.imports.iter().map(|name| format!("{vrf:?}: import {name}")));
        lines.extend(router.evpn.iter().map(|line| format!("{vrf:?}: evpn {line}")));
        for (key, neighbor) in &router.neighbors {
            let place = format!("{vrf:?} {key}");
            let skipped = unordered.contains(&(vrf.clone(), key.clone()));
            let settings = neighbor.settings.iter().filter(|line| !(skipped && *line == "graceful-restart"));
            lines.extend(settings.map(|line| format!("{place}: {line}")));
            lines.extend(neighbor.families.iter().map(|family| format!("{place}: activate {family}")));
            lines.extend(neighbor.allow_as_in.iter().map(|text| format!("{place}: allowas-in {text}")));
            lines.extend(neighbor.accepted.iter().map(|text| format!("{place}: accept {text}")));
            lines.extend(
                neighbor
                    .announced
                    .iter()
                    .map(|(net, a)| route(&place, net, a.local_pref, &a.communities, a.next_hop.as_ref())),
            );
        }
    }
    for (name, profile) in &conf.bfd_profiles {
        lines.insert(format!("bfd {name} {profile:?}"));
    }
    lines
}

/// What FRR-K8s's templates would make of it.
fn said_by_us(node: &NodeConfig) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (vrf, router) in &node.routers {
        lines.insert(format!("{vrf:?}: {} {:?}", router.asn, router.id));
        lines.extend(router.prefixes.iter().map(|net| format!("{vrf:?}: network {net}")));
        lines.extend(router.imports.iter().map(|name| format!("{vrf:?}: import {name}")));
        lines.extend(router.evpn.iter().flat_map(evpn_lines).map(|line| format!("{vrf:?}: evpn {line}")));
        for (key, neighbor) in &router.neighbors {
            let place = format!("{vrf:?} {key}");
            lines.extend(settings(&neighbor.parameters, router.asn).into_iter().map(|line| format!("{place}: {line}")));
            if neighbor.graceful_restart == Some(true) {
                lines.insert(format!("{place}: graceful-restart"));
            }
            if let Some(profile) = &neighbor.bfd_profile {
                lines.extend([format!("{place}: bfd"), format!("{place}: bfd profile {profile}")]);
            }
            let is_unicast = neighbor.address_families.is_empty() || neighbor.address_families.contains("unicast");
            let families = [(Family::V4, "ipv4 unicast"), (Family::V6, "ipv6 unicast")];
            let unicast =
                families.iter().filter(|(family, _)| is_unicast && neighbor.parameters.families.carry(*family));
            let unicast: Vec<_> = unicast.map(|(_, name)| *name).collect();
            let evpn = neighbor.address_families.contains("evpn") && router.evpn.is_some();
            let active = unicast.iter().copied().chain(evpn.then_some("l2vpn evpn"));
            lines.extend(active.map(|family| format!("{place}: activate {family}")));
            if !unicast.is_empty() {
                lines.extend(accepted(&neighbor.received).into_iter().map(|text| format!("{place}: accept {text}")));
            }
            let allow_as_in = neighbor.allow_as_in.iter().filter(|text| *text != "none");
            let allow_as_in = allow_as_in.filter(|_| evpn || !unicast.is_empty());
            lines.extend(allow_as_in.map(|text| format!("{place}: allowas-in {text}")));
            // FRR-K8s takes an IPv4 prefix that is written as an IPv6 one for the former, and FRR for neither.
            let announced = neighbor.announced().filter(|(net, _)| !net.to_string().starts_with("::ffff:"));
            lines.extend(announced.map(|(net, attributes)| {
                let hops = &neighbor.next_hop;
                let next_hop = if net.addr().is_ipv4() { &hops.ipv4 } else { &hops.ipv6 };
                route(&place, net, attributes.local_pref, &attributes.communities, next_hop.as_ref())
            }));
        }
    }
    for (name, profile) in &node.bfd_profiles {
        lines.insert(format!("bfd {name} {:?}", profile_lines(profile)));
    }
    lines
}

fn settings(parameters: &Parameters, router_asn: u32) -> Vec<String> {
    let asn = &parameters.asn;
    let unnumbered = if parameters.unnumbered { "interface " } else { "" };
    let mut lines = vec![format!("{unnumbered}remote-as {asn}")];
    if parameters.ebgp_multi_hop {
        lines.push("ebgp-multihop".to_owned());
    }
    lines.extend(parameters.local_asn.map(|asn| format!("local-as {asn} no-prepend replace-as")));
    if parameters.port != 179 {
        lines.push(format!("port {}", parameters.port));
    }
    if parameters.keepalive_time != 60 && parameters.hold_time != 180 {
        lines.push(format!("timers {} {}", parameters.keepalive_time, parameters.hold_time));
    }
    if parameters.connect_time != 60 {
        lines.push(format!("timers connect {}", parameters.connect_time));
    }
    match &parameters.password {
        Password::None => {}
        Password::Clear(password) => lines.push(format!("password {password}")),
        Password::Secret(name) => lines.push(format!("password of-{name}")),
    }
    lines.extend(parameters.source_address.iter().map(|source| format!("update-source {source}")));
    let external = asn == "external" || (asn != "internal" && *asn != router_asn.to_string());
    if parameters.families == Families::One(Family::V6) && !parameters.ebgp_multi_hop && external {
        lines.push("disable-connected-check".to_owned());
    }
    lines
}

fn accepted(received: &Received) -> BTreeSet<String> {
    match received {
        Received::All => ["any".to_owned()].into(),
        Received::Filtered(filters) => filters
            .iter()
            .map(|filter| {
                let length =
                    |name: &str, length: Option<u32>| length.map(|l| format!(" {name} {l}")).unwrap_or_default();
                format!("{}{}{}", filter.prefix, length("le", filter.le), length("ge", filter.ge))
            })
            .collect(),
    }
}

fn profile_lines(profile: &BfdProfile) -> BTreeSet<String> {
    let numbers = [
        ("receive-interval", profile.receive_interval),
        ("transmit-interval", profile.transmit_interval),
        ("detect-multiplier", profile.detect_multiplier),
        ("echo transmit-interval", profile.echo_interval),
        ("echo receive-interval", profile.echo_interval),
        ("minimum-ttl", profile.minimum_ttl),
    ];
    let numbers = numbers.into_iter().filter_map(|(name, number)| Some(format!("{name} {}", number?)));
    let modes = [("echo-mode", profile.echo_mode), ("passive-mode", profile.passive_mode)];
    let modes = modes.into_iter().filter(|(_, on)| *on == Some(true)).map(|(name, _)| name.to_owned());
    numbers.chain(modes).collect()
}

fn evpn_lines(evpn: &clarion_api::frr::Evpn) -> Vec<String> {
    let mut lines = Vec::new();
    let properties = |rd: &Option<String>, import: &[String], export: &[String], lines: &mut Vec<String>| {
        lines.extend(rd.iter().map(|rd| format!("rd {rd}")));
        lines.extend(import.iter().map(|rt| format!("route-target import {rt}")));
        lines.extend(export.iter().map(|rt| format!("route-target export {rt}")));
    };
    lines.extend((evpn.advertise_vnis.as_deref() == Some("All")).then(|| "advertise-all-vni".to_owned()));
    lines.extend((evpn.advertise_svi == Some(true)).then(|| "advertise-svi-ip".to_owned()));
    for l2 in &evpn.l2vnis {
        if l2.rd.is_some() || !l2.import_rts.is_empty() || !l2.export_rts.is_empty() {
            lines.extend([format!("vni {}", l2.vni), "exit-vni".to_owned()]);
            properties(&l2.rd, &l2.import_rts, &l2.export_rts, &mut lines);
        }
    }
    if let Some(l3) = &evpn.l3vni {
        lines.extend(["advertise ipv4 unicast", "advertise ipv6 unicast"].map(str::to_owned));
        properties(&l3.rd, &l3.import_rts, &l3.export_rts, &mut lines);
    }
    lines
}

fn secret(name: &str) -> kube::api::DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": name, "namespace": "frr-k8s-system"},
        "stringData": {"username": "any", "password": format!("of-{name}")},
    }))
}

/// SplitMix64: a few lines, and the same numbers for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// True this often in 100.
    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn some<T: Clone>(&mut self, of: &[T], percent: usize) -> Vec<T> {
        of.iter().filter(|_| self.percent(percent)).cloned().collect()
    }
}

const V4: [&str; 5] = ["10.0.0.0/32", "10.0.0.1/32", "10.0.1.0/24", "10.0.1.7/24", "10.1.0.0/16"];
const V6: [&str; 3] = ["2001:db8::/128", "2001:db8::1/128", "2001:DB8::1/128"];
const COMMUNITIES: [&str; 5] = ["65000:1", "65000:01", "65000:2", "large:65000:1:2", "large:65000:1:02"];
const NEIGHBORS: [&str; 3] = ["192.0.2.1", "2001:db8:f::1", "eth1"];

/// Objects that agree on everything, and then, about half the time or more, a few changes that may be faults.
fn load(random: &mut Random) -> Load {
    let truth: Vec<Value> = NEIGHBORS.iter().map(|key| parameters(random, key)).collect();
    let local_prefs: Vec<u32> = (0..V4.len() + V6.len()).map(|_| random.pick(&[90, 100, 200])).collect();
    let count = 1 + random.below(4);
    let mut specs: Vec<Value> = (0..count).map(|_| spec(random, &truth, &local_prefs)).collect();
    if random.percent(50) {
        clash(random, &mut specs);
    }
    for _ in 0..random.pick(&[0, 0, 1, 1]) {
        let index = random.below(specs.len());
        change(random, &mut specs[index]);
    }
    let labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), "node-a".to_owned())]);
    let selector = |random: &mut Random| match random.below(20) {
        0 => json!({"matchLabels": {"kubernetes.io/hostname": "node-b"}}),
        1 => {
            json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-a"]}]})
        }
        2..10 => {
            json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-b", "node-a"]}]})
        }
        _ => json!({}),
    };
    let objects = specs.into_iter().enumerate().map(|(index, mut spec)| {
        spec["nodeSelector"] = selector(random);
        FRRConfiguration::new(&format!("o{index}"), serde_json::from_value(spec).unwrap())
    });
    Load { labels, objects: objects.collect() }
}

/// What all objects with a neighbor say of it.
fn parameters(random: &mut Random, key: &str) -> Value {
    let mut neighbor = json!({"asn": random.pick(&[65000, 65001, 65002])});
    let address = if key == "eth1" { "interface" } else { "address" };
    put(&mut neighbor, json!({address: key}));
    let choices = [
        (10, json!({"asn": null, "dynamicASN": "external"})),
        (10, json!({"asn": null, "dynamicASN": "internal"})),
        (20, json!({"port": 180})),
        (20, json!({"sourceaddress": "eth0"})),
        (15, json!({"password": "x"})),
        (15, json!({"password": null, "passwordSecret": {"name": "a"}})),
        (20, json!({"ebgpMultiHop": true})),
        (30, json!({"dualStackAddressFamily": true})),
        (30, json!({"holdTime": "90s", "keepaliveTime": "30s"})),
        (20, json!({"connectTime": "10s"})),
        (20, json!({"enableGracefulRestart": true})),
    ];
    for (percent, fields) in choices {
        if random.percent(percent) {
            put(&mut neighbor, fields);
        }
    }
    if neighbor["asn"] != json!(65000) && random.percent(20) {
        put(&mut neighbor, json!({"localASN": 65009}));
    }
    neighbor
}

/// An object without faults.
fn spec(random: &mut Random, truth: &[Value], local_prefs: &[u32]) -> Value {
    let mut routers = Vec::new();
    for (vrf, percent) in [("", 90), ("red", 30)] {
        if !random.percent(percent) {
            continue;
        }
        let prefixes: Vec<&str> = random.some(&[&V4[..], &V6[..]].concat(), 50);
        let neighbors: Vec<Value> = random
            .some(truth, 60)
            .iter()
            .map(|neighbor| announcing(random, neighbor, &prefixes, local_prefs))
            .collect();
        let mut router = json!({"asn": 65000, "prefixes": prefixes, "neighbors": neighbors});
        if !vrf.is_empty() {
            put(&mut router, json!({"vrf": vrf}));
        }
        if random.percent(30) {
            put(&mut router, json!({"id": "10.255.0.1"}));
        }
        routers.push(router);
    }
    if routers.len() == 2 && random.percent(30) {
        let (importing, vrf) = random.pick(&[(0, "red"), (1, "default")]);
        routers[importing]["imports"] = json!([{"vrf": vrf}]);
    }
    let mut profiles = vec![json!({"name": "fast", "receiveInterval": 300, "detectMultiplier": 3})];
    if random.percent(50) {
        profiles.push(json!({"name": "slow", "echoMode": true, "echoInterval": 50, "minimumTtl": 250}));
        put(&mut profiles[0], json!({"echoMode": false}));
    }
    json!({"bgp": {"routers": routers, "bfdProfiles": profiles}})
}

/// A neighbor with announcements of its own.
fn announcing(random: &mut Random, neighbor: &Value, prefixes: &[&str], local_prefs: &[u32]) -> Value {
    let mut neighbor = neighbor.clone();
    let dual = neighbor["dualStackAddressFamily"] == json!(true) || neighbor["interface"].is_string();
    let v6 = neighbor["address"].as_str().is_some_and(|address| address.contains(':'));
    let carried: Vec<&str> = prefixes.iter().filter(|p| dual || p.contains(':') == v6).copied().collect();
    let all = random.percent(40);
    let allowed = if all { carried } else { random.some(&carried, 70) };
    let mut advertise = json!({"allowed": {"prefixes": allowed}});
    if all {
        advertise["allowed"] = json!({"mode": "all"});
    }
    let mut by_local_pref: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for prefix in random.some(&allowed, 40) {
        let index = V4.iter().chain(&V6).position(|known| *known == prefix).unwrap();
        by_local_pref.entry(local_prefs[index]).or_default().push(prefix);
    }
    let with_local_pref: Vec<_> = by_local_pref
        .iter()
        .map(|(local_pref, prefixes)| json!({"localPref": local_pref, "prefixes": prefixes}))
        .collect();
    advertise["withLocalPref"] = json!(with_local_pref);
    // One spelling of each.
    let communities: Vec<&str> = random.pick(&[[0, 2, 3], [1, 2, 4]]).map(|index| COMMUNITIES[index]).to_vec();
    let with_community = random.some(&communities, 40).into_iter().filter_map(|community| {
        let prefixes = random.some(&allowed, 50);
        (!prefixes.is_empty()).then(|| json!({"community": community, "prefixes": prefixes}))
    });
    advertise["withCommunity"] = json!(with_community.collect::<Vec<_>>());
    neighbor["toAdvertise"] = advertise;
    let choices = [
        (30, json!({"bfdProfile": "fast"})),
        (20, json!({"allowAsIn": random.pick(&["origin", "1", "3", "10", ""])})),
        (10, json!({"enableGracefulRestart": true})),
        (20, json!({"toReceive": {"allowed": {"mode": "all"}}})),
        (
            20,
            json!({"toReceive": {"allowed": {"prefixes": [
            {"prefix": "10.0.0.0/8"}, {"prefix": "10.0.0.0/8", "le": random.pick(&[16, 24])}, {"prefix": "2001:db8::/32", "ge": 64}]}}}),
        ),
        (10, json!({"addressFamilies": random.pick(&[json!(["evpn"]), json!(["unicast", "evpn"]), json!([])])})),
    ];
    for (percent, fields) in choices {
        if random.percent(percent) {
            put(&mut neighbor, fields);
        }
    }
    // The same said otherwise.
    for (unset, fields) in [
        ("port", json!({"port": 179})),
        ("holdTime", json!({"holdTime": "3m", "keepaliveTime": "1m"})),
        ("connectTime", json!({"connectTime": "60s"})),
        ("ebgpMultiHop", json!({"ebgpMultiHop": false})),
    ] {
        if neighbor[unset].is_null() && random.percent(20) {
            put(&mut neighbor, fields);
        }
    }
    neighbor
}

/// Sets fields; those with null go.
fn put(object: &mut Value, fields: Value) {
    let object = object.as_object_mut().unwrap();
    for (name, value) in fields.as_object().unwrap() {
        if value.is_null() {
            object.remove(name)
        } else {
            object.insert(name.clone(), value.clone())
        };
    }
}

/// Adds an object that says the same as one that there is, but for one thing that each says in its way.
fn clash(random: &mut Random, specs: &mut Vec<Value>) {
    let index = random.below(specs.len());
    let routers = specs[index]["bgp"]["routers"].as_array().unwrap();
    let neighbors = routers.iter().enumerate().flat_map(|(index, router)| {
        (0..router["neighbors"].as_array().unwrap().len()).map(move |neighbor| (index, neighbor))
    });
    let neighbors: Vec<(usize, usize)> = neighbors.collect();
    if neighbors.is_empty() {
        return;
    }
    let (router, neighbor) = random.pick(&neighbors);
    let (one, other) = ways(random);
    let mut twin = specs[index].clone();
    for (spec, way) in [(&mut specs[index], one), (&mut twin, other)] {
        let router = &mut spec["bgp"]["routers"][router];
        for (level, fields) in way.as_object().unwrap() {
            let place = match level.as_str() {
                "router" => &mut *router,
                "neighbor" => &mut router["neighbors"][neighbor],
                _ => &mut router["neighbors"][neighbor]["toAdvertise"],
            };
            put(place, fields.clone());
        }
    }
    specs.push(twin);
}

/// Two ways to say something of one router or neighbor, some of which exclude each other.
fn ways(random: &mut Random) -> (Value, Value) {
    let prefix = random.pick(&["10.0.0.0/32", "2001:db8::/128"]);
    let local_pref = |number: u32| {
        json!({
            "router": {"prefixes": [prefix]},
            "advertise": {"allowed": {"mode": "all"}, "withCommunity": null,
                "withLocalPref": [{"localPref": number, "prefixes": [prefix]}]},
        })
    };
    let next_hop = |hops: Value| json!({"advertise": {"nextHop": hops}});
    let neighbor = |fields: Value| json!({"neighbor": fields});
    let evpn = |evpn: Value| json!({"router": {"evpn": evpn}, "neighbor": {"addressFamilies": ["evpn"]}});
    let l2 = |fields: Value| {
        let mut vni = json!({"vni": 10});
        put(&mut vni, fields);
        evpn(json!({"l2vnis": [vni]}))
    };
    random.pick(&[
        (json!({"router": {"id": "10.255.0.3"}}), json!({"router": {"id": "10.255.0.4"}})),
        (json!({"router": {"id": "10.255.0.1"}}), json!({"router": {"id": null}})),
        (local_pref(90), local_pref(100)),
        (local_pref(90), local_pref(90)),
        (next_hop(json!({"ipv4": "192.0.2.8"})), next_hop(json!({"ipv4": "192.0.2.9"}))),
        (next_hop(json!({"ipv4": "192.0.2.8"})), next_hop(json!({}))),
        (next_hop(json!({"ipv6": "2001:db8::8"})), next_hop(json!({"ipv6": "2001:db8::9"}))),
        (neighbor(json!({"asn": 65001, "dynamicASN": null})), neighbor(json!({"asn": 65002, "dynamicASN": null}))),
        (neighbor(json!({"asn": 65001, "dynamicASN": null})), neighbor(json!({"asn": null, "dynamicASN": "external"}))),
        (neighbor(json!({"port": 180})), neighbor(json!({"port": 179}))),
        (neighbor(json!({"port": null})), neighbor(json!({"port": 179}))),
        (neighbor(json!({"sourceaddress": "eth0"})), neighbor(json!({"sourceaddress": null}))),
        (
            neighbor(json!({"password": "x", "passwordSecret": null})),
            neighbor(json!({"password": null, "passwordSecret": {"name": "a"}})),
        ),
        (
            neighbor(json!({"password": null, "passwordSecret": {"name": "a"}})),
            neighbor(json!({"password": null, "passwordSecret": {"name": "b"}})),
        ),
        (neighbor(json!({"ebgpMultiHop": true})), neighbor(json!({"ebgpMultiHop": false}))),
        (neighbor(json!({"dualStackAddressFamily": true})), neighbor(json!({"dualStackAddressFamily": false}))),
        (
            neighbor(json!({"holdTime": "90s", "keepaliveTime": "30s"})),
            neighbor(json!({"holdTime": "91s", "keepaliveTime": "30s"})),
        ),
        (
            neighbor(json!({"holdTime": "90s", "keepaliveTime": "30s"})),
            neighbor(json!({"holdTime": "90s", "keepaliveTime": "29s"})),
        ),
        (
            neighbor(json!({"holdTime": "1m30s", "keepaliveTime": "30.9s"})),
            neighbor(json!({"holdTime": "90.5s", "keepaliveTime": "0.5m"})),
        ),
        (
            neighbor(json!({"holdTime": "180s", "keepaliveTime": "60s"})),
            neighbor(json!({"holdTime": null, "keepaliveTime": null})),
        ),
        (neighbor(json!({"connectTime": "60s"})), neighbor(json!({"connectTime": null}))),
        (neighbor(json!({"connectTime": "120s"})), neighbor(json!({"connectTime": null}))),
        (
            neighbor(json!({"asn": 65001, "dynamicASN": null, "localASN": 1})),
            neighbor(json!({"asn": 65001, "dynamicASN": null, "localASN": null})),
        ),
        (neighbor(json!({"bfdProfile": "fast"})), neighbor(json!({"bfdProfile": "slow"}))),
        (neighbor(json!({"bfdProfile": "fast"})), neighbor(json!({"bfdProfile": null}))),
        (neighbor(json!({"enableGracefulRestart": true})), neighbor(json!({"enableGracefulRestart": false}))),
        (neighbor(json!({"allowAsIn": "none"})), neighbor(json!({"allowAsIn": "1"}))),
        (neighbor(json!({"allowAsIn": "none"})), neighbor(json!({"allowAsIn": ""}))),
        (neighbor(json!({"allowAsIn": "9"})), neighbor(json!({"allowAsIn": "10"}))),
        (neighbor(json!({"allowAsIn": "origin"})), neighbor(json!({"allowAsIn": "1"}))),
        (neighbor(json!({"addressFamilies": ["evpn"]})), neighbor(json!({"addressFamilies": []}))),
        (neighbor(json!({"addressFamilies": ["evpn"]})), neighbor(json!({"addressFamilies": null}))),
        (evpn(json!({"advertiseVNIs": "All"})), evpn(json!({}))),
        (evpn(json!({"advertiseVNIs": "Disabled"})), evpn(json!({}))),
        (evpn(json!({"advertiseSVI": true})), evpn(json!({}))),
        (l2(json!({"rd": "1:1"})), l2(json!({"rd": "1:2"}))),
        (l2(json!({"rd": "1:1"})), l2(json!({}))),
        (l2(json!({"importRTs": ["1:1"]})), l2(json!({"importRTs": ["1:2"]}))),
        (l2(json!({"importRTs": ["1:1"]})), l2(json!({}))),
        (l2(json!({"exportRTs": ["1:1"]})), l2(json!({}))),
        (
            json!({"router": {"neighbors": [], "evpn": {"l3vni": {"vni": 20, "advertisePrefixes": ["unicast"]}}}}),
            json!({"router": {"neighbors": [], "evpn": {"l3vni": {"vni": 21, "advertisePrefixes": ["unicast"]}}}}),
        ),
        (
            json!({"router": {"neighbors": [], "evpn": {"l3vni": {"vni": 20, "rd": "1:1", "advertisePrefixes": ["unicast"]}}}}),
            json!({"router": {"neighbors": [], "evpn": {"l3vni": {"vni": 20, "advertisePrefixes": ["unicast"]}}}}),
        ),
    ])
}

/// Changes one thing, which is a fault often enough.
fn change(random: &mut Random, spec: &mut Value) {
    if random.percent(10) {
        return change_profiles(random, &mut spec["bgp"]["bfdProfiles"]);
    }
    let routers = spec["bgp"]["routers"].as_array_mut().unwrap();
    if routers.is_empty() {
        return;
    }
    let index = random.below(routers.len());
    let router = &mut routers[index];
    let count = router["neighbors"].as_array().unwrap().len();
    if count == 0 || random.percent(20) {
        return put(router, router_change(random));
    }
    let neighbor = random.below(count);
    if random.percent(3) {
        // Twice in one router, and perhaps changed below.
        let twin = router["neighbors"][neighbor].clone();
        router["neighbors"].as_array_mut().unwrap().push(twin);
    }
    let neighbor = &mut router["neighbors"][neighbor];
    if random.percent(60) {
        put(neighbor, neighbor_change(random));
    } else {
        change_advertise(random, &mut neighbor["toAdvertise"]);
    }
}

fn change_profiles(random: &mut Random, profiles: &mut Value) {
    match random.below(3) {
        0 => profiles.as_array_mut().unwrap().push(json!({"name": "fast"})),
        1 => put(&mut profiles[0], json!({"receiveInterval": 301})),
        _ => put(&mut profiles[0], json!({"passiveMode": random.percent(50), "transmitInterval": 300})),
    }
}

fn router_change(random: &mut Random) -> Value {
    random.pick(&[
        json!({"asn": 65001}),
        json!({"asn": 0}),
        json!({"id": "10.255.0.2"}),
        json!({"prefixes": ["10.0.0.0"]}),
        json!({"prefixes": ["10.0.0.0/32", "10.0.0.0/32", "::ffff:10.9.0.0/128"]}),
        json!({"imports": [{"vrf": "nowhere"}]}),
        json!({"imports": [{"vrf": "default"}]}),
        json!({"imports": [{}]}),
        json!({"vrf": "blue"}),
        json!({"vrf": "red"}),
        json!({"evpn": {"advertiseVNIs": "All"}}),
        json!({"evpn": {"advertiseVNIs": "Disabled"}}),
        json!({"evpn": {"advertiseSVI": true}}),
        json!({"evpn": {"l2vnis": [{"vni": 10, "rd": "65000:1", "importRTs": ["65000:1"]}, {"vni": 11}]}}),
        json!({"evpn": {"l2vnis": [{"vni": 10, "rd": "65000:2", "exportRTs": ["65000:1"]}]}}),
        json!({"evpn": {"l3vni": {"vni": 10, "rd": "65000:2", "advertisePrefixes": ["unicast"]}}}),
        json!({"neighbors": [], "evpn": {"l3vni": {"vni": 10, "advertisePrefixes": ["unicast"]}}}),
    ])
}

fn neighbor_change(random: &mut Random) -> Value {
    random.pick(&[
        json!({"asn": 65003, "dynamicASN": null}),
        json!({"asn": 65000, "dynamicASN": null, "localASN": 65009}),
        json!({"asn": 65001, "dynamicASN": "external"}),
        json!({"asn": null, "dynamicASN": "internal"}),
        json!({"asn": null, "dynamicASN": null}),
        json!({"asn": 0}),
        json!({"address": null, "interface": null}),
        json!({"address": "192.0.2.1", "interface": "eth1"}),
        json!({"address": "tor-1", "interface": null}),
        json!({"address": "::ffff:192.0.2.1", "interface": null}),
        json!({"address": "2001:DB8:f::1", "interface": null}),
        json!({"port": 181}),
        json!({"port": null}),
        json!({"port": 0}),
        json!({"sourceaddress": "192.0.2.9"}),
        json!({"password": "y", "passwordSecret": null}),
        json!({"password": "y", "passwordSecret": {"name": "a"}}),
        json!({"password": null, "passwordSecret": {"name": "b"}}),
        json!({"password": null, "passwordSecret": null}),
        json!({"ebgpMultiHop": true}),
        json!({"ebgpMultiHop": null}),
        json!({"dualStackAddressFamily": true}),
        json!({"dualStackAddressFamily": null}),
        json!({"holdTime": "9s", "keepaliveTime": "3s"}),
        json!({"holdTime": null, "keepaliveTime": null}),
        json!({"holdTime": "1m30.5s", "keepaliveTime": "30s"}),
        json!({"holdTime": "180s", "keepaliveTime": "20s"}),
        json!({"holdTime": "0s", "keepaliveTime": "0s"}),
        json!({"holdTime": "900ms", "keepaliveTime": "900ms"}),
        json!({"holdTime": "2s", "keepaliveTime": "1s"}),
        json!({"holdTime": "-3s", "keepaliveTime": "-3s"}),
        json!({"holdTime": "9s", "keepaliveTime": "10s"}),
        json!({"holdTime": "9s", "keepaliveTime": null}),
        json!({"holdTime": null, "keepaliveTime": "9s"}),
        json!({"connectTime": "61s"}),
        json!({"connectTime": null}),
        json!({"localASN": 65010}),
        json!({"bfdProfile": "slow"}),
        json!({"bfdProfile": "none"}),
        json!({"allowAsIn": "none"}),
        json!({"addressFamilies": ["evpn"]}),
        json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "le": 7}]}}}),
        json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 7}]}}}),
        json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 24, "le": 16}]}}}),
        json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 16, "le": 24}]}}}),
        json!({"toReceive": {"allowed": {"prefixes": [{"le": 24}]}}}),
        json!({"toReceive": {"allowed": {"mode": "all", "prefixes": [{"le": 24}]}}}),
    ])
}

fn change_advertise(random: &mut Random, advertise: &mut Value) {
    let prefix = random.pick(&[&V4[..], &V6[..]].concat());
    let list = |field: &str, entries: Value| json!({field: entries});
    let fields = match random.below(13) {
        0 => json!({"allowed": {"prefixes": [prefix]}}),
        1 => json!({"allowed": {"mode": "all", "prefixes": ["10.99.0.0/32"]}}),
        2 => json!({"allowed": {"prefixes": ["10.0.0.0"]}}),
        3 => json!({"nextHop": {"ipv4": random.pick(&["192.0.2.8", "192.0.2.9"])}}),
        4 => json!({"nextHop": {"ipv6": random.pick(&["2001:db8::8", "2001:db8::9"])}}),
        5 => list("withLocalPref", json!([{"localPref": random.pick(&[90, 100, 200]), "prefixes": [prefix]}])),
        6 => list(
            "withLocalPref",
            json!([{"localPref": 1, "prefixes": [prefix]}, {"localPref": 1, "prefixes": ["10.0.0.0/32"]}]),
        ),
        7 => list(
            "withLocalPref",
            json!([{"localPref": 1, "prefixes": [prefix, "10.0.0.0/32"]}, {"localPref": 2, "prefixes": [prefix]}]),
        ),
        8 => list("withLocalPref", json!([{"localPref": 1, "prefixes": [prefix, prefix]}])),
        9 => list(
            "withCommunity",
            json!([{"community": "65000:1", "prefixes": [prefix]}, {"community": "65000:01", "prefixes": [prefix]}]),
        ),
        10 => list("withCommunity", json!([{"community": "65000:9", "prefixes": [prefix, prefix]}])),
        11 => list(
            "withCommunity",
            json!([{"community": random.pick(&["65000:65536", "no-export", "1:2:3:4", "+1:1"]), "prefixes": [prefix]}]),
        ),
        _ => list("withCommunity", json!([{"community": "65000:9", "prefixes": [prefix]}])),
    };
    put(advertise, fields);
}
