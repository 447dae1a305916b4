//! What it costs to poll a connection's statistics: no memory.

use std::hint::black_box;

use allocation_counter::measure;
use sinnet_netsim::LinkConfig;
use sinnet_peer::ChannelOptions;
use sinnet_stack_tests::World;

#[test]
fn statistics_are_polled_without_allocating() {
    let mut world = World::new(1, LinkConfig::default());
    world.connect();
    let (key, _) = world.channel(ChannelOptions::default());
    let peer = &world.a.peer;
    let mut seen = 0;
    let allocated = measure(|| {
        black_box(peer.stats());
        black_box(peer.channel_stats(key));
        seen = peer.all_channel_stats().count()
            + peer.candidate_pairs().count()
            + peer.local_candidates().count()
            + peer.remote_candidates().count();
    });
    assert_eq!(
        (allocated.count_total, seen),
        (0, 4),
        "nothing for one channel, pair, candidate of ours and of theirs"
    );
}
