//! The "Simple" signalling protocol of WebRTC_ALM: groups, and joins relayed between members of a tree.
//!
//! Members talk JSON over WebSockets; `m` is the method. The server knows of a group only its owner's socket: who is in the
//! tree, and where a newcomer finds a place in it, the members decide among themselves.
//!
//! ```text
//! owner                      server                       joiner                  acceptor (owner, or below it)
//!   │ create {g,d}  ───────▶ │                              │                         │
//!   │ ◀─── create {r,g,n,d}  │                              │                         │
//!   │                        │ ◀───────────── join {g,n,i?} │                         │
//!   │ ◀───── join {g,e,i,n}  │ join {r,g,n,d,i} ──────────▶ │                         │
//!   │ ── the same through the tree, over data channels, to who has a place ─────────▶ │
//!   │                        │ ◀───────────────────────────────────── join_res {i,e}  │  on a WebSocket of its own
//!   │                        │ join_res {i,k} ────────────▶ │                         │
//!   │                        │ ◀───────────── offer {i,k,s} │ ─ without k ──────────▶ │
//!   │                        │ ── with k ─────────────────▶ │ ◀──────── answer {i,s}  │
//!   │                        │ ◀─────────── ice {k,d} / {d} in either direction ────▶ │
//! ```
//!
//! Both of the latter close their sockets once the data channel is up.
//!
//! | field | what |
//! |---|---|
//! | `g` | a group: its name when it is created, its name or number when it is joined, its number in answers |
//! | `n` | in a join, connections wanted; in answers, the group's name |
//! | `i` | a node's number in its group: 0 is the owner, newcomers get theirs from the server |
//! | `e` | which join a `join_res` belongs to; a secret of those who got the join |
//! | `k` | one of a joiner's acceptors, from 0; only joiners send and get it |
//! | `s`, `d` | description and candidate, whatever they are |
//! | `t` | proof of a node's number, from the join's answer: with it a later join keeps the number |
//! | `x` | in a create, the owner's secret and the first free number, for a group that comes back after a restart of the server (`docs/alm.md`) |
//! | `r` | in answers, `ok` or what is wrong |

mod server;
#[cfg(test)]
mod tests;

pub use server::{Limits, Server, Stats};
