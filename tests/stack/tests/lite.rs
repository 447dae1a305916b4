//! ICE-lite over the whole stack, with descriptions (RFC 8445 §2.5, RFC 8839 §5.3).

use std::cell::Cell;
use std::time::Duration;

use sinnet_netsim::{LinkConfig, Loss, seed};
use sinnet_peer::{ChannelOptions, CloseReason, ConnectionState, Role, SdpType};
use sinnet_stack_tests::World;

/// `a` offers; which of the two are lite.
fn world(default: u64, lite: [bool; 2], loss: f64) -> World {
    let link =
        LinkConfig { delay: Duration::from_millis(20), loss: Loss::Bernoulli(loss), ..LinkConfig::default() };
    let which = Cell::new(0);
    World::with_config(seed(default), link, |config| {
        let mut ice = (*config.ice).clone();
        ice.lite = lite[which.replace(which.get() + 1)];
        config.ice = ice.into();
    })
}

#[test]
fn whoever_is_lite_says_so_and_the_other_does_the_work() {
    for lite in [[true, false], [false, true], [true, true]] {
        let mut world = world(0x117e, lite, 0.05);
        world.connect();
        let (ours, theirs) = world.channel(ChannelOptions::default());
        let now = world.now;
        world.a.peer.try_send(now, ours, b"hello".to_vec().into()).unwrap();
        world.run_for(Duration::from_secs(60));
        assert_eq!(world.b.peer.recv(theirs).unwrap().as_bytes(), b"hello");
        for (end, is_lite, other) in [(&world.a, lite[0], lite[1]), (&world.b, lite[1], lite[0])] {
            let (_, described) = end.peer.local_description().unwrap();
            assert_eq!(described.contains("\r\na=ice-lite\r\n"), is_lite);
            // At the session's level, before the first m-line.
            assert!(!is_lite || described.find("a=ice-lite") < described.find("m="));
            let stats = end.peer.stats();
            assert_eq!(stats.ice.requests_sent == 0, is_lite, "{lite:?}");
            if is_lite != other {
                let role = if is_lite { Role::Controlled } else { Role::Controlling };
                assert_eq!(stats.transport.ice_role, role);
            }
            assert_eq!(end.peer.connection_state(), ConnectionState::Connected);
        }
        let [a, b] = [&world.a, &world.b].map(|end| end.peer.selected_path().unwrap());
        assert_eq!((a.local, a.remote), (b.remote, b.local));
    }
}

#[test]
fn a_lite_server_restarts_ice_with_a_full_client() {
    let mut world = world(0x117f, [false, true], 0.02);
    world.connect();
    for _ in 0..2 {
        let now = world.now;
        let a = &mut world.a.peer;
        a.restart_ice(now);
        a.create_offer().unwrap();
        a.set_local_description(now, SdpType::Offer, "").unwrap();
        let offer = a.local_description().unwrap().1;
        let b = &mut world.b.peer;
        b.set_remote_description(now, SdpType::Offer, &offer).unwrap();
        b.create_answer().unwrap();
        b.set_local_description(now, SdpType::Answer, "").unwrap();
        let answer = b.local_description().unwrap().1;
        world.a.peer.set_remote_description(now, SdpType::Answer, &answer).unwrap();
        world.run_for(Duration::from_secs(8));
    }
    for end in [&world.a, &world.b] {
        let stats = end.peer.stats();
        assert_eq!((stats.ice_restarts, end.peer.connection_state()), (2, ConnectionState::Connected));
        assert_eq!(stats.ice.refused, 0);
    }
    assert_eq!(world.b.peer.stats().ice.requests_sent, 0);
}

#[test]
fn a_lite_end_notices_that_the_full_one_has_gone() {
    let mut world = world(0x1180, [false, true], 0.0);
    world.connect();
    world.channel(ChannelOptions::default());
    world.net.set_filter(|_, _| false);
    world.run_for(Duration::from_secs(14));
    assert_eq!(world.b.peer.connection_state(), ConnectionState::Disconnected);
    world.run_for(Duration::from_secs(20));
    assert!(matches!(world.b.closed(), Some(CloseReason::Ice(_))), "{:?}", world.b.closed());
}
