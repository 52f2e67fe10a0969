//! The order in which parts of the gradient become final.

use super::*;

#[test]
fn the_gradient_is_told_from_its_end_to_its_beginning_with_a_part_for_each_block() {
    let classified = classifier(tiny_network(), 1);
    let frozen = FinetuneObjective { frozen_blocks: 1, ..FinetuneObjective::default() };
    let classes_alone = FinetuneObjective { generative_weight: 0.0, ..FinetuneObjective::default() };
    for (network, fine_tuning) in [
        (tiny_network(), FinetuneObjective::default()),
        (classified.clone(), FinetuneObjective::default()),
        (classified.clone(), frozen),
        (classified, classes_alone),
    ] {
        let options = options(Precision::F32, 2, &ADAM);
        let engine = EngineOptions { micro_batch: 2, ..options.engine };
        let mut engine = open(Isa::detect(), &network, &TrainOptions { engine, fine_tuning, ..options });
        let mut ranges = Vec::new();
        let mut told = |bucket: &dyn crate::device::GradientBucket| {
            ranges.push(bucket.range());
            Ok(())
        };
        engine.accumulate_last(&batch_for(&network, 5), 0.1, &mut told).unwrap();
        assert_eq!((ranges[0].end, ranges.last().unwrap().start), (engine.optimizer_shard()[0].end, 0));
        assert!(ranges.windows(2).all(|pair| pair[1].end == pair[0].start), "{ranges:?}");
        if fine_tuning == FinetuneObjective::default() {
            assert_eq!(ranges.len(), network.n_layer + 1);
        }
    }
}
