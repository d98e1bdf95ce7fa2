//! Cases on a real network. Each says what the routers have, and where packets go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod policies;
mod themes;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Err(error) = clarion_e2e::enter() {
        eprintln!("e2e: {error}");
        return ExitCode::FAILURE;
    }
    let mut arguments = Arguments::from_args();
    // Networks wait more than they compute: two at a time use two cores well.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let runtime = clarion_e2e::runtime().unwrap();
    let handle = runtime.handle();
    libtest_mimic::run(&arguments, themes::trials(handle, vec![policies::theme()])).exit_code()
}
