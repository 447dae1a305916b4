//! Our own control frames, types 5 to 12. Old nodes ignore them; we send them only to who offered `x` in its join, or
//! sent one first.
//!
//! All numbers are little-endian; a list is a count byte and 32-bit ids. Bytes behind the end are ignored: a later version
//! may put something there.
//!
//! ```text
//!  5 attach     role:1 epoch:4 next:8 credit:8 size:4
//!  6 path       kind:1 epoch:4 next:8 path:list siblings:list uncles:list
//!  7 heartbeat  stamp:4 echo:4 held:4 tick:4 epoch:4 next:8 size:4 height:1 parents:1
//!  8 route      hops:1 to:list from:list kind:1 body
//!                 0 ask     role:1 limit:1 size:4 avoid:4
//!                 1 accept  role:1
//!                 2 refuse
//!                 3 signal  bytes of the owner of the machine
//!  9 report     tree info (as in notify-tree-info), then rtt:4 rate:4 lag:8
//! 10 detach     reason:1
//! 11 gap        epoch:4 from:8 to:8
//! 12 credit     credit:8
//! ```

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Frame, FrameType, MAX_LINKS, NodeId, ParseError, Sequence, TreeInfo};

/// Most nodes on a root path. A tree of degree 2 with 64 levels has no end.
pub const MAX_PATH: usize = 64;

/// Most siblings, and most uncles, that a path frame names.
pub const MAX_RELATIVES: usize = 8;

/// Most links a side that a report names.
pub const MAX_REPORT_LINKS: usize = MAX_LINKS;

/// Most bytes of a signal that is routed through the tree; a description with its candidates has a few thousand.
pub const MAX_SIGNAL: usize = 16 * 1024;

/// What a child wants of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Heartbeats only.
    Warm,
    /// Data.
    Eager,
}

/// Child to parent: what the child wants from now on. The last one counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attach {
    /// Data, or heartbeats only.
    pub role: Role,
    /// Which life of the source `next` belongs to; 0 for who has nothing yet.
    pub epoch: u32,
    /// The first message that is missing.
    pub next: Sequence,
    /// Bytes of multicast frames that may be sent, counted from this attach on.
    pub credit: u64,
    /// Nodes in the child's subtree, itself included.
    pub size: u32,
}

/// Parent to child: where the parent is in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathInfo {
    /// Whether the group is reliable (1) or live (0).
    pub reliable: bool,
    /// The source's life; 0 if the parent knows none yet.
    pub epoch: u32,
    /// The message that follows the newest one the parent has.
    pub next: Sequence,
    /// The parent's root path, root first, the parent last. Empty if the parent hangs in no tree.
    pub path: Vec<NodeId>,
    /// Other children of the parent, the receiver among them or not.
    pub siblings: Vec<NodeId>,
    /// Other children of the grandparent.
    pub uncles: Vec<NodeId>,
}

/// Both ways on every link of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// The sender's clock in microseconds; wraps around.
    pub stamp: u32,
    /// The newest stamp that the sender got from the receiver.
    pub echo: u32,
    /// Microseconds that the sender held it; `u32::MAX` if it has none.
    pub held: u32,
    /// Downwards: a count that the root raises with each of its heartbeats. Who sees it stand still is cut off.
    pub tick: u32,
    /// As in [`Attach`].
    pub epoch: u32,
    /// The message that follows the newest one the sender has.
    pub next: Sequence,
    /// Upwards: nodes in the subtree, the sender included. Downwards: nodes in the group, as the root knows.
    pub size: u32,
    /// Upwards: levels below the sender.
    pub height: u8,
    /// Upwards: upstreams of the sender. With one alone it is not sent away from its place.
    pub parents: u8,
}

/// A frame that goes along the tree to one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Links that it may still pass.
    pub hops: u8,
    /// The root path of the receiver, which is its last id. Not empty.
    pub to: Vec<NodeId>,
    /// The root path of the sender, which is its last id. Not empty.
    pub from: Vec<NodeId>,
    /// What it carries.
    pub body: Routed,
}

/// What a routed frame carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Routed {
    /// The sender looks for an upstream. Who can't be it passes the ask on to a child.
    Ask(Ask),
    /// The receiver may connect to the sender, which keeps the place for a while.
    Accept(Role),
    /// Nobody on the way could be the upstream.
    Refuse,
    /// Descriptions and candidates, between the owners of the two machines.
    Signal(Bytes),
}

/// Looking for an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// What it is to be.
    pub role: Role,
    /// The parent's root path must have fewer nodes than this.
    pub limit: u8,
    /// Nodes in the asker's subtree.
    pub size: u32,
    /// A node that should not be on the parent's root path: the asker's other upstream. Its own id for none.
    pub avoid: NodeId,
}

