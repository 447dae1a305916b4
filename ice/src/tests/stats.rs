//! What pairs and candidates say of themselves.

use std::time::Duration;

use super::harness::{Net, ms};
use crate::{CandidateKind, PairState, PairStats};

fn selected(net: &Net, end: usize) -> PairStats {
    net.ends[end].agent.pairs().find(|pair| pair.selected).expect("a selected pair")
}

#[test]
fn what_one_side_sends_on_a_pair_the_other_receives() {
    let mut net = Net::connected();
    net.run(Duration::from_secs(60));
    let pairs = [0, 1].map(|end| selected(&net, end));
    for (ours, theirs) in [(pairs[0], pairs[1]), (pairs[1], pairs[0])] {
        assert_eq!(ours.path.local, theirs.path.remote);
        assert_eq!(ours.priority, theirs.priority);
        assert_eq!((ours.state, ours.nominated), (PairState::Succeeded, true));
        let sent = ours.requests_sent + ours.retransmissions_sent + ours.consent_requests_sent;
        assert!(sent.abs_diff(theirs.requests_received) <= 1, "one may have come before there was a pair");
        assert!(ours.responses_received.abs_diff(theirs.responses_sent) <= 1);
        assert!((9..=16).contains(&ours.consent_requests_sent), "{}", ours.consent_requests_sent);
        let measured = u32::try_from(ours.responses_received).unwrap();
        let round_trip = ours.current_round_trip_time.expect("measured");
        assert_eq!(ours.total_round_trip_time, round_trip * measured, "always the same, as is the delay");
        assert_eq!(ours.smoothed_round_trip_time, Some(round_trip));
    }
}

#[test]
fn the_pairs_together_have_sent_what_the_agent_has() {
    let mut net = Net::connected();
    let mut n = 0_u32;
    net.drop = Box::new(move |_, _, _| {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        n >> 30 == 0
    });
    net.run(Duration::from_secs(120));
    for end in &net.ends {
        let stats = end.agent.stats();
        let sum = |count: fn(&PairStats) -> u64| end.agent.pairs().map(|pair| count(&pair)).sum::<u64>();
        assert_eq!(
            sum(|p| p.requests_sent + p.retransmissions_sent + p.consent_requests_sent),
            stats.requests_sent
        );
        assert_eq!(sum(|p| p.retransmissions_sent), stats.retransmissions);
        assert_eq!(sum(|p| p.responses_received), stats.responses_received);
        let (sent, received) = (sum(|p| p.consent_requests_sent), stats.consents);
        assert!(sent > received && received > 0, "a quarter was lost: {received} of {sent}");
        assert_eq!(end.agent.pairs().count(), stats.pairs as usize);
    }
}

#[test]
fn candidates_tell_their_kind_and_a_learned_one_is_peer_reflexive() {
    let mut net = Net::connected();
    net.run(ms(100));
    for (end, other) in [(0, 1), (1, 0)] {
        let (ours, theirs) = (&net.ends[end].agent, &net.ends[other].agent);
        let local: Vec<_> = ours.local_candidate_stats().collect();
        assert_eq!(local.len(), ours.local_candidates().count());
        assert!(local.iter().all(|c| c.kind == CandidateKind::Host && c.priority > 0));
        for candidate in ours.remote_candidate_stats() {
            let signalled = theirs.local_candidate_stats().any(|c| c == candidate);
            assert!(signalled || candidate.kind == CandidateKind::PeerReflexive, "{candidate:?}");
        }
    }
}
