//! `sinnet connect` against Chromium and Firefox: either one offering, with `.local` candidates and with plain ones.
//! And the page of `sinnet serve` in both, and connections without signalling,
//! and over TCP.

mod channels;
mod closing;
mod direct;
mod files;
mod fingerprint;
mod messages;
mod restart;
mod serve;
mod tcp;

/// The tests of one cell of the matrix. They run sorted by name, so that four browsers are started in all.
macro_rules! cell {
    ($name:ident, $kind:ident, $privacy:ident, $offers:ident) => {
        mod $name {
            use sinnet_interop::browser::{Kind, Privacy};
            use sinnet_interop::lab;
            use sinnet_interop::session::{Cell, Offers};

            const CELL: Cell =
                Cell { kind: Kind::$kind, privacy: Privacy::$privacy, offers: Offers::$offers };

            macro_rules! run {
                ($topic:ident, $test:ident) => {
                    #[test]
                    fn $test() {
                        lab::run(async |lab| crate::$topic::$test(lab, CELL).await);
                    }
                };
            }

            run!(messages, strings_and_bytes_of_every_size_come_back_as_they_were);
            run!(messages, a_burst_of_messages_comes_back_in_order);
            run!(files, the_peer_receives_50_mb_from_the_browser);
            run!(files, the_browser_receives_50_mb_from_the_peer);
            run!(files, the_browser_receives_a_file_in_one_message);
            run!(files, a_file_that_the_browser_abandons_leaves_nothing);
            run!(channels, twenty_channels_opened_from_both_sides_echo);
            run!(channels, options_arrive_as_they_were_given);
            run!(closing, a_channel_closed_by_the_browser_closes_at_the_peer);
            run!(closing, a_connection_closed_by_the_browser_ends_the_peer_with_status_0);
            run!(closing, a_connection_closed_by_the_peer_closes_the_browsers_channels);
            run!(restart, ice_restarts_by_either_side_lose_nothing);
            run!(fingerprint, a_wrong_fingerprint_from_the_browser_fails_the_connection);
            run!(fingerprint, a_wrong_fingerprint_from_the_peer_fails_the_connection);
        }
    };
}

/// The tests of the page that `sinnet serve` has, in one browser.
macro_rules! page {
    ($name:ident, $kind:ident, $privacy:ident) => {
        mod $name {
            use sinnet_interop::browser::{Kind, Privacy};
            use sinnet_interop::lab;

            macro_rules! run {
                ($test:ident) => {
                    #[test]
                    fn $test() {
                        lab::run(async |lab| crate::serve::$test(lab, Kind::$kind, Privacy::$privacy).await);
                    }
                };
            }

            run!(it_connects_and_echoes);
            run!(it_moves_files_both_ways);
            run!(it_hangs_up_and_connects_again);
            run!(it_sees_the_server_end);
        }
    };
}

/// Connections without signalling, from one browser.
macro_rules! direct {
    ($kind:ident) => {
        mod direct {
            use sinnet_interop::browser::Kind;
            use sinnet_interop::lab;

            macro_rules! run {
                ($test:ident) => {
                    #[test]
                    fn $test() {
                        lab::run(async |lab| crate::direct::$test(lab, Kind::$kind).await);
                    }
                };
            }

            run!(it_connects_without_signalling_by_a_password_that_both_share);
            run!(it_connects_without_signalling_by_a_password_within_the_ufrag);
        }
    };
}

/// Connections over TCP, with one browser.
macro_rules! tcp {
    ($kind:ident) => {
        mod tcp {
            use sinnet_interop::browser::{Kind, Privacy};
            use sinnet_interop::lab;
            use sinnet_interop::session::{Cell, Offers};

            macro_rules! run {
                ($test:ident, $offers:ident) => {
                    #[test]
                    fn $test() {
                        let cell =
                            Cell { kind: Kind::$kind, privacy: Privacy::Plain, offers: Offers::$offers };
                        lab::run(async |lab| crate::tcp::$test(lab, cell).await);
                    }
                };
            }

            run!(it_connects_over_tcp_where_no_udp_gets_through, TheBrowser);
            run!(it_takes_a_file_over_tcp, ThePeer);
        }
    };
}

mod chromium {
    direct!(Chromium);
    tcp!(Chromium);
    mod mdns {
        page!(page, Chromium, Default);
        cell!(browser_answers, Chromium, Default, ThePeer);
        cell!(browser_offers, Chromium, Default, TheBrowser);
    }
    mod plain {
        cell!(browser_answers, Chromium, Plain, ThePeer);
        cell!(browser_offers, Chromium, Plain, TheBrowser);
    }
}

mod firefox {
    direct!(Firefox);
    tcp!(Firefox);
    mod mdns {
        page!(page, Firefox, Default);
        cell!(browser_answers, Firefox, Default, ThePeer);
        cell!(browser_offers, Firefox, Default, TheBrowser);
    }
    mod plain {
        cell!(browser_answers, Firefox, Plain, ThePeer);
        cell!(browser_offers, Firefox, Plain, TheBrowser);
    }
}

/// What does not differ between the cells, and takes half a minute.
mod once {
    use sinnet_interop::browser::{Kind, Privacy};
    use sinnet_interop::lab;
    use sinnet_interop::session::{Cell, Offers};

    #[test]
    fn a_browser_that_is_killed_fails_the_connection_when_its_consent_runs_out() {
        let cell = Cell { kind: Kind::Chromium, privacy: Privacy::Plain, offers: Offers::TheBrowser };
        lab::run(async |lab| {
            crate::closing::a_browser_that_is_killed_fails_the_connection_when_its_consent_runs_out(
                lab, cell,
            )
            .await;
        });
    }
}
