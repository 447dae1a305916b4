use super::interfaces::Flags;
use super::*;

const PORT: u16 = 4242;

fn address(interface: &str, index: u32, ip: &str) -> Listed {
    let ip = ip.parse().unwrap();
    Listed { interface: interface.to_owned(), index, ip, prefix: 24, up: true, flags: Flags::default() }
}

fn unspecified() -> Vec<SocketAddr> {
    vec![(Ipv6Addr::UNSPECIFIED, PORT).into(), (std::net::Ipv4Addr::UNSPECIFIED, PORT).into()]
}

fn hosts(listed: &[Listed], config: &EndpointConfig) -> Hosts {
    Hosts::of(listed, config, &unspecified())
}

fn host_addresses(config: &EndpointConfig, bound: &[SocketAddr]) -> Vec<SocketAddr> {
    Hosts::now(config, bound).expect("a list").preferred
}

fn ips(addrs: &[SocketAddr]) -> Vec<String> {
    assert!(addrs.iter().all(|addr| addr.port() == PORT));
    addrs.iter().map(|addr| addr.ip().to_string()).collect()
}

#[test]
fn a_bound_address_stands_for_itself_whatever_the_filter_says() {
    let addr: SocketAddr = "127.0.0.1:4242".parse().unwrap();
    let mut config = EndpointConfig::default();
    config.hosts.ipv4 = false;
    assert_eq!(host_addresses(&config, &[addr]), vec![addr]);
}

#[test]
fn the_unspecified_address_has_loopback_only_when_asked() {
    let any: SocketAddr = "0.0.0.0:4242".parse().unwrap();
    let loopback: SocketAddr = "127.0.0.1:4242".parse().unwrap();
    let mut config = EndpointConfig::default();
    assert!(!host_addresses(&config, &[any]).contains(&loopback));
    config.include_loopback = true;
    assert!(host_addresses(&config, &[any]).contains(&loopback));
}

