//! Tests of the pool's promises: every part once, disjoint views, panics that arrive and do no lasting harm.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use proptest::prelude::*;

use super::*;
use crate::MatMut;

#[test]
fn every_part_is_visited_exactly_once() {
    for threads in [0, 1, 2, 3, 7] {
        let pool = Pool::new(threads);
        assert_eq!(pool.threads(), threads.max(1));
        for n in [0, 1, 2, 3, 16, 1000] {
            let visits: Vec<_> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            pool.run(n, |i| {
                visits[i].fetch_add(1, SeqCst);
            });
            assert!(visits.iter().all(|v| v.load(SeqCst) == 1), "{n} parts, {threads} threads");
        }
    }
}

#[test]
fn chunks_carry_their_index_and_a_scratch_of_their_own() {
    for threads in [1, 2, 3, 7] {
        let pool = Pool::new(threads);
        let mut data = vec![0; 1003];
        let mut counts = vec![0; threads];
        pool.each(chunks(&mut data, 10), &mut counts, |index, part, count| {
            part.fill(index + 1);
            *count += part.len();
        });
        assert!(data.iter().enumerate().all(|(i, &x)| x == i / 10 + 1));
        assert_eq!(counts.iter().sum::<usize>(), 1003);
    }
}

#[test]
fn a_stream_visits_every_part_exactly_once() {
    for threads in [1, 2, 3, 7] {
        let pool = Pool::new(threads);
        for n in [0, 1, 5, 16, 1000] {
            let mut visits = vec![0; n];
            pool.stream(chunks(&mut visits, 1), &mut vec![(); threads], |_, visits, ()| visits[0] += 1);
            assert!(visits.iter().all(|v| *v == 1), "{n} parts, {threads} threads");
        }
    }
}

#[test]
fn a_thread_has_its_own_run_first_and_then_the_others() {
    let dealer = Dealer::new(10, 3);
    let take = |worker: usize| {
        let mut taken = Vec::new();
        dealer.hand_out(worker, |index| {
            taken.push(index);
            if taken.len() == 4 {
                dealer.stop();
            }
        });
        taken
    };
    assert_eq!(take(1), [3, 4, 5, 6]);
    assert!(take(0).is_empty());
    let (all, mut taken) = (Dealer::new(10, 3), Vec::new());
    all.hand_out(2, |index| taken.push(index));
    assert_eq!(taken, [6, 7, 8, 9, 0, 1, 2, 3, 4, 5]);
}

#[test]
fn all_threads_take_part_when_every_part_waits_for_the_others() {
    let pool = Pool::new(3);
    let arrived = AtomicUsize::new(0);
    pool.run(3, |_| {
        arrived.fetch_add(1, SeqCst);
        while arrived.load(SeqCst) < 3 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_after_all_stopped_and_the_pool_works_on() {
    for threads in [1, 2, 3, 7] {
        let pool = Pool::new(threads);
        for bad in [0, 1, 50, 99] {
            let running = AtomicUsize::new(0);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.run(100, |i| {
                    running.fetch_add(1, SeqCst);
                    let panics = i == bad;
                    running.fetch_sub(1, SeqCst);
                    assert!(!panics, "part {i} fails");
                });
            }));
            let message = caught.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(*message, format!("part {bad} fails"));
            assert_eq!(running.load(SeqCst), 0);
            let sum = AtomicUsize::new(0);
            pool.run(100, |i| {
                sum.fetch_add(i, SeqCst);
            });
            assert_eq!(sum.load(SeqCst), 4950);
        }
    }
}

#[test]
fn the_caller_waits_for_parts_that_others_still_run() {
    let pool = Pool::new(2);
    for panics in [false, true] {
        let (started, finished) = (AtomicBool::new(false), AtomicBool::new(false));
        let caller = std::thread::current().id();
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(2, |_| {
                if std::thread::current().id() == caller {
                    while !started.load(SeqCst) {
                        std::thread::yield_now();
                    }
                    assert!(!panics, "while the other part runs");
                } else {
                    finished.store(false, SeqCst);
                    started.store(true, SeqCst);
                    for _ in 0..5000 {
                        std::thread::yield_now();
                    }
                    finished.store(true, SeqCst);
                }
            });
        }));
        assert!(finished.load(SeqCst), "panic {panics}: {result:?}");
    }
}

#[test]
fn a_panic_ends_the_handing_out() {
    for threads in [1, 3] {
        // Otherwise the test would not end.
        let parts = usize::MAX / 2;
        let result = catch_unwind(|| Pool::new(threads).run(parts, |i| assert_ne!(i, 1000)));
        assert!(result.is_err());
    }
}

#[test]
fn nested_use_runs_on_the_calling_thread() {
    let pool = Pool::new(3);
    let sum = AtomicUsize::new(0);
    pool.run(10, |_| {
        let me = std::thread::current().id();
        pool.run(10, |i| {
            assert_eq!(std::thread::current().id(), me);
            sum.fetch_add(i, SeqCst);
        });
    });
    assert_eq!(sum.load(SeqCst), 450);
}

