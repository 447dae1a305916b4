//! Through real address translators: see `sinnet_interop::nat_lab`.
//!
//! Root, iproute2, nftables and coturn are needed.
//!
//! | variable | meaning |
//! |---|---|
//! | `SINNET_NAT_TABLE=write` | writes `table.txt` anew |
//!
//! A benchmark of relays is in `bench.rs`, by hand.

mod bench;
mod browsers;
mod change;
mod direct;
mod end;
mod flow;
mod relays;
mod servers;
mod table;

/// A test on a runtime of two threads; the hosts have a thread each.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}
