//! ICE restarts (RFC 8445 §9) by either side, while messages go back and forth.

use std::time::Duration;

use serde_json::{Value, json};
use sinnet_interop::lab::Lab;
use sinnet_interop::session::Cell;

use crate::messages::echoing;

pub(crate) async fn ice_restarts_by_either_side_lose_nothing(lab: &mut Lab, cell: Cell) {
    let session = echoing(lab, cell).await;
    session.ask("connected", json!([])).await;
    let mut messages = Vec::new();
    let mut expected = Vec::new();
    for i in 0..500_usize {
        let size = (i * 7919) % 30_000;
        messages.push(json!({ "binary": size }));
        expected.push(json!(["binary", size]));
    }
    let rounds = [true, false, true];
    for (round, by_browser) in rounds.into_iter().enumerate() {
        let before = session.ask("ufrags", json!([])).await;
        if by_browser {
            session.ask("restart", json!([])).await;
        } else {
            session.peer.restart_ice();
        }
        let back = session.ask("burst", json!(["echo", messages])).await;
        assert_eq!(back, Value::from(expected.clone()), "round {round}");
        session.ask("restarted", json!([before, 10_000])).await;
        // The page is up with the new session when either side's checks have passed, the peer when both have.
        let has_restarted = || session.peer.log.text().matches("ICE has restarted").count() > round;
        for _ in 0..100 {
            if has_restarted() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(has_restarted(), "round {round}");
        let back = session.ask("echo", json!(["echo", [{ "binary": 10 }]])).await;
        assert_eq!(back, json!([["binary", 10]]), "round {round}");
    }
    session.hang_up().await;
}
