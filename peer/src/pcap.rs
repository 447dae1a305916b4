//! Packet captures in the pcapng format (draft-ietf-opsawg-pcapng), for Wireshark and tshark.
//!
//! One file has two interfaces: `udp`, the datagrams as they are on the wire, and `sctp`, the SCTP packets in clear. IP
//! and UDP headers are made up from the path, so that STUN, DTLS, SCTP and DCEP are found by what they are.
//!
//! ```text
//!  section header · interface 0 "udp" · interface 1 "sctp" · packets, secrets … · statistics of both interfaces
//! ```

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sinnet_ice::Path;

use crate::tap::{Direction, Tap};

/// LINKTYPE_RAW: begins with an IPv4 or IPv6 header.
const LINKTYPE_RAW: u16 = 101;

/// IP protocol numbers.
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Block types (§4).
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;

/// The type of secrets that a TLS key log is (§4.7).
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// Option codes; their meaning depends on the block (§3.5, §4.1, §4.2, §4.3, §4.6).
const END_OF_OPTIONS: u16 = 0;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Which of the two interfaces.
#[derive(Clone, Copy)]
enum Interface {
    Udp = 0,
    Sctp = 1,
}

/// How a [`PcapTap`] writes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PcapOptions {
    /// Bytes kept of each packet, headers included; 65,535 by default, which is all of it.
    pub snap_len: u32,
    /// Whether to write the DTLS secrets into the file, so that Wireshark decrypts the datagrams. **Whoever has the file
    /// can read the connection then**; so can they by the SCTP packets, which are in clear. False by default.
    pub secrets: bool,
    /// Whether to write the SCTP packets in clear. True by default. Without them, and without the secrets, a capture
    /// gives no more away than one taken on the network.
    pub sctp: bool,
}

impl Default for PcapOptions {
    fn default() -> Self {
        Self { snap_len: 65_535, secrets: false, sctp: true }
    }
}

/// A [`Tap`] that writes a pcapng file.
///
/// Every block is one `write_all`. A writer that has no room may answer [`ErrorKind::WouldBlock`] without taking anything:
/// the packet is dropped and counted, in the file as well. After any other error nothing more is written. What was dropped
/// over the whole capture is in the file's last blocks, which are written when the tap is dropped.
pub struct PcapTap<W: Write + Send> {
    writer: W,
    options: PcapOptions,
    /// An instant, and the same as time since 1970-01-01 00:00:00 UTC.
    epoch: (Instant, Duration),
    last: Instant,
    /// Packets seen and dropped, by interface.
    seen: [u64; 2],
    dropped: [u64; 2],
    /// Those of `dropped` that no packet block has told of yet.
    untold: [u64; 2],
    broken: bool,
    block: Vec<u8>,
}

