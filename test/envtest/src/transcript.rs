//! Commands in the documentation, and what they print: run again, and compared.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{ControlPlane, Error, Operator, Page, repository, tools, wait};

/// Commands with what they print, as a block of a page shows them: a command after `$ `, on further lines where a shell would go on
/// reading it, and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript(pub Vec<Step>);

/// A command and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The command, for a shell.
    pub command: String,
    /// What it prints, on both streams.
    pub output: String,
}

impl Transcript {
    /// Reads a block.
    #[must_use]
    pub fn of(block: &str) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for line in block.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step { command: command.to_owned(), output: String::new() }),
                (None, Some(step)) if step.output.is_empty() && step.is_open() => {
                    step.command += &format!("\n{line}");
                }
                (None, Some(step)) => step.output += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        Self(steps)
    }

    /// The block that it is read from.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|Step { command, output }| format!("$ {command}\n{output}")).collect()
    }

    /// Runs the commands on a cluster, from the repository's root; the same with what they print now.
    ///
    /// # Errors
    /// If there is no shell.
    pub fn run(&self, control_plane: &ControlPlane) -> Result<Self, Error> {
        let again = |step: &Step| {
            let (_, output) = step.run(control_plane, &repository())?;
            Ok(Step { command: step.command.clone(), output })
        };
        Ok(Self(self.0.iter().map(again).collect::<Result<_, Error>>()?))
    }

    /// Fails where somebody who follows the page sees something else than the page shows: in other words, not in what is
    /// different each time (ages, cluster IPs, node ports) or left out (`…`).
    ///
    /// # Errors
    /// With both.
    pub fn shows(&self, now: &Self) -> Result<(), String> {
        let mut wrong = String::new();
        for (Step { command, output }, now) in self.0.iter().zip(&now.0) {
            if !fits(output, &now.output) {
                let _ = write!(wrong, "$ {command}\n--- the page has\n{output}--- it prints\n{}", now.output);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

impl Step {
    /// It goes on on the next line.
    fn is_open(&self) -> bool {
        let last = self.command.lines().last().unwrap_or_default();
        let in_document = self.command.contains("<<EOF") && last != "EOF";
        in_document || last.ends_with('\\') || last.ends_with("; do")
    }

    /// Runs the command on a cluster, from this directory: its exit status, and what it prints.
    ///
    /// # Errors
    /// If there is no shell.
    pub fn run(&self, control_plane: &ControlPlane, directory: &Path) -> Result<(i32, String), Error> {
        let output = Command::new("bash")
            .args(["-c", &self.command])
            .current_dir(directory)
            .env("KUBECONFIG", control_plane.kubeconfig())
            .env("PATH", path(control_plane)?)
            .stdin(Stdio::null())
            .output()?;
        let status = output.status.code().unwrap_or(-1);
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let mut output = out + &error;
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        Ok((status, output))
    }
}

/// Waits until the commands of a page's section print what the page shows, which has these words in it. With `UPDATE_PAGES` in the
/// environment, writes the page anew instead, with what they print after [`UPDATE_AFTER`].
///
/// # Errors
/// With what differs.
pub async fn page_shows(
    control_plane: &ControlPlane,
    page: &str,
    section: &str,
    expected: &[&str],
) -> Result<(), String> {
    let page = Page::read(page).map_err(|error| error.to_string())?;
    let block = page.block("console", section).map_err(|error| error.to_string())?;
    let shown = Transcript::of(&block.text);
    let run = || shown.run(control_plane).map_err(|error| error.to_string());
    if std::env::var_os("UPDATE_PAGES").is_some() {
        tokio::time::sleep(UPDATE_AFTER).await;
        return page.rewrite(block, &run()?.text()).map_err(|error| error.to_string());
    }
    wait::until(&format!("{}, {section}, to be right", page.path), async || shown.shows(&run()?)).await?;
    let text = words(&block.text);
    match expected.iter().find(|expected| !text.contains(&words(expected))) {
        Some(missing) => Err(format!("{}, {section}, does not show: {missing}", page.path)),
        None => Ok(()),
    }
}

/// By then all sessions are reported.
const UPDATE_AFTER: Duration = Duration::from_secs(8);

/// The text with all space alike.
#[must_use]
pub fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the commands are: those of tests go before what the machine has.
fn path(control_plane: &ControlPlane) -> Result<std::ffi::OsString, Error> {
    let own = [Operator::binary()?, control_plane.kubectl_path(), tools("packaging")?.join("helm")];
    let own = own.iter().filter_map(|binary| binary.parent()).map(PathBuf::from);
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(own.chain(std::env::split_paths(&others)))
        .map_err(|error| Error::Manifest("PATH".to_owned(), error.to_string()))
}

/// Whether an output is that of the page.
fn fits(shown: &str, now: &str) -> bool {
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(plain).collect()).collect()
    };
    let (shown, now) = (words(shown), words(now));
    let mut parts = shown.split(|line| line.concat() == "…");
    let mut rest = now.as_slice();
    let Some(first) = parts.next() else { return now.is_empty() };
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let mut left_out = false;
    for part in parts {
        left_out = true;
        let Some(at) = (0..=rest.len()).find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(part))) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.is_empty() || (left_out && shown.last().is_some_and(|line| line.concat() == "…"))
}

