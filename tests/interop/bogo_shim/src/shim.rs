//! One run: connect back, one handshake, then answer what comes until the session or the stream ends.

use crate::Stop;
use crate::clock::Clock;
use crate::flags::Flags;
use crate::framing::{self, Frame};
use crate::settings::Settings;
use crate::token::token;
use sinnet_dtls::{AlertDescription, Connection, Error, Event, Role, SealError};
use std::collections::VecDeque;
use std::io;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Most that one record carries (RFC 6347 §4.1).
const MAX_PLAINTEXT: usize = 1 << 14;

/// How long a silent runner is waited for when all is said. It is the only time that is not the runner's.
const LINGER: Duration = Duration::from_millis(500);

/// What an echo is made with.
const ECHO: u8 = 0xff;

pub(crate) fn run(flags: &Flags) -> Result<(), Stop> {
    let settings = Settings::from(flags)?;
    let address =
        if flags.ipv6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { IpAddr::from(Ipv4Addr::LOCALHOST) };
    let mut stream = TcpStream::connect((address, flags.port)).map_err(Stop::failed)?;
    stream.set_nodelay(true).map_err(Stop::failed)?;
    if let Some(id) = flags.shim_id {
        stream.write_all(&id.to_le_bytes()).map_err(Stop::failed)?;
    }
    let mut shim = Shim::new(flags, settings, stream);
    let result = shim.converse();
    shim.hang_up();
    result
}

/// Whether the stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Open,
    Ended,
}

struct Shim<'a> {
    flags: &'a Flags,
    decisions: Arc<AtomicUsize>,
    stream: TcpStream,
    clock: Clock,
    connection: Connection,
    /// Application data that came and was not answered yet.
    inbox: VecDeque<Vec<u8>>,
}

impl<'a> Shim<'a> {
    fn new(flags: &'a Flags, settings: Settings, stream: TcpStream) -> Self {
        let clock = Clock::new();
        let role = if flags.server { Role::Server } else { Role::Client };
        // The seed is only mixed into the system's randomness.
        let connection = Connection::new(settings.config, role, Vec::new(), clock.now(), [0; 32]);
        Self { flags, decisions: settings.decisions, stream, clock, connection, inbox: VecDeque::new() }
    }

    fn converse(&mut self) -> Result<(), Stop> {
        self.flush()?;
        while !self.connection.is_connected() {
            if self.step()? == Stream::Ended {
                return Err(Stop::failed(":STREAM_ENDED_IN_THE_HANDSHAKE:"));
            }
        }
        self.check_expectations()?;
        self.speak_first()?;
        if self.flags.send_alert {
            self.connection.abort(AlertDescription::DECOMPRESSION_FAILURE);
            return self.flush();
        }
        if self.flags.shim_shuts_down {
            self.connection.close(self.clock.now());
            return self.flush();
        }
        self.echo()
    }

    /// Until close_notify or the end of the stream.
    fn echo(&mut self) -> Result<(), Stop> {
        loop {
            while let Some(mut data) = self.inbox.pop_front() {
                for byte in &mut data {
                    *byte ^= ECHO;
                }
                self.send(&data)?;
            }
            if !self.connection.is_connected() {
                return Ok(());
            }
            if self.step()? == Stream::Ended {
                self.connection.close(self.clock.now());
                return self.flush();
            }
        }
    }

    /// One frame from the runner.
    fn step(&mut self) -> Result<Stream, Stop> {
        let Some(frame) = framing::read(&mut self.stream).map_err(Stop::failed)? else {
            return Ok(Stream::Ended);
        };
        let now = self.clock.now();
        let result = match frame {
            Frame::Datagram(mut datagram) => {
                let inbox = &mut self.inbox;
                self.connection.handle_input(now, &mut datagram, |data| inbox.push_back(data.to_vec()))
            }
            Frame::Advance(by) => {
                framing::write_advanced(&mut self.stream).map_err(Stop::failed)?;
                self.clock.advance(by);
                let now = self.clock.now();
                let due = self.connection.poll_timeout().is_some_and(|deadline| deadline <= now);
                if due { self.connection.handle_timeout(now) } else { Ok(()) }
            }
            Frame::Mtu(mtu) => {
                self.connection.set_mtu(mtu);
                Ok(())
            }
            Frame::ExpectTimeout(expected) => return self.check_timeout(expected),
            Frame::InitialTimeout(initial) => {
                self.connection.set_initial_timeout(now, initial);
                Ok(())
            }
        };
        let flushed = self.flush();
        match result {
            Err(error) => Err(failure(&error)),
            Ok(()) => flushed.map(|()| Stream::Open),
        }
    }