#[test]
fn addresses_that_candidates_cannot_carry_are_left_out() {
    for text in
        ["fe80::1", "fec0::1", "::ffff:10.0.0.1", "::10.0.0.1", "::", "ff02::1", "0.0.0.0", "224.0.0.1"]
    {
        assert!(!is_candidate(text.parse().unwrap()), "{text}");
    }
    for text in ["fd09::1", "2001:db8::1", "::1", "10.0.0.1", "127.0.0.1", "169.254.1.1"] {
        assert!(is_candidate(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn families_take_turns_and_every_interface_has_its_first_address_before_any_has_its_second() {
    let listed = [
        address("lo", 1, "127.0.0.1"),
        address("eth0", 2, "10.0.0.1"),
        address("eth0", 2, "10.0.0.2"),
        address("eth0", 2, "10.0.0.3"),
        address("eth1", 3, "169.254.3.3"),
        address("wlan0", 4, "10.4.0.1"),
        address("eth0", 2, "2001:db8::1"),
        address("wlan0", 4, "2001:db8:4::1"),
    ];
    let mut config = EndpointConfig::default();
    let found = ips(&hosts(&listed, &config).preferred);
    let expected =
        ["2001:db8::1", "10.0.0.1", "2001:db8:4::1", "10.4.0.1", "10.0.0.2", "10.0.0.3", "169.254.3.3"];
    assert_eq!(found, expected);
    config.include_loopback = true;
    assert_eq!(ips(&hosts(&listed, &config).preferred).last().map(String::as_str), Some("127.0.0.1"));
}

#[test]
fn what_is_down_or_on_the_loopback_interface_is_left_out() {
    let mut listed = vec![
        address("lo", 1, "127.0.0.1"),
        address("lo", 1, "192.0.2.1"),
        address("lo", 1, "::1"),
        address("eth0", 2, "10.0.0.1"),
    ];
    assert_eq!(ips(&hosts(&listed, &EndpointConfig::default()).preferred), ["10.0.0.1"]);
    listed[3].up = false;
    let hosts = hosts(&listed, &EndpointConfig::default());
    assert_eq!(hosts, Hosts::default());
    assert!(hosts.lacks(SocketAddr::new(listed[3].ip, PORT)));
}

#[test]
fn a_temporary_address_takes_the_place_of_others_of_its_network_and_deprecated_ones_are_kept_for_who_uses_them()
 {
    let flagged = |ip: &str, index, flags| Listed { flags, ..address("eth0", index, ip) };
    let temporary = Flags { temporary: true, ..Flags::default() };
    let listed = [
        address("eth0", 2, "2001:db8::1"),
        flagged("2001:db8::aaaa", 2, temporary),
        flagged("2001:db8::bbbb", 2, Flags { deprecated: true, ..temporary }),
        address("eth0", 2, "fd00::1"),
        flagged("2001:db8::cccc", 2, Flags { tentative: true, ..Flags::default() }),
        address("eth1", 3, "2001:db8::3"),
    ];
    let found = hosts(&listed, &EndpointConfig::default());
    assert_eq!(ips(&found.preferred), ["2001:db8::aaaa", "2001:db8::3", "fd00::1"]);
    assert_eq!(ips(&found.kept), ["2001:db8::1", "2001:db8::bbbb"]);
    assert!(!found.lacks(SocketAddr::new(listed[0].ip, PORT)), "who uses it may go on");
    assert!(found.lacks(SocketAddr::new(listed[4].ip, PORT)));
    let deprecated = flagged("2001:db8::bbbb", 2, Flags { deprecated: true, ..temporary });
    let found = hosts(&[address("eth0", 2, "2001:db8::1"), deprecated], &EndpointConfig::default());
    assert_eq!(ips(&found.preferred), ["2001:db8::1"], "a deprecated one takes nobody's place");
}

#[test]
fn the_limit_leaves_the_best_and_counts_what_is_bound_by_name() {
    let mut config = EndpointConfig { include_loopback: true, ..EndpointConfig::default() };
    config.hosts.max = 1;
    let mut bound = unspecified();
    assert!(host_addresses(&config, &bound).len() <= 1);
    let named: SocketAddr = "127.0.0.1:99".parse().unwrap();
    bound.push(named);
    assert_eq!(host_addresses(&config, &bound), [named]);
    config.hosts.max = 0;
    assert!(host_addresses(&config, &bound).is_empty());
}

#[test]
fn what_the_limit_leaves_out_has_not_gone() {
    let mut config = EndpointConfig::default();
    config.hosts.max = 1;
    let limited = |listed: &[Listed]| {
        let mut hosts = hosts(listed, &config);
        hosts.add_named(&config, &unspecified());
        hosts
    };
    let v4 = address("eth0", 2, "10.0.0.1");
    let first = limited(std::slice::from_ref(&v4));
    assert_eq!(ips(&first.preferred), ["10.0.0.1"]);
    // One that ranks first has come, and then another.
    let second = limited(&[v4.clone(), address("eth0", 2, "2001:db8::1")]);
    assert_eq!(ips(&second.preferred), ["2001:db8::1"]);
    let third = limited(&[v4, address("eth0", 2, "2001:db8::1"), address("eth1", 1, "2001:db8:1::1")]);
    assert_eq!(ips(&third.preferred), ["2001:db8:1::1"]);
    for base in first.preferred.iter().chain(&second.preferred) {
        assert!(!third.lacks(*base), "{base} is there still");
    }
    assert!(limited(&[]).lacks(first.preferred[0]));
}

#[test]
fn the_filter_is_obeyed() {
    let listed =
        [address("eth0", 2, "10.0.0.1"), address("docker0", 3, "172.17.0.1"), address("eth0", 2, "fd00::1")];
    let mut config = EndpointConfig::default();
    config.hosts.except_interfaces = vec!["docker*".to_owned()];
    config.hosts.ipv6 = false;
    assert_eq!(ips(&hosts(&listed, &config).preferred), ["10.0.0.1"]);
}

#[test]
fn links_are_those_of_gathered_addresses_with_all_their_networks() {
    let listed = [
        address("lo", 1, "127.0.0.1"),
        address("eth0", 2, "10.0.0.1"),
        address("eth0", 2, "fe80::1"),
        address("eth0", 2, "fd00::1"),
        address("docker0", 3, "172.17.0.1"),
        address("docker0", 3, "fe80::3"),
    ];
    let mut config = EndpointConfig::default();
    config.hosts.except_interfaces = vec!["docker0".to_owned()];
    let found = |config: &EndpointConfig| {
        subnets_of(&listed, config).iter().map(|subnet| subnet.ip.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&config), ["10.0.0.1", "fe80::1", "fd00::1"]);
    config.hosts.ipv6 = false;
    assert_eq!(found(&config), ["10.0.0.1"], "a family that isn't gathered has no link");
    let named = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    assert_eq!(found(&named), ["127.0.0.1"]);
    let subnet = &subnets_of(&listed, &named)[0];
    assert!(subnet.contains("127.0.0.9".parse().unwrap()) && !subnet.contains("10.0.0.1".parse().unwrap()));
}