/// A word, without what is different each time.
fn plain(word: &str) -> String {
    let is_age = word.ends_with(['s', 'm', 'h', 'd'])
        && word.starts_with(|first: char| first.is_ascii_digit())
        && word.chars().all(|char| char.is_ascii_digit() || "smhd".contains(char));
    let is_cluster_ip = word.parse::<Ipv4Addr>().is_ok_and(|address| address.octets().starts_with(&[10]));
    let node_port = word.split_once(':').filter(|(_, port)| port.ends_with("/TCP") && port.starts_with('3'));
    match node_port {
        _ if is_age => "AGE".to_owned(),
        _ if is_cluster_ip => "CLUSTER-IP".to_owned(),
        Some((port, _)) => format!("{port}:NODE-PORT/TCP"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_block_is_commands_and_outputs() {
        let block = "$ kubectl apply -f - <<EOF\nkind: x\nEOF\nx created\n$ for a in b; do\n    echo $a; done\nb\n\nc\n$ true\n";
        let transcript = Transcript::of(block);
        let steps = [
            ("kubectl apply -f - <<EOF\nkind: x\nEOF", "x created\n"),
            ("for a in b; do\n    echo $a; done", "b\n\nc\n"),
            ("true", ""),
        ];
        assert_eq!(
            transcript.0,
            steps.map(|(command, output)| Step { command: command.into(), output: output.into() })
        );
        assert_eq!(transcript.text(), block);
    }

    #[rstest]
    #[case("a  b\n", "a b\n", true)]
    #[case("a b\n", "a c\n", false)]
    #[case("a b\n", "a b\nc\n", false)]
    #[case("", "", true)]
    #[case("", "a\n", false)]
    #[case("web 10.96.54.181 203.0.113.0 80:30808/TCP 0s\n", "web 10.97.1.1 203.0.113.0 80:31000/TCP 12m\n", true)]
    #[case("web 203.0.113.0\n", "web 203.0.113.1\n", false)]
    #[case("a\n…\nc\n", "a\nb\nb\nc\n", true)]
    #[case("a\n…\nc\n", "a\nc\n", true)]
    #[case("a\n…\nc\n", "a\nb\nc\nd\n", false)]
    #[case("…\nc\n", "a\nc\n", true)]
    #[case("a\n…\n", "a\nb\nc\n", true)]
    fn what_differs_each_time_fits(#[case] shown: &str, #[case] now: &str, #[case] expected: bool) {
        assert_eq!(fits(shown, now), expected);
    }
}