/// Upwards to the owner: a node, its neighbours and how it fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Who, and its links; the eager parent is the first upstream.
    pub links: TreeInfo,
    /// Round-trip time to the eager parent.
    pub rtt: Duration,
    /// Multicast bytes received per second, lately.
    pub rate: u32,
    /// Messages that the parent has and the node has not.
    pub lag: u64,
}

/// Either way: the link is of no use any more. The owner of the machine closes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detach(pub u8);

impl Detach {
    /// The sender leaves the group or has found somebody else.
    pub const LEAVING: Self = Self(0);
    /// The place is needed for a node that delivers to more.
    pub const PLACE_NEEDED: Self = Self(1);
    /// The link would close a cycle.
    pub const CYCLE: Self = Self(2);
    /// There is no place.
    pub const FULL: Self = Self(3);
    /// The parent brings less than a standby has.
    pub const SLOW: Self = Self(4);
}

/// A control frame of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// Type 5.
    Attach(Attach),
    /// Type 6.
    Path(PathInfo),
    /// Type 7.
    Heartbeat(Heartbeat),
    /// Type 8.
    Route(Route),
    /// Type 9.
    Report(Report),
    /// Type 10.
    Detach(Detach),
    /// Type 11: the parent can't deliver the messages from the first up to the second, which is not among them.
    Gap {
        /// The source's life.
        epoch: u32,
        /// The first message that is missing.
        from: Sequence,
        /// The first one behind the gap.
        to: Sequence,
    },
    /// Type 12: bytes that may be sent, counted from the last attach on. It only grows.
    Credit(u64),
}

impl Control {
    /// Reads the body of a frame. `None` if the type is none of ours.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`], [`ParseError::TooLong`] for a list over its limit, [`ParseError::UnknownCode`].
    pub fn parse(frame_type: FrameType, body: &Bytes) -> Result<Option<Self>, ParseError> {
        let mut r = Reader(body.clone());
        Ok(Some(match frame_type.0 {
            5 => Self::Attach(Attach {
                role: r.role()?,
                epoch: r.u32()?,
                next: r.sequence()?,
                credit: r.u64()?,
                size: r.u32()?,
            }),
            6 => Self::Path(PathInfo {
                reliable: r.flag()?,
                epoch: r.u32()?,
                next: r.sequence()?,
                path: r.list(MAX_PATH)?,
                siblings: r.list(MAX_RELATIVES)?,
                uncles: r.list(MAX_RELATIVES)?,
            }),
            7 => Self::Heartbeat(Heartbeat {
                stamp: r.u32()?,
                echo: r.u32()?,
                held: r.u32()?,
                tick: r.u32()?,
                epoch: r.u32()?,
                next: r.sequence()?,
                size: r.u32()?,
                height: r.u8()?,
                parents: r.u8()?,
            }),
            8 => Self::Route(Route {
                hops: r.u8()?,
                to: r.path()?,
                from: r.path()?,
                body: match r.u8()? {
                    0 => Routed::Ask(Ask {
                        role: r.role()?,
                        limit: r.u8()?,
                        size: r.u32()?,
                        avoid: NodeId(r.u32()?),
                    }),
                    1 => Routed::Accept(r.role()?),
                    2 => Routed::Refuse,
                    3 if r.0.len() > MAX_SIGNAL => return Err(ParseError::TooLong),
                    3 => Routed::Signal(r.0),
                    code => return Err(ParseError::UnknownCode(code)),
                },
            }),
            9 => Self::Report(r.report()?),
            10 => Self::Detach(Detach(r.u8()?)),
            11 => Self::Gap { epoch: r.u32()?, from: r.sequence()?, to: r.sequence()? },
            12 => Self::Credit(r.u64()?),
            _ => return Ok(None),
        }))
    }

