//! What a node knows of one link.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::{MAX_CONTROL, MAX_CONTROL_BYTES};
use super::event::Direction;
use crate::frame::{Control, Frame, FrameType, Heartbeat, NodeId, PathInfo, Role, Sequence};

const HEARTBEAT: FrameType = FrameType(7);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    pub(crate) direction: Direction,
    /// It speaks our frames.
    pub(crate) ours: bool,
    /// Its owner was asked to close it: what waits is still sent, nothing is received.
    pub(crate) closing: bool,
    /// Down: what the child wants. Up: what we asked for. `None` before the first attach.
    pub(crate) role: Option<Role>,
    control: VecDeque<Frame>,
    /// Bytes of those in it that can wait.
    waiting: usize,
    pub(crate) last_heard: Instant,
    /// The newest stamp of the peer, and when it came.
    stamp: Option<(u32, Instant)>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) tick: u32,
    pub(crate) tick_at: Instant,
    pub(crate) epoch: u32,
    /// The message that follows the newest one that the peer has.
    pub(crate) peer_next: Sequence,

    /// Down: the child's subtree.
    pub(crate) size: u32,
    pub(crate) height: u8,
    pub(crate) parents: u8,
    /// Down: since when it wants data.
    pub(crate) eager_since: Instant,
    /// Down: the next message to send; `None` as long as this node has no message.
    pub(crate) cursor: Option<Sequence>,
    pub(crate) sent: u64,
    pub(crate) credit: u64,
    /// Down: since when it lags, and its position in the store then.
    pub(crate) behind: Option<(Instant, u64)>,
    /// Down: it lags for so long that it no longer holds back the others.
    pub(crate) straggler: bool,
    /// Down: it was promised a place that another child has to leave.
    pub(crate) displaces: bool,
    /// Down: reports taken from it since the owner asked last.
    pub(crate) reports: usize,
    /// Down: attaches taken from it; one is forgotten each heartbeat.
    pub(crate) attaches: u8,

    /// Up: where the parent is.
    pub(crate) path: Option<PathInfo>,
    /// Up: bytes of multicast frames since the last attach, and how many were allowed.
    pub(crate) received: u64,
    pub(crate) granted: u64,
    /// Up: what the parent had and we had not, and when it said so; until we have it.
    pub(crate) ahead: Option<(Sequence, Instant)>,
}

impl Link {
    pub(crate) fn new(now: Instant, peer: NodeId, direction: Direction, ours: bool) -> Self {
        Self {
            peer,
            direction,
            ours,
            closing: false,
            role: None,
            control: VecDeque::new(),
            waiting: 0,
            last_heard: now,
            stamp: None,
            rtt: None,
            tick: 0,
            tick_at: now,
            epoch: 0,
            peer_next: Sequence::default(),
            size: 1,
            height: 0,
            parents: 1,
            eager_since: now,
            cursor: None,
            sent: 0,
            credit: 0,
            behind: None,
            straggler: false,
            displaces: false,
            reports: 0,
            attaches: 0,
            path: None,
            received: 0,
            granted: 0,
            ahead: None,
        }
    }

    pub(crate) fn is_child(&self) -> bool {
        self.direction == Direction::Down && !self.closing
    }

    pub(crate) fn is_parent(&self) -> bool {
        self.direction == Direction::Up && !self.closing
    }

    /// A child that gets data.
    pub(crate) fn is_eager_child(&self) -> bool {
        self.is_child() && self.role == Some(Role::Eager)
    }

    /// A child that is not known to want data: it gives way to who does.
    pub(crate) fn is_warm_child(&self) -> bool {
        self.is_child() && self.role == Some(Role::Warm)
    }

    /// The parent's root path; empty if it hangs in no tree.
    pub(crate) fn peer_path(&self) -> &[NodeId] {
        self.path.as_ref().map(|info| info.path.as_slice()).unwrap_or_default()
    }

    /// Queues a control frame. Returns whether there was room: a peer that takes nothing loses control frames, joins, reports
    /// and routed ones first. These are bounded in bytes, too: heartbeats wait behind them.
    pub(crate) fn push(&mut self, frame: Frame) -> bool {
        let can_wait = can_wait(&frame);
        let limit = if can_wait { MAX_CONTROL / 2 } else { MAX_CONTROL };
        if frame.frame_type() == HEARTBEAT
            && let Some(last) = self.control.back_mut()
            && last.frame_type() == HEARTBEAT
        {
            *last = frame;
            return true;
        }
        if self.control.len() >= limit {
            return false;
        }
        if can_wait {
            if self.waiting > 0 && self.waiting + frame.len() > MAX_CONTROL_BYTES {
                return false;
            }
            self.waiting += frame.len();
        }
        self.control.push_back(frame);
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.control.pop_front()?;
        if can_wait(&frame) {
            self.waiting = self.waiting.saturating_sub(frame.len());
        }
        Some(frame)
    }

    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// A heartbeat with this link's stamps.
    pub(crate) fn beat(&mut self, now: Instant, start: Instant, rest: Heartbeat) -> bool {
        let (echo, held) = match self.stamp {
            Some((echo, since)) => (echo, micros(now.saturating_duration_since(since)).min(u32::MAX - 1)),
            None => (0, u32::MAX),
        };
        let stamp = micros(now.saturating_duration_since(start));
        self.push(Control::Heartbeat(Heartbeat { stamp, echo, held, ..rest }).to_frame())
    }

    /// Takes the stamps of the peer's heartbeat.
    pub(crate) fn on_beat(&mut self, now: Instant, start: Instant, beat: &Heartbeat) {
        self.stamp = Some((beat.stamp, now));
        if beat.held != u32::MAX {
            let clock = micros(now.saturating_duration_since(start));
            let micros = clock.wrapping_sub(beat.echo).wrapping_sub(beat.held);
            // What the peer says about itself may be anything; a minute is no round trip.
            if micros < 60_000_000 {
                let sample = Duration::from_micros(micros.into());
                self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
            }
        }
        self.epoch = beat.epoch;
        self.peer_next = beat.next;
    }
}

/// Joins, reports and routed frames are asked for again, or come again.
fn can_wait(frame: &Frame) -> bool {
    matches!(frame.frame_type().0, 2 | 4 | 8 | 9)
}

/// Microseconds, wrapping around each 71 minutes.
fn micros(duration: Duration) -> u32 {
    duration.as_micros() as u32
}
