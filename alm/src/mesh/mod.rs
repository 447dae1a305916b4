//! Groups in which everybody is connected with everybody: webrtc_p2p's service over data channels.
//!
//! ```no_run
//! use sinnet_alm::mesh::{GroupEvent, Service};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = sinnet::Endpoint::bind("0.0.0.0:0").await?;
//! let service = Service::join(&endpoint, "ws://127.0.0.1:8080/p2p").await?;
//! let group = service.create_group().await?;
//! println!("others may join {}", group.id());
//! while let Some(event) = group.next_event().await {
//!     match event {
//!         GroupEvent::Connected(user) => group.unicast(&user, "welcome").await?,
//!         GroupEvent::Message { message, .. } => println!("{message:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! The signalling is [`sinnet_signaling::mesh`]'s: JSON-RPC over one WebSocket for as long as the service is joined. A newcomer
//! offers to every member. Channels have the label `simple`, and are ordered and reliable.
//!
//! When the server is gone the connections that are up stay up: messages go on, and nobody can join until the service
//! is joined again.

mod group;
mod link;
mod rpc;
mod service;
#[cfg(test)]
mod tests;

pub use group::{Capability, Group, GroupEvent, SendError};
pub use rpc::CallError;
pub use service::{Service, ServiceError, UserId};
