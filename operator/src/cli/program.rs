//! What the program is called by: `clarion`, or `kubectl clarion` where kubectl runs it as its plugin.

use std::{env, fmt::Display, path::Path};

/// What users type to run the program.
pub fn name() -> &'static str {
    let called = env::args_os().next().unwrap_or_default();
    named(Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or_default())
}

/// Tells users something beside the outcome.
pub fn tell(message: impl Display) {
    eprintln!("{}: {message}", name());
}

/// kubectl finds a plugin by its file's name, in which `_` can stand for `-`.
fn named(file: &str) -> &'static str {
    match file.strip_suffix(".exe").unwrap_or(file) {
        "kubectl-clarion" | "kubectl_clarion" => "kubectl clarion",
        _ => "clarion",
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn only_a_plugin_of_kubectl_is_called_by_it() {
        for file in ["kubectl-clarion", "kubectl_clarion", "kubectl-clarion.exe"] {
            assert_eq!(named(file), "kubectl clarion");
        }
        for file in ["clarion", "", "kubectl", "kubectl-clarion-old"] {
            assert_eq!(named(file), "clarion");
        }
    }
}
