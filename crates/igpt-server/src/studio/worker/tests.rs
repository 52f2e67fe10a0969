use igpt::device::{EngineOptions, Precision, open};
use igpt::image::ImageSize;
use igpt::model::{Initialization, ModelConfig, initial_weights};

use super::*;

fn engine(objective: Objective) -> Box<dyn Engine> {
    let config = ModelConfig { objective, ..ModelConfig::new(ImageSize::square(8), 8, 16, 1, 1) };
    let weights = initial_weights(&config, Initialization::Paper, 1);
    open(&config, &weights, &EngineOptions::new(Precision::F32).threads(1)).unwrap()
}

fn worker(rows: usize, most: usize) -> Worker {
    Worker::start(engine(Objective::Autoregressive), rows, most).unwrap()
}

fn requests(n: u64, seed: u64) -> Vec<GenerationRequest> {
    let settings = SamplingSettings::default().seed(seed);
    (0..n)
        .map(|image| GenerationRequest { known: vec![None; 64], image, attempt: 0, settings, candidates: 1 })
        .collect()
}

/// All images of a request.
fn collect(mut drawn: UnboundedReceiver<Drawn>, n: usize) -> Vec<Vec<u16>> {
    let mut images = vec![Vec::new(); n];
    while let Some(drawn) = drawn.blocking_recv() {
        let Drawn::Run { image, from, tokens, .. } = drawn else { panic!("{drawn:?}") };
        images[image].truncate(from);
        images[image].extend(tokens);
    }
    images
}

#[test]
fn images_are_the_same_whoever_else_is_served_and_however_few_rows_there_are() {
    let settings = SamplingSettings::default().seed(3);
    let alone =
        igpt::generate::sample(&*engine(Objective::Autoregressive), 5, 0, &settings, 0, &mut |_, _| ()).unwrap();
    for rows in [1, 2, 7] {
        let worker = worker(rows, 100);
        let others: Vec<_> = (0..3).map(|seed| worker.draw(requests(4, seed)).unwrap()).collect();
        assert_eq!(collect(worker.draw(requests(5, 3)).unwrap(), 5), alone, "{rows} rows");
        drop(others);
    }
}

/// Waits until the worker is idle.
fn rest(worker: &Worker) -> Standing {
    for _ in 0..10_000 {
        let standing = worker.standing();
        if standing.waiting == 0 && standing.busy_rows == 0 {
            return standing;
        }
        std::thread::yield_now();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{:?}", worker.standing());
}

#[test]
fn who_goes_away_frees_rows_and_place_in_the_queue() {
    let worker = worker(2, 3000);
    drop(worker.draw(requests(2000, 0)).unwrap());
    let pixels = rest(&worker).pixels;
    assert!(pixels < 2000 * 64 / 2, "{pixels} pixels were drawn for nobody");
    assert_eq!(collect(worker.draw(requests(1, 0)).unwrap(), 1)[0].len(), 64);
}

#[test]
fn a_full_queue_says_so_and_a_large_request_may_come_when_nothing_waits() {
    let worker = worker(1, 4);
    let large = worker.draw(requests(50, 0)).unwrap();
    assert_eq!(worker.draw(requests(1, 0)).err(), Some(Busy::Full));
    drop(large);
    rest(&worker);
    worker.draw(requests(1, 0)).unwrap();
}

#[test]
fn a_panic_of_the_engine_is_told_to_all_and_nobody_waits_for_ever() {
    let worker = worker(1, 100);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let drawn = worker.draw(requests(90, 0)).unwrap();
    let passed: Result<(), Busy> = runtime.block_on(worker.pass(|_| panic!("broken on purpose")));
    assert_eq!(passed, Err(Busy::Dead));
    let mut drawn = drawn;
    while drawn.blocking_recv().is_some() {}
    assert!(!worker.standing().alive);
    assert_eq!(worker.draw(requests(1, 0)).err(), Some(Busy::Dead));
}

#[test]
fn holes_are_filled_beside_passes() {
    let worker = Worker::start(engine(Objective::Masked), 0, 10).unwrap();
    let known = (0..64).map(|t| (t % 2 == 0).then_some(3)).collect();
    let hole = Hole { known, image: 0, attempts: 2, rounds: 4, settings: SamplingSettings::default() };
    let mut drawn = worker.fill(hole).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(worker.pass(|engine| engine.config().n_layer)), Ok(1));
    let mut filled = [0; 2];
    while let Some(drawn) = drawn.blocking_recv() {
        let Drawn::Filled { image, pixels, .. } = drawn else { panic!("{drawn:?}") };
        assert!(pixels.iter().all(|pixel| pixel % 2 == 1));
        filled[image] += pixels.len();
    }
    assert_eq!(filled, [32, 32]);
}
