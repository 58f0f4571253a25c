//! The metastore's real state machines in a federation of virtual nodes, with lost and late messages, cuts, crashes and wrong clocks.
//!
//! A run follows from its seed, which every failure prints; `JSFS_SEED` repeats one. `JSFS_SIM_SEEDS=100000` runs that many instead of the few of
//! every test run (with `--release`). `JSFS_SIM_ENTRIES=2` cuts a home with so many entries in all of them. `JSFS_SIM_TABLE=1` makes the table of federations of 10, 100 and 1,000 members, which is otherwise made of
//! 10 and 40.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::print_stdout, reason = "the table is what is looked at")]

mod chaos;
mod cutting;
mod hostile;
mod keeping;
mod races;
mod records;
mod shards;
mod table;
mod world;

/// The seeds to run: `JSFS_SEED` alone, or as many as `JSFS_SIM_SEEDS` says, or so many.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("JSFS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JSFS_SIM_SEEDS").unwrap_or(usual),
    }
}

/// How many entries a home has before it is cut: `JSFS_SIM_ENTRIES`, or so many.
fn entries(usual: usize) -> usize {
    std::env::var("JSFS_SIM_ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
