//! What changes in CRDs, as OLM v1 judges it before an upgrade.

use clarion_envtest::repository;

use crate::tools::{all, run, succeeds};

fn names() -> Vec<String> {
    let mut names: Vec<String> = repository()
        .join("crds")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("clarionlb.io_"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 5);
    names
}

#[test]
fn they_can_be_upgraded_from_those_of_the_last_release() {
    let released = repository().join("package/released/crds");
    if !released.exists() {
        println!("there is no release yet, so there is nothing to compare with");
        return;
    }
    for name in names() {
        // A kind that is new has nothing to break.
        if released.join(&name).exists() {
            succeeds("crdify", &[&format!("file://package/released/crds/{name}"), &format!("file://crds/{name}")]);
        }
    }
    for entry in released.read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names().contains(&name), "{name} was released, and must stay");
    }
}

#[test]
fn a_change_that_breaks_something_would_be_found() {
    let directory = tempfile::tempdir().unwrap();
    for name in names() {
        let text = std::fs::read_to_string(repository().join("crds").join(&name)).unwrap();
        // A field that was optional is required now.
        let worse = text.replacen(
            "          status:\n",
            "          status:\n            required:\n            - observedGeneration\n",
            1,
        );
        assert_ne!(worse, text, "{name}");
        let path = directory.path().join(&name);
        std::fs::write(&path, worse).unwrap();
        let (old, new) = (format!("file://crds/{name}"), format!("file://{}", path.display()));
        succeeds("crdify", &[&old, &old]);
        let output = run("crdify", &[&old, &new]);
        assert!(!output.status.success(), "{name}: {}", all(&output));
    }
}
