//! Metrics for others than the machine itself: over TLS, to who has the right, at a price that others can't raise.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clarion_envtest::{Action, Operator, Proxy, Scrape, wait};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::cluster::Cluster;

/// A token of a ServiceAccount that is made for it.
fn token(cluster: &Cluster, name: &str) -> String {
    cluster.0.kubectl(&["create", "serviceaccount", name]).unwrap();
    cluster.0.kubectl(&["create", "token", name]).unwrap().trim().to_owned()
}

/// The same, of one that may scrape.
fn reader(cluster: &Cluster, name: &str) -> String {
    let account = format!("--serviceaccount=default:{name}");
    cluster
        .0
        .kubectl(&["create", "clusterrolebinding", name, "--clusterrole=clarion-metrics-reader", &account])
        .unwrap();
    token(cluster, name)
}

fn arguments(scrape: &Scrape) -> [String; 2] {
    ["--metrics-addr".to_owned(), scrape.address().to_string()]
}

/// An operator that leads and serves metrics over TLS, with the rights that are shipped, and these arguments.
async fn start(cluster: &Cluster, scrape: &Scrape, more: &[&str]) -> Operator {
    let own = arguments(scrape);
    let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
    all.extend(more);
    let mut operator = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &all).unwrap();
    operator.leading().await.unwrap();
    operator
}

