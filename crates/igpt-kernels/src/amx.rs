//! Products of whole tiles with AMX, Intel's matrix instructions: 16 rows × 32 bf16 times 32 × 16 in one (`tdpbf16ps`).
//!
//! The compiler has no stable intrinsics for them, so they are written as assembly, here and nowhere else. Both
//! operands are in the formats of the vector kernels: a left operand's rows of bf16 are a tile's rows unchanged. A
//! right operand's rows of units (see [`simd`](crate::simd)) are what the instruction expects on its right side.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

use crate::simd::Simd;
use std::marker::PhantomData;

/// Number of units (pairs of bf16) that one instruction sums over.
pub const TILE_UNITS: usize = 16;
/// Rows and columns of a block: two tiles in each direction, whose four sums keep the matrix unit busy.
pub(crate) const BLOCK: usize = 32;
/// Rows of one tile.
pub(crate) const TILE_ROWS: usize = 16;

/// Proof that this processor has AMX for bf16 and that the operating system lets this process use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(unnameable_types, reason = "only detection makes one")]
pub struct Amx(());

impl Amx {
    /// Queries the processor, then the operating system (only Linux is known to grant AMX).
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let bits = 1 << 22 | 1 << 24; // AMX-BF16, AMX-TILE
            let leaves = core::arch::x86_64::__cpuid(0).eax;
            let has = leaves >= 7 && core::arch::x86_64::__cpuid_count(7, 0).edx & bits == bits;
            if has && asked_for_tiles() {
                return Some(Self(()));
            }
        }
        None
    }
}

/// Requests the 8 KiB of tiles from Linux, which grants them only on request; repeating the request costs nothing.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn asked_for_tiles() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call takes two numbers and touches no memory of ours; the instruction overwrites rcx and r11.
    unsafe {
        core::arch::asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Sums of a block, `[row][column]`.
pub(crate) type Sums = [[f32; BLOCK]; BLOCK];

/// Two vectors of `MR` rows of a block's sums.
#[inline(always)]
pub(crate) fn vectors<V: Simd, const MR: usize>(simd: V, sums: &[f32]) -> [[V::F32; 2]; MR] {
    let mut vectors = [[simd.zero(); 2]; MR];
    for (to, from) in vectors.iter_mut().zip(sums.chunks_exact(BLOCK)) {
        *to = [simd.read(from), simd.read(&from[V::LANES..])];
    }
    vectors
}

/// Location of a left operand's blocks of 16 rows × 16 units; distances are in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    /// Start of the first 16 rows, and of the next 16.
    pub(crate) halves: [*const u8; 2],
    /// Distance from one row to the next.
    pub(crate) row: usize,
    /// Distance from 16 units to the next 16.
    pub(crate) block: usize,
}

/// Tile registers of this thread, in use for products of blocks; at most one value per thread. Dropping it releases
/// them.
#[repr(C, align(64))]
pub(crate) struct Tiles {
    sums: Sums,
    /// Number of rows that the registers are configured for.
    rows: usize,
    /// Marker: the registers belong to this thread.
    thread: PhantomData<*const ()>,
}

/// Location of a right operand's rows of 32 units.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    /// Start of the first row.
    pub(crate) start: *const u32,
    /// Distance from one row to the next, in bytes.
    pub(crate) row: usize,
}

impl Right {
    /// Contiguous rows.
    pub(crate) fn dense(start: *const u32) -> Self {
        Self { start, row: 4 * BLOCK }
    }
}

/// Location of a block's sums, in rows of 32.
#[derive(Clone, Copy)]
pub(crate) struct SumsAt {
    /// Start of the first row.
    pub(crate) start: *mut f32,
    /// Distance from one row to the next, in bytes.
    pub(crate) row: usize,
    /// Whether to add to the present values.
    pub(crate) add: bool,
}

impl Tiles {
    /// Makes the tile registers available.
    pub(crate) fn new(_: Amx) -> Self {
        Self { sums: [[0.0; BLOCK]; BLOCK], rows: 0, thread: PhantomData }
    }

    /// Sums `[r][c] = Σ left[r][u] · right[u][c]` for `rows` rows (1 to 32), 32 columns and `16 * blocks` units.
    ///
    /// The left operand's first half has 16 rows before its second half has any. Rows after the last have arbitrary
    /// values. Every element is summed in the order of units, for any `rows`; subnormal values count as 0.
    ///
    /// # Safety
    /// The left operand must be valid for reading these rows and units, `right` for `16 * blocks` rows of 32 units.
    pub(crate) unsafe fn product(&mut self, rows: usize, blocks: usize, left: Left, right: *const u32) -> &Sums {
        let sums = SumsAt { start: self.sums.as_mut_ptr().cast(), row: size_of_val(&self.sums[0]), add: false };
        // SAFETY: the caller promises the operands; `sums` has 32 rows of 32.
        unsafe { self.product_into(rows, blocks, left, Right::dense(right), sums) };
        &self.sums
    }

