//! Our SCTP and dcSCTP in single situations that the dice of `differential` do not come to, or not surely.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sinnet_netsim::{LinkConfig, Loss};
use sinnet_sctp::Config;
use sinnet_sctp_peers::{Dcsctp, DcsctpOptions, Endpoint, Happening, Note, Ours, Outgoing, Traffic, World};

const OURS: usize = 0;
const THEIRS: usize = 1;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn config(tune: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    config.max_retransmissions = None;
    config.max_init_retransmissions = None;
    tune(&mut config);
    config
}

fn world(link: LinkConfig, ours: Config, theirs: DcsctpOptions) -> World {
    World::new(sinnet_netsim::seed(5), link, |now| {
        [Box::new(Ours::new(ours, now, [7; 32])), Box::new(Dcsctp::new(theirs, now, 7))]
    })
}

const DELAY: LinkConfig = LinkConfig {
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    rate: None,
    queue: usize::MAX,
    loss: Loss::None,
    reorder: 0.0,
    reorder_delay: Duration::ZERO,
    duplicate: 0.0,
    corrupt: 0.0,
    mtu: usize::MAX,
};

fn message(stream: u16, id: u32, len: usize) -> Outgoing {
    let payload = (0..len).map(|at| (at % 251) as u8).collect();
    Outgoing { stream, id, payload, unordered: false, max_retransmits: None, lifetime: None }
}

/// Takes what a side has received.
fn received(world: &mut World, side: usize) -> Vec<(u32, Bytes)> {
    let log = std::mem::take(&mut world.log[side]);
    let messages = log.into_iter().filter_map(|happening| match happening {
        Happening::Message(message) => Some((message.id, message.payload)),
        Happening::Note(_) => None,
    });
    messages.collect()
}

/// Our side gives and reads in pieces, through a receive buffer of 1 MiB, and gives up odd messages half way.
fn in_pieces(link: LinkConfig, interleaving: bool, piece: usize) -> World {
    let theirs = DcsctpOptions {
        interleaving,
        receive_buffer: 16 << 20,
        send_buffer: 64 << 20,
        ..DcsctpOptions::default()
    };
    let ours = config(|config| {
        config.interleaving = interleaving;
        config.max_message_size_recv = 1 << 30;
        config.max_whole_message = 256 << 10;
        config.receive_buffer = 1 << 20;
        config.send_buffer = 1 << 20;
    });
    World::new(sinnet_netsim::seed(6), link, |now| {
        let ours = Ours::new(ours, now, [7; 32]).in_pieces(piece, |id| id % 2 == 1);
        [Box::new(ours), Box::new(Dcsctp::new(theirs, now, 7))]
    })
}

#[test]
fn messages_in_pieces_arrive_whole_at_dcsctp_or_not_at_all() {
    for (interleaving, loss, piece) in
        [(false, 0.0, 100), (false, 0.02, 7_000), (true, 0.0, 7_000), (true, 0.02, 64 << 10)]
    {
        let link = LinkConfig { loss: Loss::Bernoulli(loss), ..DELAY };
        let mut world = in_pieces(link, interleaving, piece);
        world.connect([true, true]);
        let mut got = Vec::new();
        for (id, len) in
            [(2, 300_000), (3, 500_000), (4, 1), (5, 1_000), (6, 1_148), (7, 90_000), (8, 2_000_000)]
        {
            let sent = Outgoing { unordered: id == 7, ..message(1, id, len) };
            // The one before has to be at its end.
            let begun = world.run_until(Duration::from_secs(60), |world| {
                let now = world.now;
                world.ends[OURS].send(now, &sent)
            });
            assert!(begun, "{id}");
            got.extend(received(&mut world, THEIRS));
        }
        world.run_for(Duration::from_secs(60));
        got.extend(received(&mut world, THEIRS));
        let expected = [(2, 300_000), (4, 1), (6, 1_148), (8, 2_000_000)];
        let expected = expected.map(|(id, len)| (id, message(1, id, len).payload));
        assert!(
            got == expected,
            "{interleaving} {loss}: {:?}",
            got.iter().map(|(id, _)| id).collect::<Vec<_>>()
        );
        assert_eq!(world.ends[OURS].residue(world.now), None);
    }
}

