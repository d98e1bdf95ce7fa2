//! What the documentation says is so: links lead somewhere, the API server takes the manifests, and commands do what stands there.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use clarion_envtest::{Block, ControlPlane, Operator, Page, Step, Transcript, page_shows, relative, repository, wait};
use serde_json::{Value, json};

use crate::cluster::{Cluster, basics};

/// The same path without `.` and `..`.
fn clean(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut clean, component| {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
        clean
    })
}

#[test]
fn every_link_leads_somewhere() {
    let pages = Page::all().unwrap();
    let mut lost = Vec::new();
    for page in &pages {
        for link in &page.links {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => PathBuf::from(&page.path),
                path => clean(&Path::new(&page.path).with_file_name(path)),
            };
            let has_anchor = || {
                let target = pages.iter().find(|page| Path::new(&page.path) == target);
                target.is_some_and(|target| target.anchors.iter().any(|known| known == anchor))
            };
            if !repository().join(&target).exists() || !(anchor.is_empty() || has_anchor()) {
                lost.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(lost.is_empty(), "these links lead nowhere:\n{}", lost.join("\n"));
    assert!(pages.iter().map(|page| page.links.len()).sum::<usize>() > 100, "links are found");
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let contents = Page::read("docs/SUMMARY.md").unwrap();
    let listed: BTreeSet<_> = contents.links.iter().map(|link| clean(&Path::new("docs").join(link))).collect();
    let pages = Page::all().unwrap();
    let pages: BTreeSet<_> =
        pages.iter().map(|page| PathBuf::from(&page.path)).filter(|path| path.starts_with("docs")).collect();
    let missing: Vec<_> = pages.difference(&listed).filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not list {missing:?}");
}

/// What a program makes of a text.
fn fed(program: &Path, arguments: &[&str], environment: &[(&str, &Path)], text: &str) -> Result<String, String> {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if output.status.success() { Ok(out) } else { Err(error) }
}

/// Whether the API server would take these objects, with every field.
fn taken(control_plane: &ControlPlane, manifest: &str) -> Result<(), String> {
    let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    fed(&control_plane.kubectl_path(), &arguments, &[("KUBECONFIG", &control_plane.kubeconfig())], manifest).map(drop)
}

/// The same of what a tool has rendered, but for objects whose kinds are not installed here.
fn rendered_taken(control_plane: &ControlPlane, manifests: &str) -> Result<(), String> {
    let known = |document: &&str| !document.contains("monitoring.coreos.com");
    taken(control_plane, &manifests.split("\n---\n").filter(known).collect::<Vec<_>>().join("\n---\n"))
}

/// Whether kustomize takes it, with `config/` where it has `…/config`; and the API server what comes of that.
fn built(control_plane: &ControlPlane, kustomization: &str) -> Result<(), String> {
    // Kustomize takes no absolute paths.
    let directory = tempfile::tempdir().unwrap();
    let root = relative(directory.path(), &repository()).unwrap();
    let text = kustomization.replace('…', &root);
    std::fs::write(directory.path().join("kustomization.yaml"), text).unwrap();
    let path = directory.path().display().to_string();
    rendered_taken(control_plane, &fed(&control_plane.kubectl_path(), &["kustomize", &path], &[], "")?)
}

/// The object with these fields in place of its own.
fn merged(mut object: Value, fields: &Value) -> Value {
    match (object.as_object_mut(), fields.as_object()) {
        (Some(into), Some(fields)) => {
            for (key, value) in fields {
                let before = into.get(key).cloned().unwrap_or_default();
                into.insert(key.clone(), merged(before, value));
            }
            object
        }
        _ => fields.clone(),
    }
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    })
}