impl<W: Write + Send> PcapTap<W> {
    /// Writes the file's head. `now` and `unix`, the time since 1970-01-01 00:00:00 UTC, are the same moment: packets are
    /// dated by their instant's distance from it.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(writer: W, options: PcapOptions, now: Instant, unix: Duration) -> std::io::Result<Self> {
        let mut tap = Self {
            writer,
            options,
            epoch: (now, unix),
            last: now,
            seen: [0; 2],
            dropped: [0; 2],
            untold: [0; 2],
            broken: false,
            block: Vec::with_capacity(2048),
        };
        tap.section_header();
        for name in ["udp", "sctp"] {
            tap.interface_description(name);
        }
        tap.writer.write_all(&tap.block)?;
        Ok(tap)
    }

    fn section_header(&mut self) {
        self.block.clear();
        let begun = self.begin(SECTION_HEADER);
        self.u32(0x1a2b_3c4d); // The byte order.
        self.u16(1); // Version 1.0.
        self.u16(0);
        self.block.extend(u64::MAX.to_le_bytes()); // The section's length is not known.
        self.option(SHB_USERAPPL, concat!("sinnet ", env!("CARGO_PKG_VERSION")).as_bytes());
        self.option(END_OF_OPTIONS, &[]);
        self.end(begun);
    }

    fn interface_description(&mut self, name: &str) {
        let begun = self.begin(INTERFACE_DESCRIPTION);
        self.u16(LINKTYPE_RAW);
        self.u16(0);
        self.u32(self.options.snap_len);
        self.option(IF_NAME, name.as_bytes());
        self.option(IF_TSRESOL, &[9]); // Nanoseconds.
        self.option(END_OF_OPTIONS, &[]);
        self.end(begun);
    }

    /// An enhanced packet block: made-up headers, then the payload.
    fn packet(
        &mut self,
        at: Instant,
        interface: Interface,
        direction: Direction,
        path: Path,
        payload: &[u8],
    ) {
        let index = interface as usize;
        self.seen[index] += 1;
        self.last = at;
        if self.broken {
            self.dropped[index] += 1;
            return;
        }
        self.block.clear();
        let begun = self.begin(ENHANCED_PACKET);
        self.u32(index as u32);
        self.timestamp(at);
        let lengths = self.block.len();
        self.u32(0);
        self.u32(0);
        let contents = self.block.len();
        headers(&mut self.block, interface, direction, path, payload);
        let original = self.block.len() - contents + payload.len();
        let captured = original.min(self.options.snap_len as usize);
        let kept = captured.saturating_sub(self.block.len() - contents);
        self.block.extend_from_slice(payload.get(..kept).unwrap_or(payload));
        self.block.truncate(contents + captured);
        for (at, length) in [(lengths, captured), (lengths + 4, original)] {
            self.block[at..at + 4].copy_from_slice(&(length as u32).to_le_bytes());
        }
        self.pad();
        let way: u32 = match direction {
            Direction::Received => 1,
            Direction::Sent => 2,
        };
        self.option(EPB_FLAGS, &way.to_le_bytes());
        if self.untold[index] > 0 {
            self.option(EPB_DROPCOUNT, &self.untold[index].to_le_bytes());
        }
        self.option(END_OF_OPTIONS, &[]);
        self.end(begun);
        if self.write() {
            self.untold[index] = 0;
        } else {
            self.dropped[index] += 1;
            self.untold[index] += 1;
        }
    }

    /// Writes `block`. False if nothing of it is to be counted on.
    fn write(&mut self) -> bool {
        match self.writer.write_all(&self.block) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => {
                tracing::warn!(%error, "the packet capture ends here");
                self.broken = true;
                false
            }
        }
    }

    /// What each interface has seen and lost.
    fn statistics(&mut self) {
        self.block.clear();
        for (index, (seen, dropped)) in self.seen.into_iter().zip(self.dropped).enumerate() {
            let begun = self.begin(INTERFACE_STATISTICS);
            self.u32(index as u32);
            self.timestamp(self.last);
            self.option(ISB_IFRECV, &seen.to_le_bytes());
            self.option(ISB_IFDROP, &dropped.to_le_bytes());
            self.option(END_OF_OPTIONS, &[]);
            self.end(begun);
        }
    }

    /// A block begins. Returns where, for [`Self::end`].
    fn begin(&mut self, kind: u32) -> usize {
        let begun = self.block.len();
        self.u32(kind);
        self.u32(0);
        begun
    }

    /// A block's length stands at its beginning and at its end.
    fn end(&mut self, begun: usize) {
        let length = (self.block.len() - begun + 4) as u32;
        self.block[begun + 4..begun + 8].copy_from_slice(&length.to_le_bytes());
        self.u32(length);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(value.len() as u16);
        self.block.extend_from_slice(value);
        self.pad();
    }

    fn timestamp(&mut self, at: Instant) {
        let (start, unix) = self.epoch;
        let since = match at.checked_duration_since(start) {
            Some(after) => unix.saturating_add(after),
            None => unix.saturating_sub(start.saturating_duration_since(at)),
        };
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.u32((nanos >> 32) as u32);
        self.u32(nanos as u32);
    }

    fn u16(&mut self, value: u16) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }
}

