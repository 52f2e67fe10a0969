//! Losses of all ranks on their parts of a batch or of the validation images, gathered in the images' order.

use crate::device::LossSum;
use crate::ranks::Collective;
use crate::{Error, Result};

/// Gathers the losses of all ranks, and the number of correctly classified images, if any were classified.
///
/// The ranks' images follow each other in the order of the ranks. The bits are the same on every rank.
pub(crate) fn gather(ranks: &mut Collective, own: LossSum, right: Option<usize>) -> Result<(LossSum, Option<usize>)> {
    if ranks.size() == 1 {
        return Ok((own, right));
    }
    let (mut all, mut total) = (LossSum::default(), None);
    for bytes in ranks.gather(&write(&own, right))? {
        let (sum, right) = read(&bytes).ok_or_else(|| {
            Error::Mismatch("another rank gave losses of a form unknown here: start the same igpt".into())
        })?;
        all.extend(sum);
        total = right.map(|right| right + total.unwrap_or(0)).or(total);
    }
    Ok((all, total))
}

/// Encodes the losses in numbers of 8 bytes each: tokens, correctly classified images plus 1 (0: none were
/// classified), the lengths of the three lists, the lists.
fn write(sum: &LossSum, right: Option<usize>) -> Vec<u8> {
    let head =
        [sum.tokens, right.map_or(0, |right| right + 1), sum.nats.len(), sum.class_nats.len(), sum.predicted.len()];
    let head = head.into_iter().map(|n| n as u64);
    let nats = sum.nats.iter().chain(&sum.class_nats).map(|nats| nats.to_bits());
    let predicted = sum.predicted.iter().map(|&class| class.into());
    head.chain(nats).chain(predicted).flat_map(u64::to_le_bytes).collect()
}

fn read(bytes: &[u8]) -> Option<(LossSum, Option<usize>)> {
    let mut numbers = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let mut head = || numbers.next().map(|n| n as usize);
    let (tokens, right, lens) = (head()?, head()?, [head()?, head()?, head()?]);
    let mut floats = |len| numbers.by_ref().take(len).map(f64::from_bits).collect::<Vec<_>>();
    let (nats, class_nats) = (floats(lens[0]), floats(lens[1]));
    let predicted: Vec<u32> = numbers.map(|class| class as u32).collect();
    let whole = nats.len() == lens[0] && class_nats.len() == lens[1] && predicted.len() == lens[2];
    whole.then_some((LossSum { nats, tokens, class_nats, predicted }, right.checked_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::collective::tests::on_ranks;

    #[test]
    fn losses_of_all_ranks_come_together_in_the_order_of_their_images() {
        let part = |rank: usize| LossSum {
            nats: (0..rank).map(|i| (rank + i) as f64 + 0.1).collect(),
            tokens: 64 * rank,
            class_nats: vec![f64::INFINITY; rank],
            predicted: vec![rank as u32; rank],
        };
        let mut whole = LossSum::default();
        (0..4).for_each(|rank| whole.extend(part(rank)));
        for all in on_ranks(4, |mut ranks| {
            let rank = ranks.rank();
            let all = gather(&mut ranks, part(rank), Some(rank)).unwrap();
            assert_eq!(gather(&mut ranks, part(rank), None).unwrap().1, None);
            ranks.close().unwrap();
            all
        }) {
            assert_eq!(all, (whole.clone(), Some(6)));
        }
    }
}