    fn check_timeout(&self, expected: Option<Duration>) -> Result<Stream, Stop> {
        let now = self.clock.now();
        let next = self.connection.poll_timeout().map(|deadline| deadline.saturating_duration_since(now));
        let micros = |timeout: Option<Duration>| timeout.map(|timeout| timeout.as_micros());
        if micros(next) == micros(expected) {
            return Ok(Stream::Open);
        }
        Err(Stop::failed(format_args!(":WRONG_TIMEOUT: the next timer is {next:?}, expected {expected:?}")))
    }

    fn check_expectations(&self) -> Result<(), Stop> {
        let wanted = &self.flags.expect;
        let got = self.connection.negotiated().ok_or_else(|| Stop::failed(":NOTHING_NEGOTIATED:"))?;
        let decisions = self.decisions.load(Ordering::Relaxed);
        let signed = got.peer_signature_scheme;
        let checks = [
            ("VERIFY_RESULT", !wanted.verify_result || decisions == 1),
            ("EXTENDED_MASTER_SECRET", !wanted.extended_master_secret || got.extended_master_secret),
            ("CURVE", wanted.curve.is_none_or(|curve| curve == got.group)),
            ("CIPHER", wanted.cipher.is_none_or(|cipher| cipher == got.suite)),
            (
                "SIGNATURE_ALGORITHM",
                wanted.peer_signature_algorithm.is_none_or(|scheme| signed == Some(scheme)),
            ),
        ];
        match checks.into_iter().find(|(_, holds)| !holds) {
            Some((what, _)) => {
                Err(Stop::failed(format_args!(":UNEXPECTED_{what}: {got:?}, {decisions} decisions")))
            }
            None => Ok(()),
        }
    }

    /// What is sent before anything is read: exporter output, a greeting.
    fn speak_first(&mut self) -> Result<(), Stop> {
        if self.flags.export_keying_material > 0 {
            let mut material = vec![0; self.flags.export_keying_material];
            let context = self.flags.use_export_context.then_some(self.flags.export_context.as_bytes());
            self.connection
                .export_keying_material(&mut material, &self.flags.export_label, context)
                .map_err(|error| Stop::failed(format_args!(":EXPORT_FAILED: {error}")))?;
            for piece in material.chunks(MAX_PLAINTEXT) {
                self.send(piece)?;
            }
        }
        if self.flags.shim_writes_first { self.send(b"hello") } else { Ok(()) }
    }

    /// One record of application data; none if the session has just ended.
    fn send(&mut self, data: &[u8]) -> Result<(), Stop> {
        let start = self.connection.header_len();
        let mut slot = vec![0; start + data.len() + self.connection.tag_len()];
        slot.splice(start..start + data.len(), data.iter().copied());
        match self.connection.seal(&mut slot, data.len()) {
            Ok(len) => self.write(slot.get(..len).unwrap_or_default()),
            Err(SealError::Closed) => Ok(()),
            Err(error) => Err(Stop::failed(format_args!(":SEAL_FAILED: {error}"))),
        }
    }

    /// Everything that the connection has to send. A failure that nobody was told yet is one of this run.
    fn flush(&mut self) -> Result<(), Stop> {
        let mut datagram = vec![0; 1 << 16];
        while let Some(len) = self.connection.poll_transmit(self.clock.now(), &mut datagram) {
            self.write(datagram.get(..len).unwrap_or_default())?;
        }
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Failed(error) if !matches!(error, Error::Aborted(_)) => return Err(failure(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// A runner that has gone is no failure of ours: the next read says so.
    fn write(&mut self, datagram: &[u8]) -> Result<(), Stop> {
        match framing::write_datagram(&mut self.stream, datagram) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                Ok(())
            }
            result => result.map_err(Stop::failed),
        }
    }

    /// Says that nothing more comes and waits a while for the runner to say the same: what it still sends must not make
    /// the kernel throw away what it has not yet read of ours.
    fn hang_up(&mut self) {
        let mut rest = [0; 4096];
        let ready =
            self.stream.shutdown(Shutdown::Write).and_then(|()| self.stream.set_read_timeout(Some(LINGER)));
        if ready.is_ok() {
            while matches!(self.stream.read(&mut rest), Ok(1..)) {}
        }
    }
}

fn failure(error: &Error) -> Stop {
    Stop::failed(format_args!("{} {error}", token(error)))
}