#[test]
fn a_message_of_dcsctp_larger_than_our_receive_buffer_is_read_in_pieces() {
    let mib: usize = std::env::var("SINNET_PIECES_MIB").map_or(3, |mib| mib.parse().expect("a number"));
    for (interleaving, loss) in [(false, 0.0), (true, 0.01)] {
        let link = LinkConfig { loss: Loss::Bernoulli(loss), ..DELAY };
        let mut world = in_pieces(link, interleaving, 1 << 10);
        world.connect([true, true]);
        let sent = message(1, 2, mib << 20);
        assert!(world.ends[THEIRS].send(world.now, &sent));
        assert!(world.ends[THEIRS].send(world.now, &message(1, 4, 10)));
        world.run_for(Duration::from_secs(60 + mib as u64));
        let [(2, large), (4, _)] = &received(&mut world, OURS)[..] else { panic!("not both") };
        assert!(*large == sent.payload);
        assert_eq!(world.ends[OURS].residue(world.now), None);
    }
}

#[test]
fn a_mebibyte_goes_either_way_under_loss() {
    let link = LinkConfig { loss: Loss::Bernoulli(0.02), duplicate: 0.01, ..DELAY };
    let ours =
        config(|config| (config.max_message_size_recv, config.initial_send_buffer) = (1 << 20, 2 << 20));
    let mut world = world(link, ours, DcsctpOptions::default());
    world.connect([true, true]);
    for side in [OURS, THEIRS] {
        assert!(world.ends[side].send(world.now, &message(1, 1, 1 << 20)));
        assert!(world.ends[side].send(world.now, &message(1, 2, 1)));
    }
    world.run_for(Duration::from_secs(60));
    let sent = [1 << 20, 1].map(|len| message(1, 0, len).payload);
    for side in [OURS, THEIRS] {
        let [(1, big), (2, small)] = &received(&mut world, side)[..] else { panic!("not both at {side}") };
        assert!([big, small] == [&sent[0], &sent[1]]);
    }
}

#[test]
fn a_window_that_is_closed_for_minutes_opens_again_on_either_side() {
    let ours = config(|config| (config.receive_buffer, config.max_message_size_recv) = (60_000, 20_000));
    let theirs = DcsctpOptions { receive_buffer: 60_000, ..DcsctpOptions::default() };
    let mut world = world(LinkConfig { loss: Loss::Bernoulli(0.1), ..DELAY }, ours, theirs);
    world.connect([true, false]);
    world.reading = [false, false];
    let mut traffic = Traffic::new(1, [60, 60]);
    traffic.max_len = 20_000;
    for _ in 0..300 {
        traffic.act(&mut world);
        world.run_for(Duration::from_secs(1));
    }
    assert!(!traffic.arrived_from(OURS) && !traffic.arrived_from(THEIRS));
    world.reading = [true, true];
    for _ in 0..120 {
        traffic.act(&mut world);
        world.run_for(Duration::from_secs(1));
        traffic.check(&mut world);
    }
    assert!(traffic.is_done(), "{}", traffic.missing());
}

#[test]
fn more_messages_begun_at_once_than_fit_end_with_a_reason_or_make_the_buffer_grow() {
    // dcSCTP begins a message on each stream, whatever the window holds.
    for (receive_buffer, fits) in [(200_000, false), (8 << 20, true)] {
        let ours = config(|config| {
            (config.receive_buffer, config.max_message_size_recv) = (receive_buffer, 100_000);
            config.initial_receive_buffer = 200_000;
        });
        let theirs = DcsctpOptions { interleaving: true, ..DcsctpOptions::default() };
        let mut world = world(DELAY, ours, theirs);
        world.connect([true, false]);
        for stream in 0..20 {
            assert!(world.ends[THEIRS].send(world.now, &message(stream, u32::from(stream), 99_000)));
        }
        world.run_for(Duration::from_secs(60));
        let ended =
            world.has_said(OURS, |note| matches!(note, Note::Aborted(why) if why == "OutOfReceiveBuffer"));
        assert_eq!(ended, !fits);
        assert_eq!(received(&mut world, OURS).len(), if fits { 20 } else { 0 });
    }
}