/// Waits for a scrape with this status; returns its text.
async fn answers(scrape: &Scrape, token: &str, status: u16) -> String {
    wait::until(&format!("a scrape with {status}"), async || match scrape.get(Some(token)).await {
        Ok((found, text)) if found == status => Ok(text),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn only_who_has_the_right_scrapes() {
    let cluster = Cluster::start().await;
    let scrape = Scrape::new().unwrap();
    let operator = start(&cluster, &scrape, &[]).await;
    let (status, text) = scrape.get(None).await.unwrap();
    assert_eq!(status, 401);
    assert!(text.contains("Authorization: Bearer TOKEN"), "{text}");
    let (status, text) = scrape.get(Some("nonsense")).await.unwrap();
    assert_eq!(status, 401);
    assert!(text.contains("does not know this token"), "{text}");
    let (status, text) = scrape.get(Some(&token(&cluster, "stranger"))).await.unwrap();
    assert_eq!(status, 403);
    assert!(text.contains("system:serviceaccount:default:stranger has no right to get /metrics"), "{text}");
    assert!(!text.contains("clarion_leading"), "{text}");
    let text = answers(&scrape, &reader(&cluster, "scraper"), 200).await;
    assert!(text.contains("clarion_leading 1"), "{text}");

    let mut plain = TcpStream::connect(scrape.local()).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Whether it is told by an alert or by a reset.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP") && !String::from_utf8_lossy(&answer).contains("clarion_"), "{answer:?}");

    let (status, text) = operator.get("/metrics").await.unwrap();
    assert_eq!(status, 200, "on a loopback address nobody is asked for a token");
    assert!(text.contains("clarion_leading 1"), "{text}");
}

#[tokio::test]
async fn metrics_over_tls_and_probes_need_an_address_each() {
    let cluster = Cluster::start().await;
    let address = Scrape::new().unwrap().address().to_string();
    let binary = Operator::binary().unwrap();
    let output = tokio::process::Command::new(binary)
        .args(["run", "--metrics-addr", &address, "--health-addr", &address])
        .env("KUBECONFIG", cluster.0.operator_kubeconfig())
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("choose another with --metrics-addr"), "{error}");
}

/// A certificate for this machine and its key, in files; returns the certificate in DER, which is its own issuer.
fn renew(cluster: &Cluster) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(cluster.0.directory().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(cluster.0.directory().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().to_vec()
}

#[tokio::test]
async fn a_certificate_in_files_is_read_anew_and_a_broken_one_changes_nothing() {
    let cluster = Cluster::start().await;
    let file = |name: &str| cluster.0.directory().join(name).display().to_string();
    let (certificate, key) = (file("tls.crt"), file("tls.key"));
    let files = ["--metrics-certificate", &certificate, "--metrics-key", &key];
    let scrape = Scrape::new().unwrap();
    let own = arguments(&scrape);
    let all: Vec<&str> = own.iter().map(String::as_str).chain(files).collect();

    let mut without = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &all).unwrap();
    assert_eq!(without.ended().await.unwrap(), 1);
    let log = without.process.log();
    assert!(log.contains("tls.crt can't be read") && log.contains("name files in PEM"), "{log}");

    let token = reader(&cluster, "scraper");
    let first = renew(&cluster);
    let operator = start(&cluster, &scrape, &files).await;
    answers(&scrape.of_issuer(&first), &token, 200).await;
    let second = renew(&cluster);
    answers(&scrape.of_issuer(&second), &token, 200).await;
    assert!(scrape.of_issuer(&first).get(Some(&token)).await.is_err(), "the old one is gone");
    std::fs::write(&key, "nothing").unwrap();
    wait::until("the log to tell of the broken file", async || {
        let log = operator.process.log();
        let told = log.contains("metrics are served with the certificate as it was")
            && log.contains("tls.key holds no private key");
        if told { Ok(()) } else { Err(log) }
    })
    .await
    .unwrap();
    answers(&scrape.of_issuer(&second), &token, 200).await;
    let third = renew(&cluster);
    answers(&scrape.of_issuer(&third), &token, 200).await;
}

#[tokio::test]
async fn without_an_api_server_scrapes_are_refused_and_it_goes_on_leading() {
    let mut cluster = Cluster::start().await;
    let scrape = Scrape::new().unwrap();
    // The Lease outlasts the API server's absence.
    let mut operator = start(&cluster, &scrape, &["--lease-duration", "120s"]).await;
    let (known, new) = (reader(&cluster, "known"), reader(&cluster, "new"));
    answers(&scrape, &known, 200).await;
    cluster.0.stop_api_server();
    let (status, text) = scrape.get(Some(&new)).await.unwrap();
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("the API server can't be asked who this is"), "{text}");
    assert_eq!(scrape.get(Some(&known)).await.unwrap().0, 200, "what was answered counts for a minute");
    assert_eq!(scrape.get(None).await.unwrap().0, 401);
    assert_eq!(operator.get("/readyz").await.unwrap(), (200, "leading\n".to_owned()));
    cluster.0.start_api_server().await.unwrap();
    answers(&scrape, &new, 200).await;
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    assert_eq!(operator.process.exited().unwrap(), None);
}

#[tokio::test]
async fn neither_a_hanging_review_nor_idle_connections_nor_wrong_tokens_keep_the_operator_waiting() {
    let cluster = Cluster::start().await;
    let hangs = Arc::new(AtomicBool::new(false));
    let proxy = {
        let hangs = Arc::clone(&hangs);
        Proxy::start(&cluster.0, move |_, uri| {
            let is_review = uri.path().ends_with("/tokenreviews");
            if is_review && hangs.load(Ordering::Relaxed) {
                Action::Delay(Duration::from_secs(3_600))
            } else {
                Action::Pass
            }
        })
        .await
        .unwrap()
    };
    let scrape = Scrape::new().unwrap();
    let own = arguments(&scrape);
    let all: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &all).unwrap();
    operator.leading().await.unwrap();
    let token = reader(&cluster, "scraper");
    answers(&scrape, &token, 200).await;

    hangs.store(true, Ordering::Relaxed);
    let wrong: Vec<_> = (0..50)
        .map(|n| {
            let scrape = scrape.clone();
            tokio::spawn(async move { scrape.get(Some(&format!("wrong-{n}"))).await })
        })
        .collect();
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(TcpStream::connect(scrape.local()).await.unwrap());
    }
    cluster.add_services(&["a", "b"]).await;
    cluster.all_announced(&["a", "b"]).await;
    for answer in wrong {
        // Who waited for longer than its connection lasts is told nothing.
        if let Ok((status, text)) = answer.await.unwrap() {
            assert_eq!(status, 503, "{text}");
        }
    }
    hangs.store(false, Ordering::Relaxed);
    answers(&scrape, &token, 200).await;
    for mut connection in idle {
        assert_eq!(connection.read(&mut [0; 16]).await.unwrap_or(0), 0, "an idle connection is ended");
    }
    assert_eq!(operator.get("/readyz").await.unwrap(), (200, "leading\n".to_owned()));
}
