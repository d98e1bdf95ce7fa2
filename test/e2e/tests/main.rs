//! Cases on a real network. Each says what the routers have, and where packets go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod beside;
mod continuity;
mod newcomer;
mod objects;
mod policies;
mod sessions;
mod themes;
mod trouble;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Err(error) = clarion_e2e::enter() {
        eprintln!("e2e: {error}");
        return ExitCode::FAILURE;
    }
    let mut arguments = Arguments::from_args();
    // Networks wait more than they compute: three at a time use two cores well.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    let runtime = clarion_e2e::runtime().unwrap();
    let handle = runtime.handle();
    let themes = [
        policies::theme(),
        beside::theme(),
        continuity::theme(),
        sessions::theme(),
        trouble::theme(),
        newcomer::theme(),
    ];
    libtest_mimic::run(&arguments, themes::trials(handle, themes)).exit_code()
}
