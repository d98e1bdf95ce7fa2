//! The table at the end of `make bench`: each figure that was measured, what it is to reach, and whether it does.

use clarion_bench::{Result, recorded};

fn main() -> Result<()> {
    let figures = recorded()?;
    println!("\n{:<64} {:>16} {:>16} {:>6}", "figure", "to reach", "is", "ratio");
    for figure in &figures {
        println!("{}", figure.line());
    }
    let missed = figures.iter().filter(|figure| !figure.is_reached()).count();
    println!("{} of {} figures reached", figures.len() - missed, figures.len());
    Ok(())
}
