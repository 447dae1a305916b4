//! By hand: `cargo test --release -p sinnet-interop --test nat -- --ignored --nocapture`.

use std::time::Duration;

use sinnet_interop::nat_lab::{Nat, NatLab};

use crate::end::{Way, begin, now, settled};
use crate::flow::Flow;
use crate::run;
use crate::servers::{By, Over, Servers};

#[test]
#[ignore = "a benchmark"]
fn throughput_and_time_to_connect_direct_and_relayed() {
    run(async {
        let lab = NatLab::new(&[(Nat::Preserving, 1), (Nat::Preserving, 1)]).expect("a lab");
        let servers = Servers::start(&lab).await;
        let by = |by| Over::ALL.map(|over| Some((by, over)));
        let ways = [[None].as_slice(), &by(By::Coturn), &by(By::Ours)].concat();
        for relay in ways {
            let mut way = Way::asking(&["stun:198.51.100.1"]);
            if let Some((by, over)) = relay {
                way = way.and_turn(&servers, by, &[over]).relayed();
            }
            let began = now();
            let mut ends = begin([lab.sites[0].host(), lab.sites[1].host()], [way.clone(), way]).await;
            settled(&mut ends).await;
            let up = began.elapsed();
            let mut flow = Flow::begin(&ends[0], &ends[1]);
            flow.more(200).await;
            let (began, before) = (now(), flow.arrived());
            tokio::time::sleep(Duration::from_secs(4)).await;
            let bytes = (flow.arrived() - before) * crate::flow::BYTES;
            let rate = 8e-6 * bytes as f64 / began.elapsed().as_secs_f64();
            flow.end().await;
            let what = relay.map_or("direct".to_owned(), |(by, over)| format!("{by:?} over {over:?}"));
            println!("{what:<16} {:>5} ms to connect, {rate:>6.0} Mbit/s", up.as_millis());
        }
    });
}
