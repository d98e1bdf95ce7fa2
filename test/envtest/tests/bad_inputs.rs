//! What users may write that can't be meant: each is refused by the API server, or told with a reason of the catalogue, and
//! none of it takes anything from what is right. The inputs are in `bad_inputs.txt`.

use std::{collections::BTreeMap, fmt::Write as _};

use clarion_core::Reason;
use clarion_envtest::{Operator, wait};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::cluster::{Cluster, endpoints, object, pool_with, service};

/// An input, and what comes of it.
struct Input {
    line: String,
    kind: &'static Kind,
    name: String,
    value: Map<String, Value>,
    expected: String,
}

/// How a kind is tried.
struct Kind {
    word: &'static str,
    kind: &'static str,
    /// Where it is created.
    path: &'static str,
    /// A spec that is right, for the object of this number.
    base: fn(usize) -> Value,
}

const KINDS: [Kind; 6] = [
    Kind {
        word: "pool",
        kind: "LoadBalancerPool",
        path: "/apis/clarionlb.io/v1beta1/loadbalancerpools",
        base: |n| json!({"addresses": [format!("100.64.{}.{}/28", n / 16, n % 16 * 16)]}),
    },
    Kind {
        word: "advertisement",
        kind: "LoadBalancerAdvertisement",
        path: "/apis/clarionlb.io/v1beta1/loadbalanceradvertisements",
        base: |_| json!({"pools": ["main"], "peers": ["tor"]}),
    },
    Kind {
        word: "peer",
        kind: "RouterPeer",
        path: "/apis/clarionlb.io/v1beta1/routerpeers",
        base: |n| json!({"myASN": 64512, "peerASN": 64513, "peerAddress": format!("100.65.{}.{}", n / 256, n % 256)}),
    },
    Kind {
        word: "alias",
        kind: "CommunityAlias",
        path: "/apis/clarionlb.io/v1beta1/communityaliases",
        base: |n| json!({"aliases": [{"name": format!("a{n}"), "value": "64512:1"}]}),
    },
    Kind {
        word: "reservation",
        kind: "AddressReservation",
        path: "/apis/clarionlb.io/v1beta1/namespaces/default/addressreservations",
        base: |n| json!({"poolName": "main", "serviceName": format!("s{n}")}),
    },
    Kind { word: "service", kind: "Service", path: "/api/v1/namespaces/default/services", base: |_| json!({}) },
];

/// In this place of [`Input::expected`], the API server refuses it and names what follows.
const REFUSED: &str = "refused ";

fn inputs() -> Vec<Input> {
    let lines = include_str!("bad_inputs.txt").lines().filter(|line| !line.starts_with('#'));
    let read = |(n, line): (usize, &str)| {
        let (input, expected) = line.rsplit_once(" => ").unwrap();
        let (word, value) = input.split_once(' ').unwrap();
        let kind = KINDS.iter().find(|kind| kind.word == word).unwrap();
        let value = serde_json::from_str(value).unwrap();
        Input { line: input.to_owned(), kind, name: format!("bad-{n}"), value, expected: expected.to_owned() }
    };
    lines.enumerate().map(read).collect()
}

impl Input {
    fn object(&self, n: usize) -> DynamicObject {
        if self.kind.kind == "Service" {
            return self.service();
        }
        let mut spec = (self.kind.base)(n);
        spec.as_object_mut().unwrap().extend(self.value.clone());
        object(json!({
            "apiVersion": "clarionlb.io/v1beta1", "kind": self.kind.kind,
            "metadata": {"name": self.name, "namespace": (self.kind.word == "reservation").then_some("default")}, "spec": spec,
        }))
    }