    /// Like [`product`](Self::product), with sums and right operand at any location.
    ///
    /// Sums with `add` start from the present values, so that a sum has the same bits whether its units come at once or
    /// in parts.
    ///
    /// # Safety
    /// The left operand must be valid for reading these rows and units, `right` for `16 * blocks` rows of 32 units,
    /// `sums` for reading and writing `rows` rows of 32.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub(crate) unsafe fn product_into(&mut self, rows: usize, blocks: usize, left: Left, right: Right, sums: SumsAt) {
        assert!((1..=BLOCK).contains(&rows) && blocks > 0);
        // SAFETY: whoever made the Tiles had an Amx; the caller promises the memory, of which tiles set up for `rows`
        // rows touch no more.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            self.set_up(rows);
            if rows > TILE_ROWS { two_high(blocks, left, right, sums) } else { one_high(blocks, left, right, sums) }
        }
    }

    /// # Safety
    /// `rows` must be 1 to 32.
    #[cfg(target_arch = "x86_64")]
    unsafe fn set_up(&mut self, rows: usize) {
        if self.rows != rows {
            // SAFETY: whoever made the Tiles had an Amx; the caller promises the rows.
            unsafe { configure(rows) }
            self.rows = rows;
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.rows > 0 {
            // SAFETY: tiles were set up, so the processor has the instruction; nobody needs what is in them.
            unsafe { core::arch::asm!("tilerelease", options(nostack, preserves_flags)) }
        }
    }
}

/// Sets up tiles for blocks of `rows` rows: sums in 0 to 3 (row by row), left halves in 4 and 5, right ones in 6 and 7.
///
/// # Safety
/// The processor must have AMX, and `rows` be 1 to 32.
#[cfg(target_arch = "x86_64")]
unsafe fn configure(rows: usize) {
    /// What `ldtilecfg` reads.
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }
    let (upper, lower) = (rows.min(TILE_ROWS) as u8, rows.saturating_sub(TILE_ROWS) as u8);
    let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let all = TILE_ROWS as u8;
    for (tile, rows) in [upper, upper, lower, lower, upper, lower, all, all].into_iter().enumerate() {
        config.rows[tile] = rows;
        config.row_bytes[tile] = if rows > 0 { 64 } else { 0 };
    }
    // SAFETY: reads the 64 bytes of `config`; the caller promises the instruction.
    unsafe {
        core::arch::asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly, preserves_flags));
    }
}

/// # Safety
/// As [`Tiles::product_into`] for the rows that tiles are set up for, more than 16.
#[cfg(target_arch = "x86_64")]
unsafe fn two_high(blocks: usize, left: Left, right: Right, sums: SumsAt) {
    // SAFETY: the caller's promises; all registers that change are named.
    unsafe {
        core::arch::asm!(
            "test {add:e}, {add:e}",
            "jz 3f",
            "tileloadd tmm0, [{sums} + {sums_row}]",
            "tileloadd tmm1, [{sums} + {sums_row} + 64]",
            "tileloadd tmm2, [{lower_sums} + {sums_row}]",
            "tileloadd tmm3, [{lower_sums} + {sums_row} + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{upper} + {row}]",
            "tileloadd tmm6, [{right} + {right_row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{lower} + {row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{right} + {right_row} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {upper}, {block}",
            "add {lower}, {block}",
            "add {right}, {right_block}",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{sums} + {sums_row}], tmm0",
            "tilestored [{sums} + {sums_row} + 64], tmm1",
            "tilestored [{lower_sums} + {sums_row}], tmm2",
            "tilestored [{lower_sums} + {sums_row} + 64], tmm3",
            upper = inout(reg) left.halves[0] => _,
            lower = inout(reg) left.halves[1] => _,
            row = in(reg) left.row,
            block = in(reg) left.block,
            right = inout(reg) right.start => _,
            right_row = in(reg) right.row,
            right_block = in(reg) TILE_UNITS * right.row,
            blocks = inout(reg) blocks => _,
            sums = in(reg) sums.start,
            sums_row = in(reg) sums.row,
            lower_sums = in(reg) sums.start.wrapping_byte_add(TILE_ROWS * sums.row),
            add = in(reg) u32::from(sums.add),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// # Safety
/// As [`Tiles::product_into`] for the rows that tiles are set up for, no more than 16.
#[cfg(target_arch = "x86_64")]
unsafe fn one_high(blocks: usize, left: Left, right: Right, sums: SumsAt) {
    // SAFETY: the caller's promises; all registers that change are named.
    unsafe {
        core::arch::asm!(
            "test {add:e}, {add:e}",
            "jz 3f",
            "tileloadd tmm0, [{sums} + {sums_row}]",
            "tileloadd tmm1, [{sums} + {sums_row} + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{upper} + {row}]",
            "tileloadd tmm6, [{right} + {right_row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {right_row} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {upper}, {block}",
            "add {right}, {right_block}",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{sums} + {sums_row}], tmm0",
            "tilestored [{sums} + {sums_row} + 64], tmm1",
            upper = inout(reg) left.halves[0] => _,
            row = in(reg) left.row,
            block = in(reg) left.block,
            right = inout(reg) right.start => _,
            right_row = in(reg) right.row,
            right_block = in(reg) TILE_UNITS * right.row,
            blocks = inout(reg) blocks => _,
            sums = in(reg) sums.start,
            sums_row = in(reg) sums.row,
            add = in(reg) u32::from(sums.add),
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
