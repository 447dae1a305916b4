//! What is written is read back, for every chunk that has fields.

use proptest::prelude::*;

use super::*;
use crate::types::{RequestSn, Ssn, Tsn};
use crate::wire::chunk::Chunks;
use crate::wire::data::DataChunk;
use crate::wire::forward_tsn::ForwardTsn;
use crate::wire::init::{Capabilities, Init};
use crate::wire::param::Params;
use crate::wire::reconfig::{self, ReconfigParam, ResetResult};
use crate::wire::sack::Sack;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn data_is_read_back(
        flags in 0u8..16, tsn: u32, stream: u16, ssn: u16, ppid: u32,
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let chunk = DataChunk {
            flags,
            tsn: Tsn(tsn),
            stream: StreamId(stream),
            ssn: Ssn(ssn),
            ppid: Ppid(ppid),
            payload: &payload,
        };
        let mut buf = [0xee; 200];
        let mut packet = PacketWriter::new(&mut buf, 1, 2, 3).expect("room");
        prop_assert!(packet.data_chunk(&chunk.header().expect("short"), &payload));
        let len = packet.finish();
        prop_assert_eq!(len % 4, 0);
        prop_assert_eq!(DataChunk::parse(&raw_chunks(&buf[..len])[0]), Some(chunk));
    }

    #[test]
    fn init_is_read_back(
        initiate_tag: u32, a_rwnd: u32, outbound_streams: u16, inbound_streams: u16, tsn: u32,
        reconfig: bool, forward_tsn: bool, zero_checksum: bool, i_data: bool, i_forward_tsn: bool,
        cookie in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)),
    ) {
        let init = Init {
            initiate_tag,
            a_rwnd,
            outbound_streams,
            inbound_streams,
            initial_tsn: Tsn(tsn),
            capabilities: Capabilities { reconfig, forward_tsn, zero_checksum, i_data, i_forward_tsn },
            cookie: cookie.as_deref(),
            cookie_preservative: None,
            host_name: None,
            unrecognized: Vec::new(),
        };
        let value = init.write();
        prop_assert_eq!(Init::parse(&value), Some(init));
    }

    #[test]
    fn reconfig_is_read_back(
        request: u32, response: u32, tsn: u32, result: u32,
        streams in proptest::collection::vec(any::<u16>(), 0..20),
    ) {
        let streams: Vec<StreamId> = streams.into_iter().map(StreamId).collect();
        let mut value = Vec::new();
        reconfig::push_outgoing_reset(&mut value, RequestSn(request), RequestSn(response), Tsn(tsn), &streams);
        reconfig::push_response(&mut value, RequestSn(request), ResetResult(result));
        let params = reconfig::parse(&value).expect("well-formed").params;
        let ReconfigParam::OutgoingReset { request: r, last_assigned_tsn, streams: list, .. } = params[0] else {
            panic!("{params:?}");
        };
        prop_assert_eq!((r, last_assigned_tsn), (RequestSn(request), Tsn(tsn)));
        prop_assert_eq!(list.iter().collect::<Vec<_>>(), streams);
        let response = ReconfigParam::Response { request: RequestSn(request), result: ResetResult(result) };
        prop_assert_eq!(params[1], response);
    }

    #[test]
    fn arbitrary_bytes_parse_or_do_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for param in Params::new(&bytes).flatten() {
            prop_assert!(param.value.len() + 4 == param.whole.len());
        }
        let _ = Init::parse(&bytes);
        let _ = reconfig::parse(&bytes);
        let mut seen = 0;
        for chunk in Chunks::new(&bytes).flatten() {
            seen += chunk.whole.len();
            let _ = DataChunk::parse(&chunk);
            if let Some(sack) = Sack::parse(&chunk) {
                prop_assert!(sack.gap_ack_blocks().count() <= 20);
            }
            if let Some(forward) = ForwardTsn::parse(&chunk) {
                prop_assert!(forward.skipped().count() <= 20);
            }
        }
        prop_assert!(seen <= bytes.len());
    }
}

#[test]
fn the_checksum_is_crc32c_least_significant_byte_first() {
    // A COOKIE ACK as Chromium sent it.
    let mut buf = [0; 16];
    let mut packet = PacketWriter::new(&mut buf, 5000, 5000, 0x925e_7b96).expect("room");
    assert!(packet.chunk(ChunkType::COOKIE_ACK, 0, &[]));
    packet.finish();
    assert_eq!(buf, [0x13, 0x88, 0x13, 0x88, 0x92, 0x5e, 0x7b, 0x96, 0x3f, 0x49, 0xae, 0x24, 11, 0, 0, 4]);
}

#[test]
fn forward_tsn_among_the_supported_extensions_is_enough() {
    let mut init = [0; 24];
    // As pion and sctp-proto send it: a list of RE-CONFIG and FORWARD TSN, and no Forward-TSN-Supported.
    init[16..22].copy_from_slice(&[0x80, 0x08, 0, 6, 130, 192]);
    let capabilities = Init::parse(&init).expect("well-formed").capabilities;
    assert_eq!(capabilities, Capabilities { reconfig: true, forward_tsn: true, ..Capabilities::default() });
}

#[test]
fn a_writer_never_passes_the_end_and_leaves_nothing_half_written() {
    for size in 0..64 {
        let mut buf = vec![0xee; size + 8];
        let Some(mut packet) = PacketWriter::new(&mut buf[..size], 1, 2, 3) else {
            assert!(size < 12);
            continue;
        };
        while packet.chunk(ChunkType::HEARTBEAT, 0, &[&[1, 2, 3], &[4, 5]]) {}
        let len = packet.finish();
        assert!(len <= size && (len - 12) % 12 == 0);
        assert_eq!(buf[size..], [0xee; 8]);
    }
}
