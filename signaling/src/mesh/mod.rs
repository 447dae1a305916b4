//! The "simple" protocol of webrtc_p2p: groups in which everybody is connected with everybody.
//!
//! JSON-RPC 2.0 both ways over one WebSocket for as long as a user takes part; `params` are positional.
//!
//! | method | from | result | errors |
//! |---|---|---|---|
//! | `init()` | user | the user's id | |
//! | `create()` | user | the id of a new group with this user in it | `init RPC required` |
//! | `join(group)` | user | `null` | `not found group id`, `already joined` |
//! | `leave(group)` | user | `null`, also for who is no member | |
//! | `get_members(group)` | user | ids, the asking user's too, the oldest member first | `not joined group` |
//! | `relay(group, user, data)` | user | what the other user answers | `not joined group`, `unknown user id`, and the other's |
//! | `relay(group, user, data)` | server | | |
//! | `member_joined(group, user)`, `member_left(group, user)` | server, as notifications | | |
//!
//! A newcomer relays an offer to each member, and candidates both ways. A relay that is not answered in time is an error.
//! The notifications are ours: the original's programs don't know them, and answer nothing that we would mind.

mod server;
#[cfg(test)]
mod tests;

pub use server::{Limits, Server, Stats};
