//! Instruction set of the kernels, as a value that is passed down and never a global.
//!
//! An [`Isa`] can only be made by querying the processor, so holding one is the proof that its instructions may run.
//! [`Isa::run`] is the only place that enters `#[target_feature]` code: a [`Kernel`] is written once against [`Simd`],
//! all of it `#[inline(always)]`, and is compiled whole for every instruction set (the technique of the `pulp` crate).

use crate::Scalar;
use crate::amx::Amx;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};

/// Instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, on every architecture.
    Portable,
    /// AVX2 and FMA: eight lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 F, BW, VL, DQ and BF16: sixteen lanes, and bf16 dot products in hardware.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// AVX-512, with matrix instructions (AMX) for products of bf16.
    #[cfg(target_arch = "x86_64")]
    Amx(Avx512, Amx),
}

/// Names of the instruction sets, the slowest first.
const NAMES: [&str; 4] = ["portable", "avx2", "avx512", "amx"];

/// Error: the environment variable `IGPT_ISA` names no instruction set.
#[derive(Clone, Debug)]
pub struct UnknownIsa(String);

impl std::error::Error for UnknownIsa {}

impl std::fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IGPT_ISA={} is no instruction set: {} are", self.0, NAMES.join(", "))
    }
}

/// Kernel: a computation that is written once for all instruction sets.
///
/// `run` must be `#[inline(always)]`, as must be everything that it calls with vectors. Closures are not inlined
/// reliably and don't belong in one.
pub trait Kernel {
    /// Result of the computation.
    type Output;
    /// Runs the computation.
    fn run<V: Simd>(self, simd: V) -> Self::Output;
}

impl Isa {
    /// Detects the best instruction set of this processor.
    ///
    /// `IGPT_ISA=portable|avx2|avx512|amx` in the environment limits it to that one, for bug reports and comparisons;
    /// see [`Isa::requested`] for other values.
    pub fn detect() -> Isa {
        let all = Isa::available();
        let most = Isa::requested().unwrap_or_default().unwrap_or(NAMES.len());
        all[most.min(all.len()) - 1]
    }

    /// Number of instruction sets that `IGPT_ISA` allows, from the slowest on; `None` if it is not set.
    ///
    /// # Errors
    /// When it names no instruction set; the message lists the existing ones.
    pub fn requested() -> Result<Option<usize>, UnknownIsa> {
        match std::env::var_os("IGPT_ISA") {
            None => Ok(None),
            Some(name) => match NAMES.iter().position(|&known| name == known) {
                Some(index) => Ok(Some(index + 1)),
                None => Err(UnknownIsa(name.to_string_lossy().into_owned())),
            },
        }
    }

    /// All instruction sets of this processor, the slowest first; the first is always [`Isa::Portable`].
    pub fn available() -> Vec<Isa> {
        let mut all = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = Avx2::detect();
            all.extend(avx2.map(Isa::Avx2));
            let avx512 = avx2.and_then(|_| Avx512::detect());
            all.extend(avx512.map(Isa::Avx512));
            all.extend(avx512.and_then(|avx512| Some(Isa::Amx(avx512, Amx::detect()?))));
        }
        all
    }

    /// Returns the name: `"portable"`, `"avx2"`, `"avx512"` or `"amx"`.
    pub fn name(self) -> &'static str {
        NAMES[match self {
            Isa::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => 1,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => 2,
            #[cfg(target_arch = "x86_64")]
            Isa::Amx(..) => 3,
        }]
    }

    /// Whether the instruction set has instructions for products of bf16, which are then faster than those of f32.
    pub fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if matches!(self, Isa::Avx512(_) | Isa::Amx(..)) {
            return true;
        }
        false
    }

    /// Whether products of format `S` are computed by matrix instructions.
    pub fn has_tiles<S: Scalar>(self) -> bool {
        self.amx::<S>().is_some()
    }

    /// Matrix instructions for products of format `S`, if there are any.
    pub(crate) fn amx<S: Scalar>(self) -> Option<Amx> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx(_, amx) if S::PACK == 2 => Some(amx),
            _ => None,
        }
    }

    /// Runs the kernel as compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Isa::Portable => kernel.run(Portable),
            // SAFETY: an Avx2 exists only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(simd) => unsafe { run_avx2(kernel, simd) },
            // SAFETY: an Avx512 exists only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(simd) | Isa::Amx(simd, _) => unsafe { run_avx512(kernel, simd) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K, simd: Avx2) -> K::Output {
    kernel.run(simd)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni")]
fn run_avx512<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
    kernel.run(simd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_available_and_the_best_comes_last() {
        let all = Isa::available();
        assert_eq!(all[0], Isa::Portable);
        let names: Vec<_> = all.iter().map(|isa| isa.name()).collect();
        assert_eq!(names, NAMES[..all.len()]);
    }
}