#[test]
fn many_tiny_jobs_all_finish() {
    let pool = Pool::new(3);
    let sum = AtomicUsize::new(0);
    for _ in 0..20_000 {
        pool.run(4, |i| {
            sum.fetch_add(i, SeqCst);
        });
    }
    assert_eq!(sum.load(SeqCst), 120_000);
}

#[test]
fn sleeping_workers_wake_for_the_next_job() {
    let pool = Pool::new(2);
    for _ in 0..20 {
        while pool.shared.sleeping_workers.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        let other = AtomicBool::new(false);
        let caller = std::thread::current().id();
        pool.run(2, |_| {
            if std::thread::current().id() != caller {
                other.store(true, SeqCst);
            }
            while !other.load(SeqCst) {
                std::thread::yield_now();
            }
        });
    }
}

#[test]
fn several_callers_may_share_a_pool() {
    let pool = Pool::new(2);
    let (sum, running) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    pool.run(5, |i| {
                        assert!(running.fetch_add(1, SeqCst) < 2, "one job at a time");
                        std::thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                        sum.fetch_add(i, SeqCst);
                    });
                }
            });
        }
    });
    assert_eq!(sum.load(SeqCst), 20_000);
}

#[test]
#[should_panic(expected = "1 scratches for 2 threads")]
fn too_little_scratch_is_refused() {
    Pool::new(2).each(0..3, &mut [()], |_, _, ()| {});
}

#[test]
#[should_panic(expected = "cuts of [2, 3] parts side by side")]
fn cuts_of_unequal_length_are_refused() {
    let mut data = [0; 6];
    Pool::new(2).each((0..2, chunks(&mut data, 2)), &mut [(), ()], |_, _, ()| {});
}

/// Adds 1 to every element of each part and notes the part's number.
fn mark(mut part: MatMut<'_, (usize, usize)>, index: usize) {
    for row in 0..part.rows() {
        for x in part.row_mut(row) {
            *x = (x.0 + 1, index);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn blocks_cover_the_matrix_and_nothing_else(
        (rows, cols, gap) in (0usize..20, 0usize..20, 0usize..4), (br, bc) in (1usize..8, 1usize..8), threads in 1usize..4,
    ) {
        let pool = Pool::new(threads);
        let stride = cols + gap;
        let mut scratch = vec![(); threads];
        let fresh = vec![(0, usize::MAX); rows * stride];
        let check = |data: &[(usize, usize)], number: &dyn Fn(usize, usize) -> usize| {
            for (i, &(count, index)) in data.iter().enumerate() {
                let (row, col) = (i / stride, i % stride);
                let expected = if col < cols { (1, number(row, col)) } else { (0, usize::MAX) };
                assert_eq!((count, index), expected);
            }
        };
        let mut data = fresh.clone();
        pool.each(grid(MatMut::strided(&mut data, rows, cols, stride), br, bc), &mut scratch, |i, part, ()| mark(part, i));
        check(&data, &|row, col| row / br * cols.div_ceil(bc) + col / bc);
        let mut data = fresh.clone();
        pool.each(super::rows(MatMut::strided(&mut data, rows, cols, stride), br), &mut scratch, |i, part, ()| mark(part, i));
        check(&data, &|row, _| row / br);
        let mut data = fresh;
        pool.each(columns(MatMut::strided(&mut data, rows, cols, stride), bc), &mut scratch, |i, part, ()| mark(part, i));
        check(&data, &|_, col| col / bc);
    }

    #[test]
    fn heads_pair_the_right_columns(images in 0usize..4, rows in 1usize..5, n_head in 1usize..4, size in 1usize..4) {
        let pool = Pool::new(2);
        let cols = 3 * n_head * size;
        let mut data = vec![(0, usize::MAX); images * rows * cols];
        let cut = heads(MatMut::new(&mut data, images * rows, cols), rows, size);
        pool.each(cut, &mut [(), ()], |i, parts, ()| {
            for (third, part) in parts.into_iter().enumerate() {
                mark(part, 3 * i + third);
            }
        });
        for (i, &found) in data.iter().enumerate() {
            let (image, col) = (i / cols / rows, i % cols);
            let (third, head) = (col / (n_head * size), col / size % n_head);
            assert_eq!(found, (1, 3 * (image * n_head + head) + third));
        }
    }
}

#[test]
fn tuples_hand_out_cuts_side_by_side() {
    let pool = Pool::new(3);
    let (mut a, mut b, mut c) = (vec![0; 12], vec![0; 8], vec![0; 4]);
    let cut = (chunks(&mut a, 3), super::rows(MatMut::new(&mut b, 4, 2), 1), chunks(&mut c, 1), 10..14);
    pool.each(cut, &mut [(), (), ()], |i, (a, mut b, c, n), ()| {
        assert_eq!(n, 10 + i);
        a.fill(i);
        b.row_mut(0).fill(i);
        c[0] = i;
    });
    assert_eq!(a, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    assert_eq!(b, [0, 0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(c, [0, 1, 2, 3]);
}
