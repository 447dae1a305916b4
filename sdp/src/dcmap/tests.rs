//! RFC 8864 §5: its examples, its grammar, and what breaks it.

use proptest::prelude::*;

use super::*;

fn map(text: &str) -> Dcmap {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> DcmapError {
    text.parse::<Dcmap>().expect_err(text)
}

/// §5.1.1, §5.2.1, §7, and the same as articles have them, with the names in capitals.
const EXAMPLES: [&str; 14] = [
    "0",
    r#"1 subprotocol="bfcp";max-time=60000;priority=512"#,
    r#"2 subprotocol="msrp";ordered=true;label="msrp""#,
    r#"3 label="Label 1";ordered=false;max-retr=5;priority=128"#,
    r#"4 label="foo%09bar";ordered=true;max-time=15000"#,
    r#"1 subprotocol="BFCP";max-time=60000;priority=512"#,
    r#"2 subprotocol="MSRP";ordered=true;label="MSRP""#,
    r#"0 subprotocol="bfcp";label="bfcp""#,
    r#"2 subprotocol="msrp";label="msrp""#,
    r#"4 subprotocol="msrp";label="msrp""#,
    r#"5 ordered=false"#,
    r#"65534 ordered=true;max-retr=0"#,
    r#"6 ordered=false;max-time=4294967295"#,
    r#"7 label="";x-new=1;x-text="a;b";priority=65535"#,
];

#[test]
fn every_example_is_written_back_as_it_was_read() {
    for text in EXAMPLES {
        assert_eq!(map(text).to_string(), text);
    }
}

#[test]
fn the_examples_mean_what_the_rfc_says() {
    let plain = map("0");
    assert_eq!((plain.stream_id(), plain.label(), plain.subprotocol()), (0, "", ""));
    assert_eq!((plain.ordered(), plain.limit(), plain.priority()), (true, Limit::None, 256));
    let bfcp = map(EXAMPLES[1]);
    assert_eq!((bfcp.subprotocol(), bfcp.limit(), bfcp.priority()), ("bfcp", Limit::MaxTime(60_000), 512));
    let third = map(EXAMPLES[3]);
    assert_eq!((third.label(), third.ordered(), third.limit()), ("Label 1", false, Limit::MaxRetr(5)));
    assert_eq!(map(EXAMPLES[4]).label(), "foo\tbar");
}

#[test]
fn names_true_false_and_hex_digits_are_taken_in_either_case() {
    let shouted = map(r#"1 LABEL="%c3%A9";Ordered=FALSE;MAX-RETR=1"#);
    assert_eq!((shouted.label(), shouted.ordered(), shouted.limit()), ("é", false, Limit::MaxRetr(1)));
    assert_eq!(shouted.to_string(), r#"1 label="%C3%A9";ordered=false;max-retr=1"#);
}

#[test]
fn another_value_of_ordered_is_ignored_and_means_true() {
    let odd = map("1 ordered=maybe;priority=1");
    assert!(odd.ordered());
    assert_eq!(odd.to_string(), "1 ordered=maybe;priority=1");
    assert_eq!(refused("1 ordered=maybe;ordered=false"), DcmapError::Duplicate("ordered"));
}

#[test]
fn unknown_parameters_are_kept_in_their_place_and_mean_nothing() {
    let text = r#"9 x-a=b;label="l";x-a=b;y="q;uo te%zz""#;
    assert_eq!(map(text).to_string(), text);
    assert_eq!(map(text).unknown().collect::<Vec<_>>(), ["x-a=b", "x-a=b", r#"y="q;uo te%zz""#]);
    assert!(map(text).is_same_channel(&map(r#"9 label="l";ordered=true;priority=256"#)));
    assert!(!map(text).is_same_channel(&map(r#"9 label="l";priority=255"#)));
    assert_eq!(map(text).without_unknown().to_string(), r#"9 label="l""#);
}

#[test]
fn stream_ids_are_one_to_five_digits_up_to_65534() {
    assert_eq!(map("00001").stream_id(), 1);
    for bad in ["", "65535", "65536", "99999", "000001", "-1", "+1", "1x", "x", " 1", "1\t", "٣"] {
        assert!(matches!(refused(bad), DcmapError::StreamId(_)), "{bad:?}");
    }
    assert!(Dcmap::new(65_535).is_err());
}

#[test]
fn spaces_semicolons_and_equals_signs_must_be_where_the_grammar_has_them() {
    for bad in [
        "1 ",
        "1  ordered=true",
        "1 ordered=true;",
        "1 ;ordered=true",
        "1 ordered",
        "1 ordered=",
        "1 =true",
        "1 ordered =true",
        "1 ordered=true; priority=1",
        "1;ordered=true",
        "1 lab\"el=x\"",
    ] {
        let error = refused(bad);
        assert!(
            matches!(error, DcmapError::Syntax(_) | DcmapError::StreamId(_) | DcmapError::Quoting(_)),
            "{bad:?}: {error:?}"
        );
    }
}

#[test]
fn bad_quoting_is_refused() {
    for value in [
        "x",
        "\"x",
        "x\"",
        "\"",
        "\"a\"b\"",
        "\"a\"b",
        "\"%\"",
        "\"%4\"",
        "\"%4g\"",
        "\"%+1\"",
        "\"é\"",
        "\"\t\"",
        "\"a\rb\"",
        "\"a\nb\"",
        "\"a\0b\"",
        "\"\u{7f}\"",
        "'x'",
    ] {
        for name in ["label", "subprotocol"] {
            let error = refused(&format!("1 {name}={value}"));
            assert_eq!(error, DcmapError::Quoting(name.to_owned()), "{value:?}");
        }
        if value != "x" && value != "'x'" && !value.contains('%') {
            let error = refused(&format!("1 other={value}"));
            assert!(matches!(error, DcmapError::Quoting(_)), "{value:?}: {error:?}");
        }
    }
    assert_eq!(refused(r#"1 label="%ff""#), DcmapError::NotUtf8("label"));
    assert_eq!(refused(r#"1 subprotocol="%c3""#), DcmapError::NotUtf8("subprotocol"));
}

#[test]
fn both_limits_and_repeated_parameters_are_refused() {
    assert_eq!(refused("1 max-retr=1;max-time=1"), DcmapError::BothLimits);
    assert_eq!(refused("1 max-time=1;ordered=true;max-retr=0"), DcmapError::BothLimits);
    for (twice, name) in [
        ("max-retr=1;max-retr=1", "max-retr"),
        ("max-time=1;max-time=2", "max-time"),
        ("ordered=true;Ordered=true", "ordered"),
        ("label=\"\";label=\"\"", "label"),
        ("subprotocol=\"a\";subprotocol=\"b\"", "subprotocol"),
        ("priority=1;priority=1", "priority"),
    ] {
        assert_eq!(refused(&format!("1 {twice}")), DcmapError::Duplicate(name));
    }
}

#[test]
fn numbers_beyond_their_parameter_are_refused_with_the_channel_that_they_belong_to() {
    for (parameter, values) in [
        ("max-retr", ["4294967296", "-1", "01", "1.0", "99999999999999999999", "\"1\""]),
        ("max-time", ["4294967296", "+1", "00", "1e3", "٣", "1 "]),
        ("priority", ["65536", "-0", "0256", "x", "0x1", "256ms"]),
    ] {
        for value in values {
            let error = refused(&format!("7 {parameter}={value}"));
            assert!(
                matches!(&error, DcmapError::Number { stream_id: 7, parameter: named, .. } if *named == parameter),
                "{parameter}={value}: {error:?}"
            );
        }
    }
}

#[test]
fn texts_and_lists_beyond_the_limits_are_refused() {
    let long = "x".repeat(MAX_LABEL);
    assert_eq!(map(&format!("1 label=\"{long}\"")).label(), long);
    assert!(matches!(refused(&format!("1 label=\"{long}x\"")), DcmapError::TooLong { .. }));
    assert!(matches!(
        Dcmap::new(1).unwrap().with_label(&format!("{long}x")),
        Err(DcmapError::TooLong { .. })
    ));
    let many = vec!["a=b"; MAX_PARAMETERS].join(";");
    assert_eq!(map(&format!("1 {many}")).unknown().count(), MAX_PARAMETERS);
    assert!(matches!(refused(&format!("1 {many};a=b")), DcmapError::TooLong { .. }));
}

#[test]
fn no_label_can_bring_a_line_or_a_parameter_with_it() {
    for evil in
        ["x\r\na=fingerprint:sha-256 00", "x\";ordered=false", "%22;max-retr=0", "\0", "\u{85}\u{2028}"]
    {
        let made = Dcmap::new(1).unwrap().with_label(evil).unwrap().with_subprotocol(evil).unwrap();
        let text = made.to_string();
        assert!(text.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{text}");
        let read = map(&text);
        assert_eq!((read.label(), read.subprotocol()), (evil, evil));
        assert!(read.ordered() && read.limit() == Limit::None, "{text}");
    }
}

#[test]
fn subprotocol_attributes_round_trip_and_are_one_line() {
    for text in [
        "2 accept-types:text/plain",
        "2 accept-types:message/cpim text/plain",
        "2 path:msrp://alice.example.com:10001/2s93i93idj;dc",
        "0 sendonly",
        "3 x:a\tb: c",
    ] {
        assert_eq!(text.parse::<Dcsa>().unwrap().to_string(), text);
    }
    let dcsa: Dcsa = "2 path:msrp://x".parse().unwrap();
    assert_eq!((dcsa.stream_id(), dcsa.attribute()), (2, "path:msrp://x"));
    for bad in ["", "2", "2 ", "x y:z", "65535 y:z", "2 :z", "2 y:", "2  y:z", "2 y y:z"] {
        assert!(bad.parse::<Dcsa>().is_err(), "{bad:?}");
    }
    for bad in ["y:a\rb", "y:a\nb", "y:a\0b", "y\r\na=setup:active", "y:\u{85}", "é:a"] {
        assert!(matches!(Dcsa::new(1, bad), Err(DcmapError::Attribute(_))), "{bad:?}");
    }
}

fn any_map() -> impl Strategy<Value = Dcmap> {
    let limit = prop_oneof![
        Just(Limit::None),
        any::<u32>().prop_map(Limit::MaxRetr),
        any::<u32>().prop_map(Limit::MaxTime)
    ];
    let text = prop_oneof!["\\PC{0,8}", "[\\x00-\\x7f]{0,8}"];
    (0..65_535u16, text.clone(), text, any::<bool>(), limit, any::<u16>()).prop_map(
        |(id, label, subprotocol, ordered, limit, priority)| {
            let map = Dcmap::new(id).unwrap().with_limit(limit).with_label(&label).unwrap();
            map.with_subprotocol(&subprotocol).unwrap().with_priority(priority).with_ordered(ordered)
        },
    )
}

proptest! {
    #[test]
    fn what_is_made_is_read_back(made in any_map()) {
        prop_assert_eq!(made.to_string().parse::<Dcmap>(), Ok(made));
    }

    #[test]
    fn what_is_read_is_written_so_that_it_reads_the_same(
        text in "[0-9]{1,5}( (label=\"[ -~]{0,9}\"|ordered=(true|false|x)|max-retr=[0-9]{1,3}|x=[!-~]{1,3}|;){0,5})?",
    ) {
        if let Ok(read) = text.parse::<Dcmap>() {
            prop_assert_eq!(read.to_string().parse::<Dcmap>(), Ok(read));
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "[0-9]{0,6} ?\\PC{0,40}|[ -~\\r\\n\\x00]{0,60}") {
        let _ = (text.parse::<Dcmap>(), text.parse::<Dcsa>());
    }
}