    /// The frame. Lists and signals over their limit are cut off at it; the caller keeps to it.
    pub fn to_frame(&self) -> Frame {
        let mut b = BytesMut::new();
        let frame_type = match self {
            Self::Attach(attach) => {
                b.put_u8(attach.role.code());
                b.put_u32_le(attach.epoch);
                b.put_u64_le(attach.next.0);
                b.put_u64_le(attach.credit);
                b.put_u32_le(attach.size);
                5
            }
            Self::Path(info) => {
                b.put_u8(info.reliable.into());
                b.put_u32_le(info.epoch);
                b.put_u64_le(info.next.0);
                put_list(&mut b, &info.path, MAX_PATH);
                put_list(&mut b, &info.siblings, MAX_RELATIVES);
                put_list(&mut b, &info.uncles, MAX_RELATIVES);
                6
            }
            Self::Heartbeat(beat) => {
                b.put_u32_le(beat.stamp);
                b.put_u32_le(beat.echo);
                b.put_u32_le(beat.held);
                b.put_u32_le(beat.tick);
                b.put_u32_le(beat.epoch);
                b.put_u64_le(beat.next.0);
                b.put_u32_le(beat.size);
                b.put_u8(beat.height);
                b.put_u8(beat.parents);
                7
            }
            Self::Route(route) => {
                b.put_u8(route.hops);
                put_list(&mut b, &route.to, MAX_PATH);
                put_list(&mut b, &route.from, MAX_PATH);
                match &route.body {
                    Routed::Ask(ask) => {
                        b.put_slice(&[0, ask.role.code(), ask.limit]);
                        b.put_u32_le(ask.size);
                        b.put_u32_le(ask.avoid.0);
                    }
                    Routed::Accept(role) => b.put_slice(&[1, role.code()]),
                    Routed::Refuse => b.put_u8(2),
                    Routed::Signal(bytes) => {
                        b.put_u8(3);
                        b.put_slice(&bytes[..bytes.len().min(MAX_SIGNAL)]);
                    }
                }
                8
            }
            Self::Report(report) => {
                b.put_slice(&report.links.write());
                b.put_u32_le(u32::try_from(report.rtt.as_micros()).unwrap_or(u32::MAX));
                b.put_u32_le(report.rate);
                b.put_u64_le(report.lag);
                9
            }
            Self::Detach(reason) => {
                b.put_u8(reason.0);
                10
            }
            Self::Gap { epoch, from, to } => {
                b.put_u32_le(*epoch);
                b.put_u64_le(from.0);
                b.put_u64_le(to.0);
                11
            }
            Self::Credit(credit) => {
                b.put_u64_le(*credit);
                12
            }
        };
        Frame::new(FrameType(frame_type), Sequence(0), &b)
    }
}

impl Role {
    fn code(self) -> u8 {
        match self {
            Self::Warm => 0,
            Self::Eager => 1,
        }
    }
}

fn put_list(b: &mut BytesMut, ids: &[NodeId], max: usize) {
    let ids = &ids[..ids.len().min(max)];
    b.put_u8(ids.len() as u8);
    ids.iter().for_each(|id| b.put_u32_le(id.0));
}

/// A cursor over a body; every read is checked.
struct Reader(Bytes);

impl Reader {
    fn u8(&mut self) -> Result<u8, ParseError> {
        self.0.try_get_u8().map_err(|_| ParseError::Truncated)
    }

    fn u32(&mut self) -> Result<u32, ParseError> {
        self.0.try_get_u32_le().map_err(|_| ParseError::Truncated)
    }

    fn u64(&mut self) -> Result<u64, ParseError> {
        self.0.try_get_u64_le().map_err(|_| ParseError::Truncated)
    }

    fn sequence(&mut self) -> Result<Sequence, ParseError> {
        Ok(Sequence(self.u64()?))
    }

