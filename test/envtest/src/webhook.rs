use std::path::{Path, PathBuf};

use kube::core::DynamicObject;

use crate::{
    ControlPlane, Error, Process,
    control_plane::{free_port, object},
    tools, wait,
};

/// FRR-K8s's validating webhook: each write of an FRRConfiguration is merged, for every node that it selects, with all others.
#[derive(Debug)]
pub struct Webhook {
    /// The process.
    pub process: Process,
    directory: PathBuf,
    port: u16,
}

/// Where the process looks for its certificate, below the directory for temporary files.
const CERTIFICATES: &str = "k8s-webhook-server/serving-certs";
/// The path of FRRConfigurations (frr-k8s `internal/webhooks/frrconfiguration_webhook.go`).
const PATH: &str = "validate-frrk8s-metallb-io-v1beta1-frrconfiguration";

impl Webhook {
    /// Starts it, and has the API server ask it. Returns when it answers.
    ///
    /// # Errors
    /// If it can't be built, or does not come up.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self, Error> {
        let directory = control_plane.directory().join("webhook");
        let certificates = directory.join(CERTIFICATES);
        std::fs::create_dir_all(&certificates)?;
        let certificate = write_certificate(&certificates)?;
        let port = free_port()?;
        let process = process(control_plane, &directory, port)?;
        control_plane.apply(&[configuration(port, &certificate)?]).await?;
        let mut this = Self { process, directory, port };
        this.answers(control_plane).await?;
        Ok(this)
    }

    /// Has the API server wait for its answers for so long, and refuse the write then.
    ///
    /// # Errors
    /// If the API server can't be told.
    pub fn set_timeout(&self, control_plane: &ControlPlane, seconds: u8) -> Result<(), Error> {
        let patch = format!(r#"[{{"op": "add", "path": "/webhooks/0/timeoutSeconds", "value": {seconds}}}]"#);
        let webhook = ["validatingwebhookconfiguration", "frr-k8s-validating-webhook-configuration"];
        control_plane.kubectl(&["patch", webhook[0], webhook[1], "--type=json", "-p", &patch]).map(drop)
    }

    /// Ends the process, the hard way. The API server goes on asking it.
    ///
    /// # Errors
    /// If it is not running.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.process.signal("KILL")?;
        let ended = wait::until("its end", async || match self.process.exited() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        ended.await.map_err(|why| self.process.not_up(&why))
    }

    /// Starts the process again after [`Webhook::stop`], where it was. Returns when it answers.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start_again(&mut self, control_plane: &ControlPlane) -> Result<(), Error> {
        self.process = process(control_plane, &self.directory, self.port)?;
        self.answers(control_plane).await
    }

    /// Waits until it refuses what can't be merged.
    async fn answers(&mut self, control_plane: &ControlPlane) -> Result<(), Error> {
        let impossible = object(serde_json::json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
            "metadata": {"name": "impossible", "namespace": "frr-k8s-system"},
            "spec": {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}},
        }))?;
        let asked = wait::until("an answer of the webhook", async || {
            let error = match control_plane.apply(std::slice::from_ref(&impossible)).await {
                Ok(()) => return Err("it lets everything pass".to_owned()),
                Err(error) => error.to_string(),
            };
            if error.contains("denied the request") { Ok(()) } else { Err(error) }
        });
        asked.await.map_err(|why| self.process.not_up(&why))?;
        // Before the API server knew whom to ask, it may have been let pass.
        control_plane.kubectl(&[
            "-n",
            "frr-k8s-system",
            "delete",
            "frrconfiguration",
            "impossible",
            "--ignore-not-found",
        ])?;
        Ok(())
    }
}

fn process(control_plane: &ControlPlane, directory: &Path, port: u16) -> Result<Process, Error> {
    Process::start(
        "FRR-K8s's webhook",
        &directory.join("log"),
        tools("frr-k8s")?.join("statuscleaner"),
        [
            "--namespace=frr-k8s-system".to_owned(),
            "--disable-cert-rotation".to_owned(),
            format!("--webhook-port={port}"),
        ],
        [("KUBECONFIG", control_plane.kubeconfig()), ("TMPDIR", directory.to_owned())],
    )
}

/// Writes a certificate and its key, and returns the certificate.
fn write_certificate(directory: &Path) -> Result<String, Error> {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    std::fs::write(directory.join("tls.crt"), own.cert.pem())?;
    std::fs::write(directory.join("tls.key"), own.signing_key.serialize_pem())?;
    Ok(own.cert.pem())
}

fn configuration(port: u16, certificate: &str) -> Result<DynamicObject, Error> {
    let ca = k8s_openapi::ByteString(certificate.as_bytes().to_vec());
    object(serde_json::json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "frr-k8s-validating-webhook-configuration"},
        "webhooks": [{
            "name": "frrconfigurationsvalidationwebhook.metallb.io",
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {"url": format!("https://127.0.0.1:{port}/{PATH}"), "caBundle": ca},
            "rules": [{
                "apiGroups": ["frrk8s.metallb.io"], "apiVersions": ["v1beta1"],
                "resources": ["frrconfigurations"], "operations": ["CREATE", "UPDATE"],
            }],
        }],
    }))
}
