//! What shells and kubectl are told when TAB is pressed.

use crate::{run, text};

fn completed(words: &[&str]) -> String {
    let arguments: Vec<&str> = ["__complete"].into_iter().chain(words.iter().copied()).collect();
    text(&run(&arguments))
}

#[test]
fn kubectl_is_told_commands_with_what_they_do() {
    let told = completed(&["expl"]);
    let (candidate, directive) = told.trim_end().split_once('\n').unwrap();
    let (command, help) = candidate.split_once('\t').unwrap();
    assert_eq!((command, directive), ("explain", ":4"), "cobra's directive 4: no files");
    assert!(!help.is_empty());
    assert_eq!(completed(&["no-such-command", ""]).lines().last(), Some(":4"));
    // Nothing typed yet, and not even a word to complete.
    assert_eq!(completed(&[]), completed(&[""]));
}

#[test]
fn what_kubectl_asks_by_is_not_shown_to_users() {
    for arguments in [&["--help"][..], &["completion", "bash"]] {
        assert!(!text(&run(arguments)).contains("__complete"), "{arguments:?}");
    }
}
