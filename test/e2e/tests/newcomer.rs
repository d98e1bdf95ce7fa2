//! What somebody gets wrong who sees Clarion for the first time: the object, `clarion status` and docs/troubleshooting.md have the
//! same words for it. Each case is a section of that page, whose commands are run again here. `UPDATE_PAGES=1` writes the page anew.

use clarion_e2e::{Lab, Topology, service_with};
use clarion_envtest::{page_shows, wait, words};
use serde_json::{Value, json};

use crate::{
    objects::{advertisement, v4},
    themes::{Theme, cases},
};

const PAGE: &str = "docs/troubleshooting.md";
const WEB: (&str, &str) = ("service", "web");
const ALLOCATED: &str = "clarionlb.io/AddressAllocated";
const ANNOUNCED: &str = "clarionlb.io/Announced";

pub fn theme() -> Theme {
    Theme {
        name: "newcomer",
        topology: Topology::new()
            .nodes(&["node-a", "node-b"])
            .router("tor", 64513)
            .client("user")
            .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor", "node-a", "node-b"])
            .subnet("203.0.113.0/24", "2001:db8:2::/64", &["tor", "user"]),
        cases: cases![
            core there_is_no_pool,
            core the_pool_is_for_other_namespaces,
            core the_service_has_no_class,
            core no_endpoint_is_ready,
            core there_is_no_advertisement,
            core there_is_no_peer,
            core the_asn_is_wrong,
            core the_password_is_missing,
        ],
    }
}

/// Waits until the condition of the object, `clarion status` and the section of the page tell of the mistake, in the same words.
async fn told(lab: &Lab, section: &str, object: (&str, &str), condition: &str, reason: &str) {
    let message = heard(lab, object, condition, reason, |message| message.to_owned()).await;
    page_shows(&lab.control_plane, PAGE, section, &[reason, &message]).await.unwrap();
}

/// Waits until the condition of the object and `clarion status` have the same reason, and the same words as far as they are `common`;
/// returns these.
async fn heard(
    lab: &Lab,
    (kind, name): (&str, &str),
    condition: &str,
    reason: &str,
    common: impl Fn(&str) -> String,
) -> String {
    let what = format!("{reason} of {kind} {name}");
    wait::until(&what, async || {
        let (_, found, message) = lab.condition(kind, name, condition)?;
        let status = words(&lab.clarion(&["status"]).map_err(|error| error.to_string())?);
        let common = words(&common(&message));
        let is_told = found == reason && status.contains(reason) && !common.is_empty() && status.contains(&common);
        if is_told { Ok(common) } else { Err(format!("{found}: {message}\n{status}")) }
    })
    .await
    .unwrap()
}

/// The mistake is mended: the Service is announced, and answers.
async fn reachable(lab: &Lab) {
    let (address, prefix) = lab.address_of("web").await.unwrap();
    lab.router("tor").unwrap().forwards_to(&prefix, &v4(lab, &["node-a", "node-b"])).await.unwrap();
    let answers = lab.client("user").unwrap().connect(address, 4).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    lab.becomes("service", "web", ANNOUNCED, "True", "Announced").await.unwrap();
}

async fn web(lab: &Lab) {
    lab.service("web", "Cluster", &["node-a"]).await.unwrap();
}

async fn pool(lab: &Lab, spec: Value) {
    let pool = json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": "main"}, "spec": spec,
    });
    lab.apply(&[pool]).await.unwrap();
}

async fn tor(lab: &Lab, fields: Value) {
    lab.apply(&[lab.peer("tor", &fields).unwrap()]).await.unwrap();
}

async fn there_is_no_pool(lab: &mut Lab) {
    lab.delete(&["lbpool", "main"]).unwrap();
    web(lab).await;
    told(lab, "There is no pool", WEB, ALLOCATED, "NoPool").await;
    pool(lab, json!({"addresses": ["198.51.100.0/24"]})).await;
    reachable(lab).await;
}

