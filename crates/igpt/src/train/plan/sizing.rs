//! Best use of a budget in minutes: image size, colours and network, if the config leaves them open, from a table and
//! the speed of this machine.

use crate::Result;
use crate::data::{Augment, Images};
use crate::image::ImageSize;
use crate::model::{ModelConfig, Objective};
use crate::train::config::{OptimizerSettings, RunConfig};

/// Image size, palette and network, and the number of images from which they are worth it.
#[derive(Clone, Copy, Debug)]
struct Rung {
    /// Image side.
    side: usize,
    /// Colours of the palette, for RGB and for grey images.
    colors: [usize; 2],
    /// Width, blocks and heads of the network.
    network: (usize, usize, usize),
    /// Images that a run must see for this size to be worth it.
    ///
    /// From there on the likelihood is as far below the best baseline as that of the rung before.
    from: f64,
}

/// Sizes in ascending order; the first one is for every budget.
///
/// The values of `from` are estimated from short runs on emoji; `studies/sizing.py` measures them.
const TABLE: [Rung; 3] = [
    Rung { side: 16, colors: [64, 16], network: (128, 6, 4), from: 0.0 },
    Rung { side: 24, colors: [128, 16], network: (128, 6, 4), from: 25_000.0 },
    Rung { side: 32, colors: [256, 16], network: (128, 6, 4), from: 60_000.0 },
];

/// Size for tiles of large pictures. Judging a picture takes many tiles; on textures this one is as good as larger
/// networks on larger tiles.
const TILES: [Rung; 1] = [Rung { side: 16, colors: [64, 16], network: (64, 4, 4), from: 0.0 }];

/// Default side of tiles.
pub(in crate::train) const TILE: usize = TILES[0].side;

/// Images of a run below which it learns most by small batches and high learning rates.
const SHORT: f64 = 60_000.0;
/// Batch size of such a short run.
const SHORT_BATCH: usize = 8;
/// Learning rates of such a short run, Muon's and Adam's.
const SHORT_RATES: [f64; 2] = [0.02, 3e-3];
/// Share of steps in a budget.
const STEPS: f64 = 0.88;

/// Sizes that a budget has decided.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::train) struct Sized {
    /// Colours of the palette, an upper limit if the images have fewer; `None` if the config sets them.
    pub colors: Option<usize>,
    /// Message about the choice.
    pub told: String,
}

/// Decides the image size and network that the `config` of a run of minutes leaves open, for `images`.
///
/// It returns `None` if nothing is open or the budget is not in minutes. `speed` returns the images per second that a
/// network trains on here.
///
/// # Errors
/// As `speed`.
pub(in crate::train) fn size(
    config: &mut RunConfig,
    images: &Images,
    speed: impl FnOnce(&ModelConfig) -> Result<f64>,
) -> Result<Option<Sized>> {
    let grey = usize::from(images.channels() == 1);
    let model = &config.model;
    let opens_network = model.preset.is_none() && model.n_embd.is_none() && model.n_layer.is_none();
    let opens_colors = config.palette.colors.is_none() && config.palette.file.is_none();
    let (Some(minutes), true) = (config.train.minutes, opens_network || opens_colors || model.n_px.is_none()) else {
        return Ok(None);
    };
    if !config.train.plan.is_empty() {
        return Ok(None);
    }
    let table: &[Rung] = if config.data.augment == Some(Augment::Tiles) { &TILES } else { &TABLE };
    let network = |rung: &Rung| {
        let mut config = config.clone();
        if opens_network {
            set_network(&mut config, rung);
        }
        let n_px = config.model.n_px.unwrap_or(ImageSize::square(rung.side));
        config.network(n_px, config.palette.colors.unwrap_or(rung.colors[grey]))
    };
    let first = network(&table[0]);
    let seconds = 60.0 * minutes * STEPS;
    let first_seen = speed(&first)? * seconds;
    let seen = |rung: &Rung| first_seen * work(&first) / work(&network(rung));
    let own = images.common_size().map_or(usize::MAX, |size| size.height.min(size.width));
    let fits = |rung: &&Rung| match config.model.n_px {
        // For a given image size, the nearest rung below it decides the colours.
        Some(n_px) => rung.side <= n_px.height.max(table[0].side),
        None => rung.side <= own.max(table[0].side) && seen(rung) >= rung.from,
    };
    let rung = *table.iter().rfind(fits).unwrap_or(&table[0]);
    let seen = seen(&rung);
    let n_px = config.model.n_px.unwrap_or(ImageSize::square(rung.side.min(own)));
    config.model.n_px = Some(n_px);
    let mut steps = String::new();
    if opens_network {
        set_network(config, &rung);
        // The short runs were measured on this network.
        if seen < SHORT {
            steps = small_steps(config);
        }
    }
    let colors = config.palette.colors.unwrap_or(rung.colors[grey]);
    let ModelConfig { n_embd, n_layer, .. } = config.network(n_px, colors);
    let told = format!(
        "sized for {minutes} minutes, in which about {:.0} images are seen: {n_px} images, {colors} colours, {n_layer} blocks \
         of width {n_embd} (--n-px, --colors and --preset choose others){steps}",
        round(seen)
    );
    Ok(Some(Sized { colors: opens_colors.then_some(rung.colors[grey]), told }))
}

fn set_network(config: &mut RunConfig, rung: &Rung) {
    let (n_embd, n_layer, n_head) = rung.network;
    let model = &mut config.model;
    (model.n_embd, model.n_layer, model.n_head) = (Some(n_embd), Some(n_layer), model.n_head.or(Some(n_head)));
}