    fn service(&self) -> DynamicObject {
        let mut service = service(&self.name, &["IPv4"]);
        let mut annotations = Map::new();
        for (key, value) in &self.value {
            match key.strip_prefix("spec.") {
                Some(field) => service.data["spec"][field] = value.clone(),
                None if key.contains('/') => drop(annotations.insert(key.clone(), value.clone())),
                None => drop(annotations.insert(format!("clarionlb.io/{key}"), value.clone())),
            }
        }
        service.metadata.annotations = Some(serde_json::from_value(annotations.into()).unwrap());
        service
    }
}

/// Creates an object, as kubectl does: fields that there are not are refused.
async fn create(cluster: &Cluster, kind: &Kind, object: &DynamicObject) -> Result<(), String> {
    let uri = format!("{}?fieldValidation=Strict&fieldManager=kubectl-create", kind.path);
    let request = http::Request::post(uri).header(http::header::CONTENT_TYPE, "application/json");
    let request = request.body(serde_json::to_vec(object).unwrap()).unwrap();
    cluster.0.client().request::<Value>(request).await.map(drop).map_err(|error| error.to_string())
}

/// The reasons of what is told in the status of all objects, by kind and name.
fn told(cluster: &Cluster) -> BTreeMap<(&'static str, String), Vec<String>> {
    let mut told = BTreeMap::new();
    for kind in KINDS.map(|kind| kind.kind) {
        let list: Value = serde_json::from_str(&cluster.0.kubectl(&["get", kind, "-o", "json"]).unwrap()).unwrap();
        for object in list["items"].as_array().unwrap() {
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let reasons = conditions.iter().map(|condition| condition["reason"].as_str().unwrap().to_owned()).collect();
            told.insert((kind, object["metadata"]["name"].as_str().unwrap().to_owned()), reasons);
        }
    }
    told
}

#[tokio::test]
async fn each_is_refused_or_told_and_harms_nothing_else() {
    let cluster = Cluster::start().await;
    let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let basics = [
        // Nothing is taken from it by the way.
        pool_with("main", json!({"addresses": ["198.51.100.0/24"]})),
        pool_with("v6only", json!({"addresses": ["2001:db8:9::/120"]})),
        object(json!({
            "apiVersion": "clarionlb.io/v1beta1", "kind": "CommunityAlias", "metadata": {"name": "ours"},
            "spec": {"aliases": [{"name": "taken", "value": "64512:7"}]},
        })),
    ];
    cluster.0.apply(&basics).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["good"]).await;
    let before = cluster.all_announced(&["good"]).await;

    let mut complaints = String::new();
    let mut accepted = Vec::new();
    for (n, input) in inputs().into_iter().enumerate() {
        match (create(&cluster, input.kind, &input.object(n)).await, input.expected.strip_prefix(REFUSED)) {
            (Err(error), Some(named)) if error.contains(named) => {}
            (Err(error), _) => writeln!(complaints, "{} => {REFUSED}{error}", input.line).unwrap(),
            (Ok(()), Some(_)) => {
                writeln!(complaints, "{} => accepted", input.line).unwrap();
                accepted.push(input);
            }
            (Ok(()), None) => accepted.push(input),
        }
        if accepted.last().is_some_and(|input| input.kind.kind == "Service") {
            cluster.0.apply(&[endpoints(&format!("bad-{n}"))]).await.unwrap();
        }
    }
    let all_told = wait::until("every input to be told of", async || {
        let mut missing = String::new();
        let reasons = told(&cluster);
        for input in &accepted {
            let of_it = reasons.get(&(input.kind.kind, input.name.clone())).cloned().unwrap_or_default();
            if !of_it.contains(&input.expected) {
                writeln!(missing, "{} => {}", input.line, of_it.join(" ")).unwrap();
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    });
    complaints.extend(all_told.await.err());
    assert!(complaints.is_empty(), "{complaints}");
    for input in &accepted {
        assert!(names.contains(&&*input.expected), "{} is no reason", input.expected);
    }
    assert_eq!(cluster.all_announced(&["good"]).await["good"], before["good"]);
    assert_eq!(operator.get("/livez").await.unwrap().0, 200);
}