    fn flag(&mut self) -> Result<bool, ParseError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(ParseError::UnknownCode(code)),
        }
    }

    fn role(&mut self) -> Result<Role, ParseError> {
        Ok(if self.flag()? { Role::Eager } else { Role::Warm })
    }

    fn list(&mut self, max: usize) -> Result<Vec<NodeId>, ParseError> {
        let count = usize::from(self.u8()?);
        if count > max {
            return Err(ParseError::TooLong);
        }
        (0..count).map(|_| Ok(NodeId(self.u32()?))).collect()
    }

    fn path(&mut self) -> Result<Vec<NodeId>, ParseError> {
        let path = self.list(MAX_PATH)?;
        if path.is_empty() { Err(ParseError::Truncated) } else { Ok(path) }
    }

    fn report(&mut self) -> Result<Report, ParseError> {
        let ids = self.0.get(4..12).ok_or(ParseError::Truncated)?;
        let count = |at: usize| ids[at..at + 4].iter().rev().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let (ups, downs) = (count(0), count(4));
        if ups > MAX_LINKS || downs > MAX_LINKS {
            return Err(ParseError::TooLong);
        }
        let end = 12 + (ups + downs) * 4;
        if self.0.len() < end {
            return Err(ParseError::Truncated);
        }
        let links = TreeInfo::parse(&self.0.split_to(end))?;
        let rtt = Duration::from_micros(self.u32()?.into());
        Ok(Report { links, rtt, rate: self.u32()?, lag: self.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(max: usize) -> impl Strategy<Value = Vec<NodeId>> {
        prop::collection::vec(any::<u32>().prop_map(NodeId), 0..=max)
    }

    fn path() -> impl Strategy<Value = Vec<NodeId>> {
        prop::collection::vec(any::<u32>().prop_map(NodeId), 1..=MAX_PATH)
    }

    fn role() -> impl Strategy<Value = Role> {
        prop_oneof![Just(Role::Warm), Just(Role::Eager)]
    }

    fn routed() -> impl Strategy<Value = Routed> {
        prop_oneof![
            (role(), any::<u8>(), any::<u32>(), any::<u32>()).prop_map(|(role, limit, size, avoid)| {
                Routed::Ask(Ask { role, limit, size, avoid: NodeId(avoid) })
            }),
            role().prop_map(Routed::Accept),
            Just(Routed::Refuse),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Routed::Signal(bytes.into())),
        ]
    }

    fn control() -> impl Strategy<Value = Control> {
        prop_oneof![
            (role(), any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
                |(role, epoch, next, credit, size)| {
                    Control::Attach(Attach { role, epoch, next: Sequence(next), credit, size })
                }
            ),
            (
                any::<bool>(),
                any::<u32>(),
                any::<u64>(),
                ids(MAX_PATH),
                ids(MAX_RELATIVES),
                ids(MAX_RELATIVES)
            )
                .prop_map(|(reliable, epoch, next, path, siblings, uncles)| {
                    let next = Sequence(next);
                    Control::Path(PathInfo { reliable, epoch, next, path, siblings, uncles })
                }),
            (any::<[u32; 6]>(), any::<u64>(), any::<u8>()).prop_map(|(n, next, height)| {
                let parents = height;
                let [stamp, echo, held, tick, epoch, size] = n;
                let next = Sequence(next);
                Control::Heartbeat(Heartbeat { stamp, echo, held, tick, epoch, next, size, height, parents })
            }),
            (any::<u8>(), path(), path(), routed())
                .prop_map(|(hops, to, from, body)| Control::Route(Route { hops, to, from, body })),
            (any::<u32>(), ids(MAX_LINKS), ids(MAX_LINKS), any::<u32>(), any::<u32>(), any::<u64>())
                .prop_map(|(id, upstreams, downstreams, rtt, rate, lag)| {
                    let links = TreeInfo { id: NodeId(id), upstreams, downstreams };
                    Control::Report(Report { links, rtt: Duration::from_micros(rtt.into()), rate, lag })
                }),
            any::<u8>().prop_map(|reason| Control::Detach(Detach(reason))),
            (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(epoch, from, to)| Control::Gap {
                epoch,
                from: Sequence(from),
                to: Sequence(to)
            }),
            any::<u64>().prop_map(Control::Credit),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(control in control()) {
            let frame = control.to_frame();
            prop_assert!((5..=12).contains(&frame.frame_type().0));
            prop_assert_eq!(Control::parse(frame.frame_type(), &frame.body()), Ok(Some(control)));
        }

        #[test]
        fn a_frame_cut_short_is_refused_unless_it_is_a_signal(control in control(), at: prop::sample::Index) {
            let frame = control.to_frame();
            let cut = at.index(frame.body().len().max(1));
            let short = frame.body().slice(..cut.min(frame.body().len()));
            let read = Control::parse(frame.frame_type(), &short);
            let is_signal = matches!(&control, Control::Route(Route { body: Routed::Signal(_), .. }));
            prop_assert!(is_signal || frame.body().is_empty() || read.is_err(), "{:?}", read);
        }

        #[test]
        fn what_a_later_version_appends_is_ignored(control in control(), more in prop::collection::vec(any::<u8>(), 1..9)) {
            let frame = control.to_frame();
            let long: Bytes = [&frame.body()[..], &more].concat().into();
            if !matches!(&control, Control::Route(Route { body: Routed::Signal(_), .. })) {
                prop_assert_eq!(Control::parse(frame.frame_type(), &long), Ok(Some(control)));
            }
        }
    }

    #[test]
    fn types_of_others_are_none_of_ours() {
        for other in (0..5).chain(13..=255) {
            assert_eq!(Control::parse(FrameType(other), &Bytes::new()), Ok(None));
        }
    }

    #[test]
    fn a_route_without_a_receiver_and_lists_over_their_limit_are_refused() {
        let route = |to: usize| {
            let mut body = vec![9, to as u8];
            body.resize(2 + to * 4, 0);
            body.extend([1, 7, 0, 0, 0, 2]);
            Control::parse(FrameType(8), &body.into())
        };
        assert_eq!(route(0), Err(ParseError::Truncated));
        assert!(matches!(route(1), Ok(Some(Control::Route(_)))));
        assert_eq!(route(MAX_PATH + 1), Err(ParseError::TooLong));
        let signal = Route {
            hops: 1,
            to: vec![NodeId(1)],
            from: vec![NodeId(2)],
            body: Routed::Signal(Bytes::from(vec![0; MAX_SIGNAL])),
        };
        let body = Control::Route(signal).to_frame().body();
        assert!(Control::parse(FrameType(8), &body).is_ok());
        let longer: Bytes = [&body[..], &[0]].concat().into();
        assert_eq!(Control::parse(FrameType(8), &longer), Err(ParseError::TooLong));
    }
}