async fn the_pool_is_for_other_namespaces(lab: &mut Lab) {
    pool(lab, json!({"addresses": ["198.51.100.0/24"], "serviceAllocation": {"namespaces": ["shop"]}})).await;
    web(lab).await;
    told(lab, "The pool is for other namespaces", WEB, ALLOCATED, "NoPool").await;
    pool(lab, json!({"addresses": ["198.51.100.0/24"], "serviceAllocation": {"namespaces": ["shop", "default"]}}))
        .await;
    reachable(lab).await;
}

/// Clarion writes nothing to a Service that may be somebody else's: its status can't tell.
async fn the_service_has_no_class(lab: &mut Lab) {
    let without = |name: &str| {
        let fields = json!({"loadBalancerClass": null, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
        service_with(name, &fields)
    };
    lab.endpoints("web", &["node-a"]).await.unwrap();
    lab.apply(&[without("web")]).await.unwrap();
    let explained = wait::until("clarion to know the Service", async || {
        let text = lab.clarion(&["explain", "service", "default/web"]).map_err(|error| error.to_string())?;
        if text.contains("(NotServed)") { Ok(words(&text)) } else { Err(text) }
    });
    let explained = explained.await.unwrap();
    let message = explained.strip_prefix("Service default/web: ").and_then(|text| text.strip_suffix(" (NotServed)"));
    page_shows(&lab.control_plane, PAGE, "The Service has no class", &["NotServed", message.unwrap()]).await.unwrap();
    lab.condition("service", "web", ALLOCATED).unwrap_err();
    lab.delete(&["service", "web"]).unwrap();
    web(lab).await;
    reachable(lab).await;
}

async fn no_endpoint_is_ready(lab: &mut Lab) {
    lab.service("web", "Cluster", &[]).await.unwrap();
    told(lab, "No Pod is ready", WEB, ANNOUNCED, "NoReadyEndpoints").await;
    lab.endpoints("web", &["node-a"]).await.unwrap();
    reachable(lab).await;
}

async fn there_is_no_advertisement(lab: &mut Lab) {
    lab.delete(&["lbadv", "all"]).unwrap();
    web(lab).await;
    told(lab, "There is no advertisement", WEB, ANNOUNCED, "NoAdvertisement").await;
    lab.apply(&[advertisement("all", json!({}))]).await.unwrap();
    reachable(lab).await;
}

async fn there_is_no_peer(lab: &mut Lab) {
    lab.delete(&["lbpeer", "tor"]).unwrap();
    web(lab).await;
    told(lab, "There is no peer", WEB, ANNOUNCED, "NoNode").await;
    tor(lab, json!({})).await;
    reachable(lab).await;
}

async fn the_asn_is_wrong(lab: &mut Lab) {
    tor(lab, json!({"peerASN": 64999})).await;
    web(lab).await;
    told(lab, "The session does not come up", WEB, ANNOUNCED, "NoSession").await;
    tor(lab, json!({})).await;
    reachable(lab).await;
}

/// Clarion may not read Secrets and knows it from FRR-K8s; who runs `clarion status` may, and is told at once.
async fn the_password_is_missing(lab: &mut Lab) {
    lab.delete(&["lbpeer", "tor"]).unwrap();
    wait::until("an end of the session", async || {
        let left = lab.configurations().await.map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.len())) }
    })
    .await
    .unwrap();
    tor(lab, json!({"passwordSecret": {"name": "tor-password"}})).await;
    web(lab).await;
    let common = |message: &str| message.matches("Secret tor-password").take(1).collect();
    let secret = heard(lab, ("lbpeer", "tor"), "Ready", "PasswordSecret", common).await;
    page_shows(&lab.control_plane, PAGE, "The password is missing", &["PasswordSecret", &secret]).await.unwrap();
    tor(lab, json!({})).await;
    reachable(lab).await;
}
