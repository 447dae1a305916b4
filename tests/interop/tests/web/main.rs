//! What the server serves to browsers, in Chromium and Firefox: the modules of `web/`, with native nodes of `sinnet-alm` in the
//! same groups.

mod alm;
mod mesh;
mod mixed;
mod old;
mod page;
mod site;

/// The tests of one browser.
macro_rules! browser {
    ($name:ident, $kind:ident) => {
        mod $name {
            macro_rules! run {
                ($topic:ident, $test:ident) => {
                    #[test]
                    fn $test() {
                        use sinnet_interop::browser::Kind;
                        sinnet_interop::lab::run(async |lab| crate::$topic::$test(lab, Kind::$kind).await);
                    }
                };
            }

            run!(mesh, pages_and_native_nodes_are_one_mesh);
            run!(mesh, a_page_makes_a_group_that_others_find_and_leave);
            run!(mesh, pages_that_offer_to_each_other_get_one_connection);
            run!(mesh, candidates_that_come_before_their_offer_are_kept);
            run!(mesh, a_member_that_relays_nonsense_harms_only_itself);
            run!(mesh, a_member_that_never_answers_is_unreachable);
            run!(mesh, members_that_die_are_removed);
            run!(mesh, connections_outlive_the_server);
            run!(mesh, eight_megabytes_arrive_in_order);
            run!(alm, messages_reach_all_pages_of_a_chain);
            run!(alm, a_file_reaches_all_though_an_interior_page_closes);
            run!(alm, a_group_outlives_its_server_and_takes_newcomers_when_it_is_back);
            run!(mixed, native_nodes_get_what_a_page_casts);
            run!(old, a_node_of_2013_is_a_member_of_a_pages_group);
            run!(alm, a_hidden_page_keeps_time);
            run!(alm, mistakes_and_callbacks_are_told_as_documented);
            run!(page, a_group_is_made_joined_and_drawn);
            run!(page, a_mesh_has_chat_and_files_with_native_nodes);
            run!(page, trees_carry_files_between_pages_and_native_nodes);
            run!(page, a_token_is_shown_to_a_server_that_wants_one);
            run!(page, what_does_not_work_is_said);
        }
    };
}

/// Both browsers at once.
#[test]
fn a_file_reaches_pages_and_native_nodes_though_an_interior_page_closes() {
    sinnet_interop::lab::run(mixed::a_file_reaches_pages_and_native_nodes_though_an_interior_page_closes);
}

browser!(chromium, Chromium);
browser!(firefox, Firefox);