/// Tries what a block says: whole objects, a kustomization, a part of one, a part of a Service, of the chart's values, or of a
/// Subscription of OLM.
fn tried(control_plane: &ControlPlane, block: &Block) -> Result<(), String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&block.text).map_err(|error| error.to_string())?;
    let Some(first) = documents.first() else { return Err("it is empty".to_owned()) };
    match (first["kind"].as_str(), first) {
        (Some("Kustomization"), _) => built(control_plane, &block.text),
        (Some(_), _) => taken(control_plane, &block.text),
        (None, part) if part.get("patches").is_some() => {
            built(control_plane, &format!("resources: [\"…/config\"]\n{}", block.text))
        }
        (None, part) if part.get("metadata").is_some() => taken(control_plane, &merged(service(), part).to_string()),
        (None, part) if part.pointer("/spec/config").is_some() => {
            let of_olm = std::fs::read_to_string(repository().join("olm/v0/subscription.yaml")).unwrap();
            let whole = merged(serde_saphyr::from_str(&of_olm).unwrap(), part);
            let schema = ["/spec/config/env/0/name", "/spec/config/env/0/value"];
            let missing = schema.iter().find(|path| whole.pointer(path).is_none_or(|value| !value.is_string()));
            missing.map_or(Ok(()), |path| Err(format!("a Subscription has no {path}")))
        }
        (None, _) => {
            let helm = clarion_envtest::tools("packaging").unwrap().join("helm");
            let template = ["template", "clarion", "charts/clarion", "--namespace", "default", "--values", "-"];
            rendered_taken(control_plane, &fed(&helm, &template, &[], &block.text)?)
        }
    }
}

#[tokio::test]
async fn the_api_server_takes_every_manifest() {
    let control_plane = ControlPlane::with_frr_k8s().await.unwrap();
    control_plane.kubectl(&["create", "namespace", "shop"]).unwrap();
    let (mut wrong, mut found) = (Vec::new(), 0);
    for page in Page::all().unwrap() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            found += 1;
            if let Err(why) = tried(&control_plane, block) {
                wrong.push(format!("{}, {}: {why}\n{}", page.path, block.heading, block.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found > 10, "blocks are found: {found}");
}

/// Commands that need what is not here, by their beginnings, and where they are tried.
const ELSEWHERE: [(&str, &str); 13] = [
    ("make ", "they run all tests; `make image` is a step of its own"),
    ("buildah ", "needs a registry"),
    ("helm install clarion ", "packages.rs, and package/tests/packaging/helm.rs"),
    ("kubectl apply -f olm/", "package/tests/packaging/olm.rs"),
    ("kubectl -n clarion-system get csv", "needs OLM"),
    ("kubectl get clusterextension ", "needs OLM"),
    ("kubectl krew install ", "package/tests/packaging/plugin.rs"),
    ("kubectl clarion ", "package/tests/packaging/plugin.rs"),
    ("kubectl -n clarion-system logs ", "needs a kubelet"),
    ("kubectl -n frr-k8s-system logs ", "needs a kubelet"),
    ("kubectl get validatingwebhookconfiguration frr-k8s-", "needs FRR-K8s's webhook"),
    ("kubectl get endpointslices -A --watch-only", "goes on until somebody ends it"),
    ("clarion approve 0b47dc52", "brake.rs: the name of a plan is another each time"),
];

/// The page whose commands need MetalLB: `import.rs`, `cutover.rs` and `handover.rs` try them.
const WITH_METALLB: &str = "docs/migration.md";

/// What stands in the pages' examples, as if somebody had followed them all.
const CLUSTER: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {kubernetes.io/hostname: node-a}}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-b, labels: {kubernetes.io/hostname: node-b}}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-c, labels: {kubernetes.io/hostname: node-c}}}
---
{apiVersion: clarionlb.io/v1beta1, kind: LoadBalancerPool, metadata: {name: production},
 spec: {addresses: [203.0.113.0/28, "2001:db8:5::/124"]}}
---
{apiVersion: clarionlb.io/v1beta1, kind: LoadBalancerPool, metadata: {name: old},
 spec: {addresses: [198.51.100.128/28], serviceAllocation: {namespaces: [shop]}}}
---
{apiVersion: clarionlb.io/v1beta1, kind: LoadBalancerAdvertisement, metadata: {name: all}, spec: {}}
---
{apiVersion: clarionlb.io/v1beta1, kind: RouterPeer, metadata: {name: tor},
 spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, dualStackAddressFamily: true}}
---
{apiVersion: clarionlb.io/v1beta1, kind: RouterPeer, metadata: {name: spine},
 spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.2}}
---
{apiVersion: frrk8s.metallb.io/v1beta1, kind: FRRConfiguration, metadata: {name: underlay, namespace: frr-k8s-system},
 spec: {bgp: {routers: [{asn: 64512, neighbors: [{address: 192.0.2.7, asn: 64513}]}]}}}