/// Sets batch size and learning rates of a short run, if the recipe decides them; returns a message about it.
fn small_steps(config: &mut RunConfig) -> String {
    let is_given = |key: &str| config.explicit.all.get(key).is_some();
    let (batch, lr, own_rate) =
        (is_given("train.batch"), is_given("train.lr"), is_given("train.optimizer.lr") || is_given("train.optimizer"));
    let OptimizerSettings::Muon(muon) = &mut config.train.optimizer else { return String::new() };
    let mut told = Vec::new();
    if !batch && config.train.batch == 0 {
        config.train.batch = SHORT_BATCH.next_multiple_of(config.train.gradient_groups);
        told.push(format!("{} images a step (--batch)", config.train.batch));
    }
    if !own_rate {
        muon.lr = SHORT_RATES[0];
        told.push(format!("Muon's learning rate {} (--muon-lr)", muon.lr));
    }
    if !lr {
        config.train.lr = SHORT_RATES[1];
        told.push(format!("Adam's {} (--lr)", config.train.lr));
    }
    if told.is_empty() { String::new() } else { format!("; for so short a run: {}", told.join(", ")) }
}

/// Relative arithmetic of an image in training: products with weights, and attention to earlier positions.
fn work(network: &ModelConfig) -> f64 {
    let (t, c, l) = (network.n_ctx() as f64, network.n_embd as f64, network.n_layer as f64);
    let weights = l * (4.0 * c * c + 2.0 * c * network.n_inner as f64) + c * network.n_vocab as f64;
    let reach = if network.objective == Objective::Masked { t } else { t / 2.0 };
    t * (weights + l * 2.0 * c * reach)
}

/// Rounds to two digits.
fn round(images: f64) -> f64 {
    let unit = 10f64.powf(images.max(1.0).log10().floor() - 1.0).max(1.0);
    (images / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, Split, open};
    use crate::train::Overrides;

    fn sized(minutes: f64, speed: f64, settings: &[&str]) -> (RunConfig, Option<Sized>) {
        let images = open("emoji", &OpenOptions::default()).unwrap().split(Split::Validation).unwrap();
        let mut layers = Overrides::default();
        layers.set("train.minutes", minutes);
        settings.iter().for_each(|setting| layers.assign(setting).unwrap());
        let mut config = layers.clone().finish().unwrap();
        config.explicit.all = layers;
        let sized = size(&mut config, &images, |_| Ok(speed)).unwrap();
        (config, sized)
    }

    #[test]
    fn the_size_grows_with_the_budget_and_the_speed_but_never_beyond_the_pictures() {
        let side = |minutes, speed| sized(minutes, speed, &[]).0.model.n_px.unwrap().height;
        assert_eq!([side(0.2, 10.0), side(2.0, 100.0)], [16, 16]);
        let sides: Vec<usize> = [2.0, 20.0, 200.0, 2000.0].map(|minutes| side(minutes, 300.0)).into();
        assert!(sides.is_sorted() && sides[0] < sides[3], "{sides:?}");
        // Emoji are 32 pixels wide.
        assert_eq!(side(1e6, 1e4), 32);
        assert_eq!(side(4.0, 500.0), side(8.0, 250.0));
    }

    #[test]
    fn tiles_are_small_and_so_is_their_network() {
        let (config, _) = sized(2000.0, 300.0, &["data.augment=tiles"]);
        assert_eq!((config.model.n_px, config.model.n_embd), (Some(ImageSize::square(TILE)), Some(64)));
    }

    #[test]
    fn what_is_given_stays_and_nothing_is_sized_without_a_budget_of_minutes() {
        let (config, found) =
            sized(2.0, 100.0, &["model.n_px=20", "palette.colors=7", "train.batch=3", "train.lr=0.5"]);
        assert_eq!((config.model.n_px, config.palette.colors), (Some(ImageSize::square(20)), Some(7)));
        assert_eq!((config.train.batch, config.train.lr, found.unwrap().colors), (3, 0.5, None));
        let all = ["model.n_px=20", "palette.colors=7", "model.preset=nano"];
        assert_eq!(sized(2.0, 100.0, &all).1, None);
        assert_eq!(sized(2.0, 100.0, &["train.steps=5"]).1, None);
    }

    #[test]
    fn short_runs_take_small_and_bold_steps_and_long_ones_the_recipes() {
        let rates = |minutes| {
            let train = sized(minutes, 100.0, &[]).0.train;
            (train.batch, train.peak_lr(), train.lr)
        };
        assert_eq!(rates(2.0), (SHORT_BATCH, SHORT_RATES[0], SHORT_RATES[1]));
        assert_eq!(rates(2e4), (0, 0.01, 1.5e-3));
        assert_eq!(sized(2.0, 100.0, &["train.recipe=paper"]).0.train.batch, 128);
    }

    #[test]
    fn small_steps_are_told_and_never_taken_by_a_network_that_they_were_not_measured_on() {
        let (config, found) = sized(2.0, 100.0, &["model.preset=s", "model.n_px=32"]);
        assert_eq!((config.train.batch, config.train.peak_lr(), config.train.lr), (0, 0.01, 1.5e-3));
        let told = found.unwrap().told;
        assert!(told.contains("24 blocks of width 512") && !told.contains("a step"), "{told}");
        let told = |settings: &[&str]| sized(2.0, 100.0, settings).1.unwrap().told;
        for part in ["8 images a step (--batch)", "Muon's learning rate 0.02 (--muon-lr)", "Adam's 0.003 (--lr)"] {
            assert!(told(&[]).contains(part), "{part}: {}", told(&[]));
        }
        let told = told(&["train.batch=3", "train.lr=0.5"]);
        assert!(!told.contains("a step") && !told.contains("Adam's") && told.contains("--muon-lr"), "{told}");
    }
}
