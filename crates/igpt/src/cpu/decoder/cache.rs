//! Keys and values of every row, layer and head, in the products' format or with 8 bits.

use igpt_kernels::attention::{AttentionScratch, KvShape, QuantizedKv, QuantizedScratch};
use igpt_kernels::{Buffer, Isa, Scalar};

/// Caches of one head each behind each other.
#[derive(Debug)]
pub(super) struct Cache {
    shape: KvShape,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Native { units: Buffer<u32>, each: usize },
    Int8 { values: Buffer<i8>, scales: Buffer<f32>, each: (usize, usize) },
}

/// What a thread needs to attend.
#[derive(Debug)]
pub(super) enum Scratch {
    Native(AttentionScratch),
    Int8(QuantizedScratch),
}

impl Cache {
    /// Room for `heads` caches.
    pub(super) fn new<S: Scalar>(shape: KvShape, heads: usize, int8: bool) -> Self {
        let memory = if int8 {
            let each = shape.int8_lens();
            Memory::Int8 { values: Buffer::zeroed(heads * each.0), scales: Buffer::zeroed(heads * each.1), each }
        } else {
            let each = shape.units::<S>();
            Memory::Native { units: Buffer::zeroed(heads * each), each }
        };
        Self { shape, memory }
    }

    pub(super) fn scratch(&self) -> Scratch {
        match self.memory {
            Memory::Native { .. } => Scratch::Native(AttentionScratch::for_decoding(self.shape)),
            Memory::Int8 { .. } => Scratch::Int8(QuantizedScratch::new(self.shape)),
        }
    }

    /// See [`KvShape::append`].
    pub(super) fn append<S: Scalar>(&mut self, head: usize, position: usize, k: &[S], v: &[S]) {
        match &mut self.memory {
            Memory::Native { units, each } => {
                self.shape.append(&mut units[head * *each..][..*each], position, k, v);
            }
            Memory::Int8 { values, scales, each } => {
                let values = &mut values[head * each.0..][..each.0];
                let scales = &mut scales[head * each.1..][..each.1];
                self.shape.append_int8(QuantizedKv { values, scales }, position, k, v);
            }
        }
    }

    /// See [`KvShape::attend`]. Panics on a scratch of another cache's format.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn attend<S: Scalar>(
        &self,
        isa: Isa,
        scale: f32,
        head: usize,
        q: &[S],
        len: usize,
        out: &mut [S],
        scratch: &mut Scratch,
    ) {
        match (&self.memory, scratch) {
            (Memory::Native { units, each }, Scratch::Native(scratch)) => {
                self.shape.attend(isa, scale, &units[head * each..][..*each], q, len, out, scratch);
            }
            (Memory::Int8 { values, scales, each }, Scratch::Int8(scratch)) => {
                let cache = (&values[head * each.0..][..each.0], &scales[head * each.1..][..each.1]);
                self.shape.attend_int8(isa, scale, cache, q, len, out, scratch);
            }
            _ => panic!("a scratch of another format"),
        }
    }
}
