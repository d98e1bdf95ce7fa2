//! The rights in `config/base/rbac.yaml`: all that the operator asks for, and nothing else.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use clarion_envtest::{Action, Operator, Proxy, Scrape, manifests, repository, wait};
use http::{Method, Uri};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, object, pool_with},
    feedback::report,
};

const ACCOUNT: &str = "system:serviceaccount:clarion-system:clarion";

/// Something that was asked of the API server, as its authorizer sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    verb: &'static str,
    group: String,
    resource: String,
    subresource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

impl Asked {
    /// `None` for what is no resource, as `/version`.
    fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let mut parts = uri.path().split('/').skip(1);
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        let _version = parts.next()?;
        let mut rest: Vec<&str> = parts.collect();
        let mut namespace = None;
        if let ["namespaces", of, _, ..] = rest[..] {
            namespace = Some(of.to_owned());
            rest.drain(..2);
        }
        let mut rest = rest.into_iter().map(str::to_owned);
        let (resource, name, subresource) = (rest.next()?, rest.next(), rest.next());
        let query = uri.query().unwrap_or_default();
        let verb = match *method {
            Method::GET if name.is_some() => "get",
            Method::GET if query.contains("watch=true") || query.contains("watch=1") => "watch",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => panic!("{method} {uri}"),
        };
        let selected = query.split('&').find_map(|part| part.strip_prefix("fieldSelector=metadata.name%3D"));
        let name = name.or(selected.map(str::to_owned));
        Some(Self { verb, group, resource, subresource, namespace, name })
    }

    fn resource(&self) -> String {
        let resource = &self.resource;
        self.subresource.as_ref().map_or(resource.clone(), |subresource| format!("{resource}/{subresource}"))
    }

    /// As a rule grants it.
    fn right(&self) -> [String; 3] {
        [self.group.clone(), self.resource(), self.verb.to_owned()]
    }

    async fn is_allowed(&self, reviews: &Api<SubjectAccessReview>) -> bool {
        let Self { verb, group, resource, subresource, namespace, name } = self.clone();
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group),
            resource: Some(resource),
            subresource,
            namespace,
            name,
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(ACCOUNT.to_owned()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    }
}

/// The roles that are shipped.
fn roles() -> Vec<DynamicObject> {
    let objects = manifests(&repository().join("config/base/rbac.yaml")).unwrap();
    objects.into_iter().filter(|object| object.data.get("rules").is_some()).collect()
}

fn rules(role: &DynamicObject) -> &Vec<Value> {
    role.data["rules"].as_array().unwrap()
}

/// Each single right of a rule.
fn rights(rule: &Value) -> BTreeSet<[String; 3]> {
    let list = |field: &str| -> Vec<String> { serde_json::from_value(rule[field].clone()).unwrap() };
    let mut rights = BTreeSet::new();
    for group in list("apiGroups") {
        for resource in list("resources") {
            rights.extend(list("verbs").into_iter().map(|verb| [group.clone(), resource.clone(), verb]));
        }
    }
    rights
}