---
{apiVersion: frrk8s.metallb.io/v1beta1, kind: FRRNodeState, metadata: {name: node-a}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default},
 spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop},
 spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: near, namespace: shop},
 spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, externalTrafficPolicy: Local, ports: [{port: 80}]}}
"#;

/// A place like the root of the repository, with the files that the page's readers have beside it.
fn desk(page: &Page) -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    for entry in repository().read_dir().unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), desk.path().join(entry.file_name())).unwrap();
    }
    if page.path == "docs/commands.md" {
        for directory in ["bad", "changed", "preview"] {
            std::fs::create_dir(desk.path().join(directory)).unwrap();
            std::fs::write(desk.path().join(directory).join("cluster.yaml"), CLUSTER).unwrap();
        }
        let underlay = CLUSTER.split("---").find(|document| document.contains("name: underlay")).unwrap();
        std::fs::write(desk.path().join("underlay.yaml"), underlay).unwrap();
    }
    desk
}

/// Nothing is edited, a failure in a pipe is one, and it is none if grep finds nothing.
const UNATTENDED: &str = r#"export EDITOR=true
set -o pipefail
grep() { command grep "$@" || [ $? = 1 ]; }"#;

/// Whether a reader can do what the page says, with a node and an object in the place of NODE and NAME. Clarion's commands end with 1
/// where they find something amiss, and with 2 where they can't do what they were told.
fn works(control_plane: &ControlPlane, desk: &Path, step: &Step) -> Result<(), String> {
    let command = &step.command;
    let concrete = command.replace("NODE", "node-a").replace("NAME", "underlay");
    let unattended = Step { command: format!("{UNATTENDED}\n{concrete}"), output: String::new() };
    match unattended.run(control_plane, desk).map_err(|error| error.to_string())? {
        (0, _) => Ok(()),
        (1, _) if command.starts_with("clarion ") => Ok(()),
        (status, output) => Err(format!("{command}: exit status {status}\n{output}")),
    }
}

#[tokio::test]
async fn every_command_works() {
    let control_plane = ControlPlane::with_frr_k8s().await.unwrap();
    control_plane.kubectl(&["create", "namespace", "shop"]).unwrap();
    let operator = Operator::start(&control_plane).unwrap();
    let (mut wrong, mut unused) = (Vec::new(), BTreeSet::from(ELSEWHERE.map(|(beginning, _)| beginning)));
    for page in Page::all().unwrap() {
        let blocks = page.blocks.iter().filter(|block| block.language == "console");
        let steps: Vec<_> = blocks.flat_map(|block| Transcript::of(&block.text).0).collect();
        if steps.is_empty() || page.path == WITH_METALLB {
            continue;
        }
        let desk = desk(&page);
        fed(
            &control_plane.kubectl_path(),
            &["apply", "-f", "-"],
            &[("KUBECONFIG", &control_plane.kubeconfig())],
            CLUSTER,
        )
        .unwrap();
        wait::until("addresses", async || {
            let web = control_plane.kubectl(&["get", "service", "-n", "shop", "web", "-o", "json"]);
            let web = web.map_err(|error| error.to_string())?;
            if web.contains("\"ip\":") { Ok(()) } else { Err(web) }
        })
        .await
        .unwrap();
        for step in &steps {
            let elsewhere = ELSEWHERE.iter().find(|(beginning, _)| step.command.starts_with(beginning));
            if let Some((beginning, _)) = elsewhere {
                unused.remove(beginning);
            } else if let Err(why) = works(&control_plane, desk.path(), step) {
                wrong.push(format!("{}: {why}", page.path));
            }
        }
        control_plane.kubectl(&["delete", "--all", "nodes,lbpool,lbadv,lbpeer,lbcomm"]).unwrap();
    }
    drop(operator);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no page has these commands any more: {unused:?}");
}

#[tokio::test]
async fn without_frr_k8s_troubleshooting_shows_what_status_says() {
    let cluster = Cluster(ControlPlane::with_clarion().await.unwrap());
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.0.apply(&basics()).await.unwrap();
    let message = cluster.becomes("lbpeer", "tor", "Ready", "False", "FRRK8sNotInstalled").await;
    let shown = ["FRRK8sNotInstalled", &message];
    page_shows(&cluster.0, "docs/troubleshooting.md", "FRR-K8s is not installed", &shown).await.unwrap();
}