#[test]
fn zero_takes_the_place_of_the_checksum_when_both_sides_allow_it() {
    for (we, they) in [(false, false), (false, true), (true, false), (true, true)] {
        let theirs = DcsctpOptions { zero_checksum: they, ..DcsctpOptions::default() };
        let mut world = world(DELAY, config(|config| config.zero_checksum = we), theirs);
        let zeros = Rc::new(RefCell::new([0, 0]));
        let count = zeros.clone();
        world.net.set_filter(move |_, datagram| {
            let side = usize::from(datagram.src.port() == 2);
            let bytes = &datagram.payload.bytes;
            // DATA, SACK and COOKIE ACK; never INIT and what answers it.
            let zero = bytes[8..12] == [0; 4];
            assert!(!zero || side == THEIRS || !matches!(bytes[12], 1 | 2 | 10));
            count.borrow_mut()[side] += usize::from(zero);
            true
        });
        world.connect([we, true]);
        let mut traffic = Traffic::new(2, [30, 30]);
        while !traffic.is_done() {
            traffic.act(&mut world);
            world.run_for(ms(500));
            traffic.check(&mut world);
        }
        let zeros = *zeros.borrow();
        let (ours, theirs) = (zeros[OURS], zeros[THEIRS]);
        assert!(
            if we && they { ours > 30 && theirs > 30 } else { ours + theirs == 0 },
            "{we} {they} {zeros:?}"
        );
    }
}

/// The kinds of the chunks in a packet.
fn kinds(packet: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut rest = &packet[12..];
    while let [kind, _, high, low, ..] = *rest {
        kinds.push(kind);
        let len = usize::from(u16::from_be_bytes([high, low])).next_multiple_of(4);
        rest = rest.get(len..).unwrap_or_default();
    }
    kinds
}

#[test]
fn i_data_and_what_skips_it_take_the_place_of_data_when_both_sides_allow_it() {
    const DATA: [u8; 2] = [0, 192];
    const I_DATA: [u8; 2] = [64, 194];
    for (we, they) in [(false, false), (false, true), (true, false), (true, true)] {
        let theirs = DcsctpOptions { interleaving: they, ..DcsctpOptions::default() };
        let link = LinkConfig { loss: Loss::Bernoulli(0.1), ..DELAY };
        let mut world = world(link, config(|config| config.interleaving = we), theirs);
        let seen = Rc::new(RefCell::new([Vec::new(), Vec::new()]));
        let log = seen.clone();
        world.net.set_filter(move |_, datagram| {
            let side = usize::from(datagram.src.port() == 2);
            log.borrow_mut()[side].extend(kinds(&datagram.payload.bytes));
            true
        });
        world.connect([we, true]);
        let mut traffic = Traffic::new(3, [200, 200]);
        traffic.partial = true;
        traffic.max_len_with_lifetime[THEIRS] = 1;
        while !traffic.is_done() {
            traffic.act(&mut world);
            world.run_for(ms(500));
            traffic.check(&mut world);
        }
        let (used, unused) = if we && they { (I_DATA, DATA) } else { (DATA, I_DATA) };
        for seen in &*seen.borrow() {
            assert!(used.iter().all(|kind| seen.contains(kind)), "{we} {they}");
            assert!(!unused.iter().any(|kind| seen.contains(kind)), "{we} {they}");
        }
    }
}

#[test]
fn either_side_can_start_over_under_the_other() {
    for restarts in [OURS, THEIRS] {
        let mut world = world(DELAY, Config::default(), DcsctpOptions::default());
        world.connect([true, true]);
        for side in [OURS, THEIRS] {
            // Some of it is under way when the side starts over.
            assert!(world.ends[side].send(world.now, &message(1, 1, 5_000)));
        }
        world.run_for(ms(15));
        world.ends[restarts] = if restarts == OURS {
            Box::new(Ours::new(Config::default(), world.now, [8; 32])) as Box<dyn Endpoint>
        } else {
            Box::new(Dcsctp::new(DcsctpOptions::default(), world.now, 8))
        };
        world.log = [Vec::new(), Vec::new()];
        world.ends[restarts].connect(world.now);
        world.run_for(Duration::from_secs(10));
        assert!(world.has_said(1 - restarts, |note| *note == Note::Restarted), "{:?}", world.log);
        assert!(world.has_said(restarts, |note| *note == Note::Connected), "{:?}", world.log);
        world.log = [Vec::new(), Vec::new()];
        for side in [OURS, THEIRS] {
            assert!(world.ends[side].send(world.now, &message(1, 2, 5_000)));
        }
        world.run_for(Duration::from_secs(10));
        for side in [OURS, THEIRS] {
            assert_eq!(received(&mut world, side).last(), Some(&(2, message(1, 2, 5_000).payload)));
            assert_eq!(world.ends[side].residue(world.now), None);
        }
    }
}

