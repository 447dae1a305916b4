//! Multicast groups over real connections: WebRTC_ALM's service, native.
//!
//! ```no_run
//! use sinnet_alm::group::{GroupEvent, GroupKind, Options, WebRtcAlm};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "ws://127.0.0.1:8080/alm";
//! // The owner is the root of the tree, and the one who sends.
//! let owner = WebRtcAlm::new(GroupKind::Reliable, url, Options::default());
//! owner.create("lecture", "Mondays at nine").await?;
//!
//! let member = WebRtcAlm::new(GroupKind::Reliable, url, Options::default());
//! member.join("lecture").await?;
//!
//! owner.multicast("good morning").await?;
//! while let Some(event) = member.next_event().await {
//!     match event {
//!         GroupEvent::Message { message, .. } => println!("{message:?}"),
//!         GroupEvent::StateChange { id, direction, state } => println!("{id} {direction:?} {state:?}"),
//!         _ => {}
//!     }
//! }
//! member.leave().await;
//! # Ok(()) }
//! ```
//!
//! One task drives an [`overlay::Node`](crate::overlay::Node): it makes the connections that the node asks for, by the server's
//! WebSocket or by signals along the tree, and gives each channel as much as it has room for. See `docs/alm.md`.
//!
//! ```text
//! WebRtcAlm ── publish ──▶ ┌────────┐ ◀── texts ─── socket tasks    one a WebSocket: control, join, acceptors
//!           ◀── Queue ──── │ driver │
//!                          └────────┘ ◀── frames ── link tasks      one a connection; frames go out by try_send
//! ```
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! |---|---|---|
//! | messages that wait for [`WebRtcAlm::next_event`] | 256 KiB here and [`window`](crate::overlay::Config::window) in the node | reliable: the sender waits; live: the oldest go |
//! | other events that wait | 1024 | dropped, but for the last one |
//! | messages that wait in [`WebRtcAlm::multicast`] | 16 | the callers wait |
//! | unsent bytes of a channel | a tenth of a second's worth ([`ChannelBudget`](crate::overlay::ChannelBudget)), and a frame | the rest stays in the node |
//! | connections | what the node allows, and 8 that are being made | offers are ignored |
//! | candidates before their description | 64 a connection, 32 before the offer | dropped |
//! | how long a connection may take | [`Options::patience`] | given up |

mod driver;
mod event;
mod link;
mod links;
mod member;
mod options;
mod places;
mod queue;
mod signal;
mod socket;
#[cfg(test)]
mod tests;

pub use crate::frame::{NodeId, Report, Sequence};
pub use crate::overlay::{Direction, GroupKind, MAX_MESSAGE, Message, TreeEntry};
pub use event::{Ended, GroupEvent, LinkState};
pub use member::WebRtcAlm;
pub use options::{MulticastError, Options, StartError, Status};
