//! Zeroed memory that is allocated once and kept: arenas, activations, packed weights.
//!
//! Buffers are in anonymous mappings, which are zero without being written and on Linux are advised to use huge pages.
//! First use is more than ten times cheaper than fresh pages from the heap, and a pass over a few megabytes has few TLB
//! misses. A large buffer has a mapping of its own. Smaller ones share mappings, because a huge page for each would be
//! mostly empty.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;

/// Size and alignment of the huge pages that mappings are laid out for.
const HUGE_PAGE: usize = 2 << 20;
/// Size in bytes from which a buffer gets a mapping of its own.
const LARGE: usize = 2 * HUGE_PAGE;
/// Size in bytes of a mapping that smaller buffers share.
const SHARED: usize = 16 * HUGE_PAGE;
/// Alignment of every buffer's start, in bytes.
pub(crate) const ALIGNMENT: usize = 64;

/// Buffer of a fixed number of `T`s, zeroed at first, aligned to 64 bytes.
pub struct Buffer<T: bytemuck::Pod> {
    start: NonNull<T>,
    len: usize,
    /// Owner of the memory mapping; `None` for a buffer of no bytes.
    _map: Option<Arc<MmapMut>>,
    element: PhantomData<T>,
}

// SAFETY: a buffer owns its elements, like `Vec<T>`: no other buffer has bytes in common with it.
unsafe impl<T: bytemuck::Pod + Send> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: bytemuck::Pod + Sync> Sync for Buffer<T> {}

impl<T: bytemuck::Pod> Buffer<T> {
    /// Allocates `len` zeros.
    ///
    /// Panics, like `Vec`, if the system has not enough memory.
    pub fn zeroed(len: usize) -> Self {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize - 2 * HUGE_PAGE);
        let bytes = bytes.unwrap_or_else(|| panic!("a buffer of {len} elements exceeds the address space"));
        if bytes == 0 {
            // The address of a static of the right alignment, never read or written.
            #[repr(align(64))]
            struct Aligned([u8; ALIGNMENT]);
            static EMPTY: Aligned = Aligned([0; ALIGNMENT]);
            return Self { start: NonNull::from(&EMPTY.0).cast(), len, _map: None, element: PhantomData };
        }
        let (map, start) = if bytes >= LARGE { map(bytes) } else { share(bytes) };
        Self { start: start.cast(), len, _map: Some(map), element: PhantomData }
    }
}

/// A mapping, and its first byte that is aligned to huge pages; `bytes` zero bytes follow it.
fn map(bytes: usize) -> (Arc<MmapMut>, NonNull<u8>) {
    let map = MmapMut::map_anon(bytes + HUGE_PAGE);
    let mut map = map.unwrap_or_else(|error| panic!("no memory for a buffer of {bytes} bytes: {error}"));
    // The advice may be refused; the memory works nevertheless, only its first use is slower.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    let offset = map.as_ptr().align_offset(HUGE_PAGE);
    let start = NonNull::from(&mut map[offset]);
    (Arc::new(map), start)
}

/// Unused rest of the last shared mapping.
struct Rest {
    map: Arc<MmapMut>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the rest's bytes belong to it alone.
unsafe impl Send for Rest {}

/// Takes `bytes` zero bytes of a mapping shared with other buffers, which is unmapped with the last of them.
///
/// Memory is never handed out twice, so it is zero.
fn share(bytes: usize) -> (Arc<MmapMut>, NonNull<u8>) {
    static REST: Mutex<Option<Rest>> = Mutex::new(None);
    let taken = bytes.next_multiple_of(ALIGNMENT);
    let mut rest = REST.lock().unwrap_or_else(PoisonError::into_inner);
    if rest.as_ref().is_none_or(|rest| rest.bytes < taken) {
        let (map, start) = map(SHARED);
        *rest = Some(Rest { map, start, bytes: SHARED });
    }
    let rest = rest.as_mut().expect("just made");
    let (map, start) = (rest.map.clone(), rest.start);
    rest.bytes -= taken;
    // SAFETY: at most one behind the end of the mapping.
    rest.start = unsafe { rest.start.add(taken) };
    (map, start)
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
        // SAFETY: `len` aligned elements inside the mapping that this buffer alone uses; any bytes are a `T`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: bytemuck::Pod> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `&mut self` keeps readers out.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
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
    fn small_buffers_share_pages_but_no_bytes() {
        let mut buffers: Vec<_> = (0..200).map(|i| Buffer::<u32>::zeroed(1 + i * 977)).collect();
        for (i, buffer) in buffers.iter_mut().enumerate() {
            assert!(buffer.iter().all(|&x| x == 0), "buffer {i} is zero");
            buffer.fill(i as u32 + 1);
        }
        buffers.retain(|buffer| buffer[0] % 2 == 0);
        let more: Vec<_> = (0..200).map(|i| Buffer::<u32>::zeroed(1 + i * 977)).collect();
        assert!(more.iter().all(|buffer| buffer.iter().all(|&x| x == 0)));
        assert!(buffers.iter().all(|buffer| buffer.iter().all(|&x| x == buffer[0])));
    }

    #[test]
    #[should_panic(expected = "address space")]
    fn a_buffer_of_impossible_size_says_so() {
        Buffer::<u64>::zeroed(usize::MAX / 4);
    }
}
