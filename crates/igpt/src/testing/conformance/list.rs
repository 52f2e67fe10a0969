//! List of all claims.

use super::{
    Claim, bits, decoding, features, goldens, gradients, groups, objectives, refusals, shares, state, updates,
};

/// Passes all claims of the conformance suite to the macro `$to`, for example to make a `#[test]` of each.
///
/// The format is `file: claim, claim, …; file: …;` with this module's files.
///
/// ```
/// macro_rules! count {
///     ($($file:ident: $($claim:ident),+;)+) => { [$($(stringify!($claim)),+),+].len() };
/// }
/// assert_eq!(igpt::conformance_claims!(count), igpt::testing::conformance::claims().len());
/// ```
#[macro_export]
macro_rules! conformance_claims {
    ($to:ident) => {
        $to! {
            goldens:
                f32_agrees_with_pytorch,
                bf16_agrees_with_pytorch_within_its_rounding,
                f32_agrees_with_pytorch_on_masks_and_classes,
                bf16_agrees_with_pytorch_on_masks_and_classes_within_its_rounding,
                f32_agrees_with_pytorch_on_muon,
                bf16_agrees_with_pytorch_on_muon_within_its_rounding;
            gradients:
                gradients_match_central_differences,
                gradients_of_masked_inputs_match_central_differences,
                gradients_of_the_joint_loss_match_central_differences,
                gradients_of_smoothed_labels_match_central_differences,
                gradients_of_frozen_blocks_are_zero_and_others_match_central_differences,
                passes_add_to_the_gradient_and_a_step_clears_it;
            bits:
                bits_do_not_depend_on_micro_batches_or_recomputation,
                bits_of_larger_images_do_not_depend_on_those_either,
                bits_of_masked_and_joint_training_do_not_depend_on_those_either,
                a_batch_in_several_calls_has_the_gradient_of_one,
                forward_passes_repeat_and_do_not_depend_on_micro_batches_or_neighbours;
            groups:
                a_batch_in_groups_has_the_gradient_of_its_binary_tree,
                the_squared_norm_is_that_of_the_group_and_at_the_end_that_of_the_batch,
                buckets_cover_the_gradient_once_with_the_values_that_stay,
                buckets_do_not_depend_on_images_or_micro_batches,
                an_error_of_the_one_who_is_told_is_passed_on,
                ranks_sum_their_groups_to_the_bits_of_one_engine,
                the_end_of_the_only_group_changes_nothing;
            shares:
                engines_of_shares_step_to_the_bits_of_one_that_owns_all,
                shares_make_up_the_weights,
                moments_are_held_by_one_share_each_and_weights_by_all;
            state:
                a_restored_engine_goes_on_to_the_same_bits,
                tensors_of_a_state_are_those_of_the_layout,
                what_is_imported_is_exported,
                weights_and_average_start_as_what_was_given,
                the_average_follows_the_weights,
                the_average_swaps_with_the_weights_and_back,
                without_an_average_the_weights_are_all_there_is,
                an_import_passes_errors_on_and_refuses_other_shapes;
            updates:
                one_batch_is_overfitted_to_its_entropy,
                frozen_blocks_and_embeddings_keep_every_bit,
                a_step_clips_by_the_global_norm,
                the_rate_of_each_tensor_is_that_of_its_block_of_the_networks_width_and_of_the_head;
            decoding:
                a_decoder_matches_the_full_forward_pass,
                prefill_matches_the_full_forward_pass_at_every_length,
                a_row_does_not_depend_on_its_neighbours,
                a_copied_row_goes_on_to_the_bits_of_the_original,
                a_row_that_is_started_anew_forgets_its_image,
                a_decoder_keeps_the_weights_it_was_made_with,
                eight_bits_are_used_where_they_are_asked_for,
                an_engine_has_decoders_exactly_if_it_says_so;
            features:
                features_of_a_layer_do_not_depend_on_the_others_asked_for,
                pooled_features_are_those_of_all_positions_pooled,
                features_of_a_position_depend_on_what_it_sees;
            objectives:
                changing_a_pixel_leaves_the_logits_up_to_it_alone,
                a_fresh_model_knows_nothing,
                pixel_nats_sum_to_the_images_nats,
                what_is_masked_is_not_seen_and_everything_else_is,
                a_masked_loss_is_the_mean_over_the_masked_positions_times_the_tokens,
                nats_of_classes_are_those_of_their_logits,
                smoothed_labels_count_in_training_alone,
                without_a_generative_loss_the_shorter_pass_gives_what_the_whole_one_gives;
            refusals:
                what_can_not_be_opened_is_refused_with_the_reason,
                batches_that_do_not_fit_are_refused_by_every_pass,
                a_refused_batch_leaves_the_gradient_alone,
                room_of_another_size_is_refused,
                layers_and_tensors_that_are_not_there_are_refused_by_name,
                what_a_model_can_not_do_is_refused_with_the_reason,
                a_step_of_another_optimizer_is_refused_by_name,
                values_of_another_number_are_refused,
                a_decoder_refuses_what_makes_no_image;
        }
    };
}

macro_rules! list {
    ($($file:ident: $($claim:ident),+;)+) => {
        &[$($((concat!(stringify!($file), "::", stringify!($claim)), $file::$claim)),+),+]
    };
}

/// Returns every claim of the conformance suite with its name, `file::claim`.
pub fn claims() -> &'static [(&'static str, Claim)] {
    conformance_claims!(list)
}
