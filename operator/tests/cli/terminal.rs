//! What is different at a terminal: colours, and a line while something takes long. Python opens the terminal.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    commands::{ILL, WELL},
    *,
};

const ESCAPE: char = '\u{1b}';

/// What a command prints at a terminal, on both outputs.
fn at_a_terminal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new("python3")
        .args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])", env!("CARGO_BIN_EXE_clarion")])
        .args(arguments)
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn colours_are_for_terminals_whose_users_want_them() {
    let files = directory(&[("cluster.yaml", &[WELL, ILL].concat())]);
    let path = files.path().to_str().unwrap();
    for arguments in [&["--help"][..], &["status", "--help"], &["no-such-command"], &["status", "-f", path]] {
        assert!(at_a_terminal(arguments, &[]).contains(ESCAPE), "{arguments:?} has no colours at a terminal");
        assert!(!at_a_terminal(arguments, &[("NO_COLOR", "1")]).contains(ESCAPE), "{arguments:?} with NO_COLOR");
        let Output { stdout, stderr, .. } = run(arguments);
        assert!(![stdout, stderr].concat().contains(&(ESCAPE as u8)), "{arguments:?} without a terminal");
    }
}

#[test]
fn what_is_not_good_has_a_colour_in_status_and_says_the_same_without() {
    let files = directory(&[("cluster.yaml", &[WELL, ILL].concat())]);
    let arguments = ["status", "-f", files.path().to_str().unwrap()];
    let printed = at_a_terminal(&arguments, &[]);
    assert!(printed.contains("\u{1b}[31m   False \u{1b}[0m"), "{printed:?}");
    assert!(printed.contains("\u{1b}[31merror: \u{1b}[0m"), "{printed:?}");
    let plain =
        ["\u{1b}[31m", "\u{1b}[33m", "\u{1b}[0m", "\r"].iter().fold(printed, |text, code| text.replace(code, ""));
    assert_eq!(plain, String::from_utf8(run(&arguments).stdout).unwrap());
}

/// A kubeconfig of an API server that takes so long for each answer, and then refuses.
fn slow_api_server(delay: Duration) -> tempfile::TempDir {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(move || {
                let _ = connection.read(&mut [0; 4096]);
                thread::sleep(delay);
                let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","code":403}"#;
                let length = body.len();
                let head = format!("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {length}\r\n");
                let _ = write!(connection, "{head}content-type: application/json\r\n\r\n{body}");
            });
        }
    });
    directory(&[(
        "config",
        &format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}], users: [{{name: u, user: {{}}}}]}}"
        ),
    )])
}

#[test]
fn what_takes_long_is_told_in_a_line_that_goes_away() {
    let kubeconfig = slow_api_server(Duration::from_millis(1500));
    let path = kubeconfig.path().join("config");
    let environment = [("KUBECONFIG", path.to_str().unwrap())];
    let printed = at_a_terminal(&["status"], &environment);
    let line = "reading the cluster: 1 s";
    assert!(printed.contains(&format!("\r{line}\r")), "{printed:?}");
    let (_, rest) = printed.rsplit_once("reading the cluster").unwrap();
    let erased = format!("\r{}\rclarion: ", " ".repeat(line.len()));
    assert!(rest.contains(&erased), "{printed:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_clarion"));
    let output = command.arg("status").env_clear().envs(environment).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("clarion: ") && output.stdout.is_empty(), "{told}");
}

#[test]
fn what_is_done_at_once_is_not() {
    let kubeconfig = slow_api_server(Duration::ZERO);
    let path = kubeconfig.path().join("config");
    let printed = at_a_terminal(&["status"], &[("KUBECONFIG", path.to_str().unwrap())]);
    assert!(!printed.contains("reading the cluster"), "{printed:?}");
}
