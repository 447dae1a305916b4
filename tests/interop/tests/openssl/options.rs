//! What `s_server` and `s_client` can be told: small datagrams, cookies, chains, SRTP profiles, exporters, and to forget the
//! extended master secret.

use super::*;
use sinnet_dtls::{Error, SrtpProfile};

const HELLO_VERIFY_REQUEST: u8 = 3;

/// Both roles against OpenSSL with these arguments; `check` looks at our end when all is over.
fn with_arguments(arguments: &[&str], configure: impl Fn(&mut Config), check: impl Fn(&Ours)) {
    let identity = Identity::make();
    let ours = || {
        let mut config = config(GCM, NamedGroup::X25519, 1200);
        configure(&mut config);
        config
    };
    let address = free_port();
    let accept = address.to_string();
    let listen = [&["s_server", "-accept", &accept, "-Verify", "1"], arguments].concat();
    let openssl = OpenSsl::start(&identity, &listen, GCM);
    let client = Ours::new(Role::Client, ours(), &identity, Some(address));
    check(&exchange(client, openssl, GCM, NamedGroup::X25519, End::Ours { shown: "DONE" }));

    let server = Ours::new(Role::Server, ours(), &identity, None);
    let connect = server.socket.local_addr().expect("our address").to_string();
    let openssl = OpenSsl::start(&identity, &[&["s_client", "-connect", &connect], arguments].concat(), GCM);
    check(&exchange(server, openssl, GCM, NamedGroup::X25519, End::Theirs));
}

#[test]
fn flights_in_datagrams_of_300_bytes_both_ways() {
    with_arguments(
        &["-mtu", "300"],
        |config| config.mtu = 300,
        |ours| {
            // OpenSSL fills them: its flights are much longer.
            assert!((200..=300).contains(&ours.largest), "{} bytes", ours.largest);
        },
    );
}

#[test]
fn a_cookie_of_openssl_is_returned() {
    let identity = Identity::make();
    let address = free_port();
    let accept = address.to_string();
    let openssl = OpenSsl::start(&identity, &["s_server", "-accept", &accept, "-listen"], GCM);
    let config = config(GCM, NamedGroup::X25519, 1200);
    let ours = Ours::new(Role::Client, config, &identity, Some(address));
    let ours = exchange(ours, openssl, GCM, NamedGroup::X25519, End::Ours { shown: "DONE" });
    assert!(ours.messages[0].contains(&HELLO_VERIFY_REQUEST), "{:?}", ours.messages);
}

#[test]
fn openssl_returns_our_cookie() {
    let identity = Identity::make();
    let mut config = config(GCM, NamedGroup::X25519, 1200);
    config.require_cookie = true;
    let ours = Ours::new(Role::Server, config, &identity, None);
    let connect = ours.socket.local_addr().expect("our address").to_string();
    let openssl = OpenSsl::start(&identity, &["s_client", "-connect", &connect], GCM);
    let ours = exchange(ours, openssl, GCM, NamedGroup::X25519, End::Theirs);
    assert!(ours.messages[1].contains(&HELLO_VERIFY_REQUEST), "{:?}", ours.messages);
}

