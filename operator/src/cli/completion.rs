//! `clarion completion`

use std::io;

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

/// Print what a shell needs to complete the command line
///
/// For bash: `source <(clarion completion bash)`.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub fn execute(self) {
        let mut command = super::Cli::command();
        let name = command.get_name().to_owned();
        generate(self.shell, &mut command, name, &mut io::stdout());
    }
}