#[test]
fn an_hour_of_silence_is_no_reason_to_end() {
    let ours = Config::default();
    let mut world =
        world(LinkConfig { loss: Loss::Bernoulli(0.05), ..DELAY }, ours, DcsctpOptions::default());
    world.connect([true, false]);
    world.run_for(Duration::from_secs(3_600));
    assert!(world.log.iter().all(Vec::is_empty), "{:?}", world.log);
    assert!(world.ends[OURS].send(world.now, &message(3, 1, 10)));
    world.run_for(Duration::from_secs(10));
    assert_eq!(received(&mut world, THEIRS).len(), 1);
}

#[test]
fn a_message_whose_lifetime_ends_between_its_fragments_does_not_end_the_association() {
    let link = LinkConfig { rate: Some(200_000), queue: 6_000, ..DELAY };
    let mut world = world(link, Config::default(), DcsctpOptions::default());
    world.connect([true, true]);
    for id in 0..200 {
        let unreliable = Outgoing { lifetime: Some(ms(150)), ..message(id as u16 % 2, id, 20_000) };
        world.ends[THEIRS].send(world.now, &unreliable);
        world.ends[OURS].send(world.now, &unreliable);
        world.run_for(ms(100));
    }
    world.run_for(Duration::from_secs(30));
    assert!(world.log.iter().flatten().all(|happening| happening.note().is_none()), "{:?}", world.log);
    for side in [OURS, THEIRS] {
        for (_, payload) in received(&mut world, side) {
            assert!(payload == message(0, 0, 20_000).payload);
        }
        for stream in [0, 1] {
            assert!(world.ends[side].send(world.now, &message(stream, 500, 10)));
        }
    }
    world.run_for(Duration::from_secs(30));
    assert_eq!(received(&mut world, OURS).len(), 2, "a stream waits for what was given up");
    assert_eq!(received(&mut world, THEIRS).len(), 2);
}

#[test]
fn the_search_for_the_packet_size_has_its_answers_from_dcsctp() {
    for (mtu, largest) in [(1028, 1000), (1440, 1412), (9000, 8912)] {
        let ours = config(|config| (config.mtu, config.max_mtu) = (1000, 8912));
        let mut world =
            world(LinkConfig { mtu, ..DELAY }, ours, DcsctpOptions { mtu: 1000, ..DcsctpOptions::default() });
        let sizes = Rc::new(RefCell::new((0, 0)));
        let seen = sizes.clone();
        world.net.set_filter(move |_, datagram| {
            let bytes = &datagram.payload.bytes;
            if datagram.src.port() == 1 && bytes[12] != 4 {
                let mut seen = seen.borrow_mut();
                seen.0 = bytes.len().max(seen.0);
                seen.1 += usize::from(bytes[12] == 0 && bytes.len() == largest);
            }
            // It neither complains about the padding nor has trouble with what comes along.
            assert!(bytes[12] != 9 && bytes[12] != 6, "ERROR or ABORT");
            true
        });
        world.connect([true, true]);
        world.run_for(Duration::from_secs(15));
        assert!(world.ends[OURS].send(world.now, &message(1, 1, 200_000)));
        world.run_for(Duration::from_secs(5));
        let [(1, payload)] = &received(&mut world, THEIRS)[..] else { panic!("not arrived") };
        assert!(payload == &message(1, 1, 200_000).payload);
        let (longest, full) = *sizes.borrow();
        assert_eq!(longest, largest, "a link of {mtu}");
        assert!(full >= 20, "{full} full packets");
    }
}