/// Runs `openssl` in the identity's directory.
fn openssl(identity: &Identity, arguments: &str) {
    let made = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(&identity.directory)
        .output()
        .expect("openssl must be installed");
    assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// An identity with a root in `root.pem`, an intermediate in `middle.pem`, and a leaf that it signed.
fn chain() -> Identity {
    let mut identity = Identity::make();
    let directory = identity.directory.clone();
    std::fs::write(directory.join("ca.cnf"), "basicConstraints = critical, CA:TRUE\n").expect("a file");
    std::fs::write(directory.join("leaf.cnf"), "keyUsage = digitalSignature\n").expect("a file");
    const KEY: &str = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256";
    openssl(&identity, &format!("req -x509 {KEY} -subj /CN=root -days 2 -keyout root.key -out root.pem"));
    for (name, key, signer, extensions) in
        [("middle", "middle.key", "root", "ca.cnf"), ("cert", "key.pem", "middle", "leaf.cnf")]
    {
        openssl(&identity, &format!("req {KEY} -subj /CN={name} -keyout {key} -out {name}.csr"));
        openssl(
            &identity,
            &format!(
                "x509 -req -in {name}.csr -CA {signer}.pem -CAkey {signer}.key -CAcreateserial -days 2 \
                 -extfile {extensions} -out {name}.pem"
            ),
        );
    }
    identity.fingerprint = identity.read().fingerprint(HashAlgorithm::Sha384);
    identity
}

/// The same for our own use, with the intermediate.
fn read_chain(identity: &Identity) -> Certificate {
    let read = |name: &str| std::fs::read_to_string(identity.directory.join(name)).expect("a PEM file");
    Certificate::from_pem(&(read("cert.pem") + &read("middle.pem")), &read("key.pem")).expect("a chain")
}

/// OpenSSL knows only our root, so it accepts us only with the intermediate that we send. We know the fingerprint of its leaf.
#[test]
fn chains_are_sent_and_taken_both_ways() {
    let (theirs, ours) = (chain(), chain());
    let root = ours.directory.join("root.pem");
    let root = root.to_str().expect("a path");
    let trust = ["-CAfile", root, "-verify_return_error", "-cert_chain", "middle.pem"];
    let config = || {
        let mut config = config(GCM, NamedGroup::X25519, 1200);
        config.certificate = Some(Arc::new(read_chain(&ours)));
        config
    };
    let check = |end: &Ours| assert_eq!(end.connection.peer_certificate_chain(), read_chain(&theirs).chain());

    let address = free_port();
    let accept = address.to_string();
    let listen = [&["s_server", "-accept", &accept, "-Verify", "3"], &trust[..]].concat();
    let openssl = OpenSsl::start(&theirs, &listen, GCM);
    let client = Ours::new(Role::Client, config(), &theirs, Some(address));
    check(&exchange(client, openssl, GCM, NamedGroup::X25519, End::Ours { shown: "DONE" }));

    let server = Ours::new(Role::Server, config(), &theirs, None);
    let connect = server.socket.local_addr().expect("our address").to_string();
    let call = [&["s_client", "-connect", &connect, "-verify", "3"], &trust[..]].concat();
    let openssl = OpenSsl::start(&theirs, &call, GCM);
    check(&exchange(server, openssl, GCM, NamedGroup::X25519, End::Theirs));
}

/// What OpenSSL prints of its exporter, and ours, for each profile and in both roles.
#[test]
fn exporters_and_srtp_profiles_agree() {
    for (profile, name) in [
        (SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_80, "SRTP_AES128_CM_SHA1_80"),
        (SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_32, "SRTP_AES128_CM_SHA1_32"),
        (SrtpProfile::SRTP_AEAD_AES_128_GCM, "SRTP_AEAD_AES_128_GCM"),
        (SrtpProfile::SRTP_AEAD_AES_256_GCM, "SRTP_AEAD_AES_256_GCM"),
    ] {
        let (key, salt) = profile.key_and_salt_len().expect("a known profile");
        let mut material = vec![0; 2 * (key + salt)];
        let len = material.len().to_string();
        let arguments = ["-use_srtp", name, "-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", &len];
        for role in [Role::Client, Role::Server] {
            let identity = Identity::make();
            let mut config = config(GCM, NamedGroup::X25519, 1200);
            // Ours are more: the one in common is chosen.
            config.srtp_profiles = vec![SrtpProfile(0x77), profile];
            let address = free_port();
            let accept = address.to_string();
            let (mut ours, openssl) = if role == Role::Client {
                let listen = [&["s_server", "-accept", &accept][..], &arguments].concat();
                let openssl = OpenSsl::start(&identity, &listen, GCM);
                (Ours::new(role, config, &identity, Some(address)), openssl)
            } else {
                let ours = Ours::new(role, config, &identity, None);
                let connect = ours.socket.local_addr().expect("our address").to_string();
                let call = [&["s_client", "-connect", &connect][..], &arguments].concat();
                (ours, OpenSsl::start(&identity, &call, GCM))
            };
            ours.run_until(&openssl, "connection", |ours| ours.events.contains(&Event::Connected));
            let negotiated = ours.connection.negotiated().expect("connected");
            assert_eq!(negotiated.srtp_profile, Some(profile));
            ours.connection
                .export_keying_material(&mut material, "EXTRACTOR-dtls_srtp", None)
                .expect("exported");
            let expected: String = material.iter().map(|byte| format!("{byte:02X}")).collect();
            ours.run_until(&openssl, "exporter at openssl", |_| openssl.text().contains(&expected));
            assert!(openssl.text().contains(name), "{}", openssl.text());
        }
    }
}

/// Settings that switch the extended master secret off in OpenSSL.
const NO_EXTENDED_MASTER_SECRET: &str = "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n\
                                         [all]\nOptions = -ExtendedMasterSecret\n";

#[test]
fn the_old_master_secret_only_when_allowed() {
    for (role, allowed) in
        [(Role::Client, true), (Role::Client, false), (Role::Server, true), (Role::Server, false)]
    {
        let identity = Identity::make();
        std::fs::write(identity.directory.join("openssl.cnf"), NO_EXTENDED_MASTER_SECRET).expect("a file");
        let mut config = config(GCM, NamedGroup::X25519, 1200);
        config.require_extended_master_secret = !allowed;
        let address = free_port();
        let accept = address.to_string();
        let (mut ours, openssl) = if role == Role::Client {
            let openssl = OpenSsl::start(&identity, &["s_server", "-accept", &accept], GCM);
            (Ours::new(role, config, &identity, Some(address)), openssl)
        } else {
            let ours = Ours::new(role, config, &identity, None);
            let connect = ours.socket.local_addr().expect("our address").to_string();
            (ours, OpenSsl::start(&identity, &["s_client", "-connect", &connect], GCM))
        };
        ours.run_until(&openssl, "event", |ours| !ours.events.is_empty());
        if allowed {
            assert_eq!(ours.events, [Event::Connected]);
            assert!(!ours.connection.negotiated().expect("connected").extended_master_secret);
            ours.say("of the old kind\n");
            ours.run_until(&openssl, "text at openssl", |_| openssl.text().contains("of the old kind"));
        } else {
            assert_eq!(ours.events, [Event::Failed(Error::NoExtendedMasterSecret)]);
        }
    }
}
