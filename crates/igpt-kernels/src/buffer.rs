//! Zeroed memory that is allocated once and kept: arenas, activations, packed weights.
//!
//! Every buffer is its own anonymous mapping: aligned for any vector, zero without being written, and on Linux
//! advised to use huge pages, which makes first use of a large buffer more than ten times cheaper than fresh
//! pages from the heap.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Size and alignment of the huge pages that large buffers are laid out for.
const HUGE_PAGE: usize = 2 << 20;
/// What every buffer's start is a multiple of, in bytes.
pub const ALIGNMENT: usize = 64;

/// A fixed number of `T`s, zeroed at first, starting at a multiple of [`ALIGNMENT`] bytes.
pub struct Buffer<T: bytemuck::Pod> {
    map: MmapMut,
    /// Bytes before the first element.
    start: usize,
    bytes: usize,
    element: PhantomData<T>,
}

impl<T: bytemuck::Pod> Buffer<T> {
    /// `len` zeros. Panics, as `Vec` does, when the system has no such memory.
    pub fn zeroed(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize - HUGE_PAGE);
        let bytes = bytes.unwrap_or_else(|| panic!("a buffer of {len} elements exceeds the address space"));
        let large = bytes >= 2 * HUGE_PAGE;
        let reserved = if large { bytes + HUGE_PAGE } else { bytes.max(1) };
        let map = MmapMut::map_anon(reserved);
        let map = map.unwrap_or_else(|error| panic!("no memory for a buffer of {bytes} bytes: {error}"));
        // Advice may be refused; the memory is as good, only slower to touch first.
        #[cfg(target_os = "linux")]
        if large {
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        let start = if large { map.as_ptr().addr().next_multiple_of(HUGE_PAGE) - map.as_ptr().addr() } else { 0 };
        debug_assert_eq!((map.as_ptr().addr() + start) % ALIGNMENT, 0);
        Self { map, start, bytes, element: PhantomData }
    }
}

impl<T: bytemuck::Pod> Default for Buffer<T> {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl<T: bytemuck::Pod> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: bytemuck::Pod> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[self.start..self.start + self.bytes])
    }
}

impl<T: bytemuck::Pod> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.map[self.start..self.start + self.bytes])
    }
}

impl<T: bytemuck::Pod> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer<{}>({})", std::any::type_name::<T>(), self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_aligned_and_exactly_as_long_as_asked() {
        for len in [0, 1, 15, 1000, HUGE_PAGE / 2, HUGE_PAGE + 3] {
            let mut buffer = Buffer::<f32>::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0);
            assert!(buffer.iter().all(|&x| x == 0.0));
            buffer.fill(2.0);
            assert_eq!(buffer.iter().sum::<f32>(), 2.0 * len as f32);
        }
    }

    #[test]
    fn large_buffers_start_on_a_huge_page() {
        assert_eq!(Buffer::<u16>::zeroed(2 * HUGE_PAGE).as_ptr().addr() % HUGE_PAGE, 0);
    }

    #[test]
    #[should_panic(expected = "address space")]
    fn a_buffer_of_impossible_size_says_so() {
        Buffer::<u64>::zeroed(usize::MAX / 4);
    }
}
