//! What is left of a session's secrets in memory, looked for where Linux shows the process to itself. A test binary of
//! its own: the less memory there is to search, the better.
#![cfg(target_os = "linux")]

use sinnet_dtls::{AlertDescription, Certificate, Config, Connection, HashAlgorithm, Role};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use zeroize::Zeroize;

/// Keeps what is looked for from being found in the test itself.
const MASK: u8 = 0x5a;

/// One search at a time: another's buffer would be full of what it has read, our secret included.
fn alone() -> MutexGuard<'static, ()> {
    static SEARCH: Mutex<()> = Mutex::new(());
    SEARCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often the bytes are in what this process may write to: heap, stacks, everything.
fn occurrences(masked: &[u8]) -> usize {
    let memory = File::open("/proc/self/mem").expect("Linux");
    let maps = BufReader::new(File::open("/proc/self/maps").expect("Linux"));
    let mut buffer = vec![0; 1 << 20];
    let mut found = 0;
    for line in maps.lines().map(|line| line.expect("a line")).filter(|line| line.contains(" rw")) {
        let (from, rest) = line.split_once('-').expect("a range");
        let (to, _) = rest.split_once(' ').expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, to) = (address(from), address(to));
        while at < to {
            let want = (to - at).min(buffer.len() as u64) as usize;
            let Ok(len @ 1..) = memory.read_at(&mut buffer[..want], at) else { break };
            let own = buffer.as_ptr() as u64;
            found += (0..len.saturating_sub(masked.len() - 1))
                .filter(|&index| {
                    // The buffer reads itself, too.
                    let here = at + index as u64;
                    buffer[index] == masked[0] ^ MASK
                        && !(own..own + buffer.len() as u64).contains(&here)
                        && buffer[index..].iter().zip(masked).all(|(byte, sought)| byte ^ MASK == *sought)
                })
                .count();
            // The next part begins before the end of this one.
            let overlap = if at + (len as u64) < to { masked.len() - 1 } else { 0 };
            at += (len - overlap) as u64;
        }
    }
    // Or the next search would find what this one has read.
    buffer.zeroize();
    found
}

/// The master secret as the key log tells it, masked at once, and two ends: connected, or stopped as soon as one has it.
fn session(complete: bool) -> (Vec<u8>, Connection, Connection) {
    #[expect(clippy::disallowed_methods, reason = "one base instant; time is an argument from there on")]
    let now = Instant::now();
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut config = Config::new(Arc::new(Certificate::generate(1_795_000_000).expect("a certificate")));
    let log = Arc::clone(&told);
    config.key_log = Some(Arc::new(move |line: &str| {
        let hex = line.rsplit(' ').next().expect("a secret").as_bytes();
        let digit = |digit: u8| (digit as char).to_digit(16).expect("a digit") as u8;
        *log.lock().expect("the log") =
            hex.chunks(2).map(|two| (digit(two[0]) << 4 | digit(two[1])) ^ MASK).collect();
    }));
    let expected = vec![config.certificate.as_ref().expect("ours").fingerprint(HashAlgorithm::Sha256)];
    let config = Arc::new(config);
    let end = |role, seed| Connection::new(Arc::clone(&config), role, expected.clone(), now, [seed; 32]);
    let (mut client, mut server) = (end(Role::Client, 1), end(Role::Server, 2));
    let mut buffer = [0; 1500];
    while if complete { !client.is_connected() } else { told.lock().expect("the log").is_empty() } {
        while let Some(len) = client.poll_transmit(now, &mut buffer) {
            server.handle_input(now, &mut buffer[..len], |_| {}).expect("a good flight");
        }
        while let Some(len) = server.poll_transmit(now, &mut buffer) {
            client.handle_input(now, &mut buffer[..len], |_| {}).expect("a good flight");
        }
    }
    let told = told.lock().expect("the log").clone();
    (told, client, server)
}

#[test]
fn the_master_secret_is_once_in_each_open_end_and_nowhere_when_they_are_gone() {
    let _alone = alone();
    let (secret, client, mut server) = session(true);
    assert_eq!(secret.len(), 48);
    assert_eq!(occurrences(&secret), 2, "both ends are open");
    drop(client);
    assert_eq!(occurrences(&secret), 1, "one is gone");
    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    server.close(Instant::now());
    assert_eq!(occurrences(&secret), 0, "the other is closed, and still there");
    drop(server);
}

#[test]
fn a_handshake_that_was_given_up_has_no_secret_any_more() {
    let _alone = alone();
    let (secret, mut client, server) = session(false);
    assert!(!client.is_connected() && !server.is_connected());
    assert_eq!(occurrences(&secret), 1, "the client has said Finished");
    client.abort(AlertDescription::INTERNAL_ERROR);
    assert_eq!(occurrences(&secret), 0);
    drop((client, server));
}