impl<W: Write + Send> Tap for PcapTap<W> {
    fn datagram(&mut self, at: Instant, direction: Direction, path: Path, payload: &[u8]) {
        self.packet(at, Interface::Udp, direction, path, payload);
    }

    fn sctp_packet(&mut self, at: Instant, direction: Direction, path: Path, packet: &[u8]) {
        if self.options.sctp {
            self.packet(at, Interface::Sctp, direction, path, packet);
        }
    }

    fn wants_secrets(&self) -> bool {
        self.options.secrets
    }

    fn secret(&mut self, line: &str) {
        if !self.options.secrets || self.broken {
            return;
        }
        self.block.clear();
        let begun = self.begin(DECRYPTION_SECRETS);
        self.u32(TLS_KEY_LOG);
        self.u32((line.len() + 1) as u32);
        self.block.extend_from_slice(line.as_bytes());
        self.block.push(b'\n');
        self.pad();
        self.end(begun);
        if !self.write() {
            tracing::warn!("the packet capture has no room for the DTLS secrets");
        }
    }
}

impl<W: Write + Send> Drop for PcapTap<W> {
    fn drop(&mut self) {
        let dropped: u64 = self.dropped.iter().sum();
        if dropped > 0 {
            tracing::warn!(dropped, "the packet capture is incomplete");
        }
        if !self.broken {
            self.statistics();
            self.write();
            if let Err(error) = self.writer.flush() {
                tracing::warn!(%error, "the packet capture is incomplete");
            }
        }
    }
}

/// IP, and UDP where it is a datagram, as they would be on the wire.
fn headers(out: &mut Vec<u8>, interface: Interface, direction: Direction, path: Path, payload: &[u8]) {
    let (from, to) = match direction {
        Direction::Received => (path.remote, path.local),
        Direction::Sent => (path.local, path.remote),
    };
    let (protocol, udp_len) = match interface {
        Interface::Udp => (UDP, 8),
        Interface::Sctp => (SCTP, 0),
    };
    let carried = u16::try_from(udp_len + payload.len()).unwrap_or(u16::MAX);
    // What UDP's checksum covers of the IP header (RFC 768, RFC 8200 §8.1).
    let mut pseudo = u32::from(protocol) + u32::from(carried);
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (from.ip(), to.ip()) {
        let begun = out.len();
        out.extend([0x45, 0]);
        out.extend(carried.saturating_add(20).to_be_bytes());
        out.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]); // Don't fragment; 64 hops.
        out.extend(from.octets());
        out.extend(to.octets());
        let checksum = !fold(sum(&out[begun..]));
        out[begun + 10..begun + 12].copy_from_slice(&checksum.to_be_bytes());
        pseudo += sum(&from.octets()) + sum(&to.octets());
    } else {
        let [from, to] = [from.ip(), to.ip()].map(|ip| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        });
        out.extend([0x60, 0, 0, 0]);
        out.extend(carried.to_be_bytes());
        out.extend([protocol, 64]);
        out.extend(from);
        out.extend(to);
        pseudo += sum(&from) + sum(&to);
    }
    if let Interface::Udp = interface {
        let begun = out.len();
        for field in [from.port(), to.port(), carried, 0] {
            out.extend(field.to_be_bytes());
        }
        // Zero would say that there is none.
        let checksum = match !fold(pseudo + sum(&out[begun..]) + sum(payload)) {
            0 => u16::MAX,
            checksum => checksum,
        };
        out[begun + 6..].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The ones' complement sum of RFC 1071, not folded yet. 64 KiB of ones are far from overflowing.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))).sum()
}

fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that can be looked into, with so much room.
    #[derive(Clone, Default)]
    struct Disk {
        bytes: Arc<Mutex<Vec<u8>>>,
        full: Arc<Mutex<Option<ErrorKind>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match *self.full.lock().unwrap() {
                Some(kind) => Err(kind.into()),
                None => self.bytes.lock().unwrap().write(bytes),
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Disk {
        /// Type and body of each block.
        fn blocks(&self) -> Vec<(u32, Vec<u8>)> {
            let bytes = self.bytes.lock().unwrap();
            let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let mut blocks = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                let length = u32_at(at + 4) as usize;
                assert!(length.is_multiple_of(4) && u32_at(at + length - 4) as usize == length);
                blocks.push((u32_at(at), bytes[at + 8..at + length - 4].to_vec()));
                at += length;
            }
            blocks
        }

        fn kinds(&self) -> Vec<u32> {
            self.blocks().into_iter().map(|(kind, _)| kind).collect()
        }
    }

    const HEAD: [u32; 3] = [SECTION_HEADER, INTERFACE_DESCRIPTION, INTERFACE_DESCRIPTION];

    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    fn base() -> Instant {
        Instant::now()
    }

    fn path(local: &str, remote: &str) -> Path {
        Path::udp(local.parse().unwrap(), remote.parse().unwrap())
    }

    fn tap(disk: &Disk, options: PcapOptions) -> (PcapTap<Disk>, Instant) {
        let now = base();
        (PcapTap::new(disk.clone(), options, now, Duration::from_secs(1_800_000_000)).unwrap(), now)
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn headers_have_the_lengths_and_checksums_that_a_network_would_accept() {
        for (local, remote, ip_len) in
            [("192.0.2.1:5001", "198.51.100.2:5002", 20), ("[2001:db8::1]:1", "[2001:db8::2]:2", 40)]
        {
            for payload in [&b""[..], b"odd", b"even", &[255; 1472]] {
                let disk = Disk::default();
                let (mut tap, now) = tap(&disk, PcapOptions::default());
                let path = path(local, remote);
                tap.datagram(now, Direction::Received, path, payload);
                let (kind, block) = disk.blocks().pop().unwrap();
                assert_eq!((kind, u32_at(&block, 0)), (ENHANCED_PACKET, 0));
                let length = ip_len + 8 + payload.len();
                assert_eq!((u32_at(&block, 12), u32_at(&block, 16)), (length as u32, length as u32));
                let packet = &block[20..20 + length];
                let udp = &packet[ip_len..];
                assert_eq!(u16::from_be_bytes([udp[0], udp[1]]), path.remote.port(), "it came from there");
                assert_eq!(&udp[8..], payload);
                let addresses = if ip_len == 20 {
                    assert_eq!(fold(sum(&packet[..20])), 0xffff, "the IP header's checksum");
                    &packet[12..20]
                } else {
                    &packet[8..40]
                };
                let pseudo = sum(addresses) + u32::from(UDP) + udp.len() as u32;
                assert_eq!(fold(pseudo + sum(udp)), 0xffff, "UDP's checksum");
            }
        }
    }

    #[test]
    fn packets_are_cut_at_the_snap_length_and_say_how_long_they_were() {
        let disk = Disk::default();
        let (mut tap, now) = tap(&disk, PcapOptions { snap_len: 30, ..Default::default() });
        let path = path("192.0.2.1:1", "192.0.2.2:2");
        tap.datagram(now, Direction::Sent, path, &[7; 100]);
        tap.sctp_packet(now, Direction::Sent, path, &[7; 3]);
        let blocks = disk.blocks();
        assert_eq!((u32_at(&blocks[3].1, 12), u32_at(&blocks[3].1, 16)), (30, 128));
        assert_eq!((u32_at(&blocks[4].1, 12), u32_at(&blocks[4].1, 16)), (23, 23));
        assert_eq!(u32_at(&blocks[4].1, 0), 1, "the second interface");
    }

    #[test]
    fn packets_are_dated_by_their_distance_from_the_start_before_it_too() {
        let disk = Disk::default();
        let (mut tap, now) = tap(&disk, PcapOptions::default());
        let path = path("192.0.2.1:1", "192.0.2.2:2");
        let times =
            [(now + Duration::from_nanos(5), 1_800_000_000_000_000_005), (now, 1_800_000_000_000_000_000)];
        for (at, nanos) in times {
            tap.datagram(at, Direction::Sent, path, &[]);
            let (_, block) = disk.blocks().pop().unwrap();
            assert_eq!(u64::from(u32_at(&block, 4)) << 32 | u64::from(u32_at(&block, 8)), nanos);
        }
        if let Some(before) = now.checked_sub(Duration::from_nanos(7)) {
            tap.datagram(before, Direction::Sent, path, &[]);
            let (_, block) = disk.blocks().pop().unwrap();
            assert_eq!(
                u64::from(u32_at(&block, 4)) << 32 | u64::from(u32_at(&block, 8)),
                1_799_999_999_999_999_993
            );
        }
    }

    #[test]
    fn secrets_and_clear_packets_are_written_only_when_asked_for() {
        let disk = Disk::default();
        let (mut tap, now) = tap(&disk, PcapOptions { sctp: false, ..Default::default() });
        assert!(!tap.wants_secrets());
        tap.secret("CLIENT_RANDOM 00 11");
        tap.sctp_packet(now, Direction::Sent, path("192.0.2.1:1", "192.0.2.2:2"), &[1; 12]);
        assert_eq!(disk.kinds(), HEAD);

        let disk = Disk::default();
        let (mut tap, _) = self::tap(&disk, PcapOptions { secrets: true, ..Default::default() });
        assert!(tap.wants_secrets());
        tap.secret("CLIENT_RANDOM 00 11");
        let (kind, block) = disk.blocks().pop().unwrap();
        assert_eq!((kind, u32_at(&block, 0), u32_at(&block, 4)), (DECRYPTION_SECRETS, TLS_KEY_LOG, 20));
        assert_eq!(&block[8..28], b"CLIENT_RANDOM 00 11\n");
    }

    #[test]
    fn what_the_writer_has_no_room_for_is_counted_in_the_next_packet_and_at_the_end() {
        let disk = Disk::default();
        let (mut tap, now) = tap(&disk, PcapOptions::default());
        let path = path("192.0.2.1:1", "192.0.2.2:2");
        *disk.full.lock().unwrap() = Some(ErrorKind::WouldBlock);
        for _ in 0..3 {
            tap.datagram(now, Direction::Sent, path, &[1]);
        }
        *disk.full.lock().unwrap() = None;
        for expected in [Some(3u64), None] {
            tap.datagram(now, Direction::Sent, path, &[1]);
            let (_, block) = disk.blocks().pop().unwrap();
            // Behind 29 bytes of packet: the flags, then the drop count.
            let options = &block[20 + 32..];
            let drops = (options[8..10] == EPB_DROPCOUNT.to_le_bytes())
                .then(|| u64::from_le_bytes(options[12..20].try_into().unwrap()));
            assert_eq!(drops, expected);
        }
        drop(tap);
        let blocks = disk.blocks();
        let [(udp, statistics), (sctp, _)] = &blocks[blocks.len() - 2..] else { panic!("two") };
        assert_eq!((*udp, *sctp), (INTERFACE_STATISTICS, INTERFACE_STATISTICS));
        let counts = [16, 28].map(|at| u64::from_le_bytes(statistics[at..at + 8].try_into().unwrap()));
        assert_eq!(counts, [5, 3], "seen and dropped");
    }

    #[test]
    fn a_writer_that_fails_ends_the_capture_and_nothing_else() {
        let disk = Disk::default();
        let (mut tap, now) = tap(&disk, PcapOptions { secrets: true, ..Default::default() });
        *disk.full.lock().unwrap() = Some(ErrorKind::StorageFull);
        let path = path("192.0.2.1:1", "192.0.2.2:2");
        tap.datagram(now, Direction::Sent, path, &[1]);
        // Half a block may be there: nothing can come behind it.
        *disk.full.lock().unwrap() = None;
        tap.datagram(now, Direction::Sent, path, &[1]);
        tap.secret("CLIENT_RANDOM 00 11");
        drop(tap);
        assert_eq!(disk.kinds(), HEAD);
        let full = Disk { full: Arc::new(Mutex::new(Some(ErrorKind::StorageFull))), ..Disk::default() };
        assert!(PcapTap::new(full, PcapOptions::default(), now, Duration::ZERO).is_err());
    }
}