/// Everything that the operator asks for while it does all that it can do, with answers to its writes that get lost.
async fn walk(cluster: &Cluster) -> BTreeSet<Asked> {
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let lost = Mutex::new(BTreeSet::new());
    let proxy = {
        let asked = Arc::clone(&asked);
        Proxy::start(&cluster.0, move |method, uri| {
            let Some(request) = Asked::of(method, uri) else { return Action::Pass };
            asked.lock().unwrap().insert(request.clone());
            // What has become of a write without an answer is looked up: once for each kind.
            let is_looked_up = ["update", "patch"].contains(&request.verb) && request.resource != "leases";
            let first = lost.lock().unwrap().insert((request.resource, request.verb));
            if is_looked_up && first { Action::LoseAnswer } else { Action::Pass }
        })
        .await
        .unwrap()
    };
    let scrape = Scrape::new().unwrap();
    let arguments = ["--lease-duration", "15s", "--metrics-addr", &scrape.address().to_string()];
    let mut operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &arguments).unwrap();
    operator.leading().await.unwrap();
    let token = cluster.0.kubectl(&["create", "token", "clarion", "--namespace", "clarion-system"]).unwrap();
    let (status, text) = scrape.get(Some(token.trim())).await.unwrap();
    assert_eq!(status, 403, "{text}");
    let own = |kind: &str, name: &str, spec: Value| {
        object(json!({"apiVersion": "clarionlb.io/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec}))
    };
    let mut reservation = own("AddressReservation", "kept", json!({"poolName": "main", "serviceName": "b"}));
    reservation.metadata.namespace = Some("default".to_owned());
    let aliases = own("CommunityAlias", "ours", json!({"aliases": [{"name": "blue", "value": "64512:1"}]}));
    cluster.0.apply(&[reservation, aliases]).await.unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    for (kind, name) in [("lbpool", "main"), ("lbpeer", "tor"), ("lbadv", "all"), ("communityalias", "ours")] {
        cluster.becomes(kind, name, "Ready", "True", "Valid").await;
    }
    report(cluster, "node-a", json!({"lastConversionResult": "success"})).await;
    // What others do to an FRRConfiguration of ours is undone, with an Event.
    let configurations = Api::<clarion_api::frr::FRRConfiguration>::namespaced(cluster.0.client(), "frr-k8s-system");
    let ours = cluster.configurations().list(&Default::default()).await.unwrap().items.remove(0);
    let name = ours.metadata.name.unwrap();
    let edit = Patch::Merge(json!({"spec": {"bgp": {"routers": []}}}));
    configurations.patch(&name, &PatchParams::apply("somebody"), &edit).await.unwrap();
    cluster.all_announced(&["a"]).await;
    cluster.0.apply(&[pool_with("main", json!({"addresses": ["198.51.100.0/24"]}))]).await.unwrap();
    cluster.0.kubectl(&["delete", "lbpeer", "tor"]).unwrap();
    wait::until("the last FRRConfiguration to go", async || match cluster.announced().await {
        Ok(announced) if announced.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    cluster.services().delete("a", &DeleteParams::default()).await.unwrap();
    let expected = granted();
    // Of some kinds the watch begins, or the outcome of a write is looked up, a moment later.
    let _ = wait::until("every right to be used", async || {
        let used = used(&asked.lock().unwrap());
        if used.is_superset(&expected) { Ok(()) } else { Err(format!("{:?}", expected.difference(&used))) }
    })
    .await;
    asked.lock().unwrap().clone()
}

fn granted() -> BTreeSet<[String; 3]> {
    roles().iter().flat_map(rules).flat_map(rights).collect()
}

/// The rights that requests are made by. Names of Secrets and the readiness of Pods are extras, which components permit.
fn used(asked: &BTreeSet<Asked>) -> BTreeSet<[String; 3]> {
    let is_extra = |asked: &&Asked| ["secrets", "pods"].contains(&asked.resource.as_str());
    asked.iter().filter(|asked| !is_extra(asked)).map(Asked::right).collect()
}

#[tokio::test]
async fn it_has_the_rights_that_it_uses_and_no_other_and_can_do_without_no_rule() {
    let cluster = Cluster::start().await;
    let mut asked = walk(&cluster).await;
    let (used, granted) = (used(&asked), granted());
    assert_eq!(granted.difference(&used).collect::<Vec<_>>(), Vec::<&[String; 3]>::new(), "granted, and never used");
    assert_eq!(used.difference(&granted).collect::<Vec<_>>(), Vec::<&[String; 3]>::new(), "used, and not granted");

    asked.retain(|asked| granted.contains(&asked.right()));
    let reviews = Api::<SubjectAccessReview>::all(cluster.0.client());
    let refused = async || {
        for asked in &asked {
            if !asked.is_allowed(&reviews).await {
                return Some(asked.clone());
            }
        }
        None
    };
    let all_allowed = async || match refused().await {
        None => Ok(()),
        Some(asked) => Err(format!("{asked:?} is refused")),
    };
    for role in roles() {
        for (number, rule) in rules(&role).iter().enumerate() {
            wait::until("everything to be allowed", all_allowed).await.unwrap();
            let mut less = role.clone();
            less.data["rules"].as_array_mut().unwrap().remove(number);
            if less.types.as_ref().unwrap().kind == "Role" {
                less.metadata.namespace = Some("clarion-system".to_owned());
            }
            cluster.0.apply(&[less.clone()]).await.unwrap();
            let refused = wait::until(&format!("something to be refused without {rule}"), async || {
                refused().await.ok_or_else(|| "everything is allowed".to_owned())
            })
            .await
            .unwrap();
            assert!(rights(rule).contains(&refused.right()), "{refused:?} without {rule}");
            less.data["rules"] = json!(rules(&role));
            cluster.0.apply(&[less]).await.unwrap();
        }
    }
    wait::until("everything to be allowed", all_allowed).await.unwrap();
}
