//! Kernels that are generic over a number format, compiled here and nowhere else.
//!
//! Rust compiles a generic function in the crates that use it: a kernel over any [`Scalar`](crate::Scalar) would be
//! compiled again for both formats and every instruction set in each program and each test. The methods of
//! [`Instances`] have no generic parameters once the format is known, so they are compiled with this crate and only
//! called from others. A kernel with a format in its type is therefore in the list at the end, and runs as
//! `S::name(isa, kernel)` instead of `isa.run(kernel)`.

use half::bf16;

use crate::Isa;
use crate::activation::{Gelu, GeluBackward};
use crate::attention::kernels::{Append8, Attend, Attend8, Backward, Forward};
use crate::convert::Convert;
use crate::cross_entropy::CrossEntropy;
use crate::matmul::kernels::{Fill8, Product, Product8, Straight, Sum, Tokens, Transposed};
use crate::newton_schulz::{Load, Unload};
use crate::norm::{RmsNorm, RmsNormBackward};
use crate::reduce::PanelSums;

macro_rules! instances {
    ($($name:ident: $kernel:ident,)*) => {
        /// Kernels compiled for this format and all instruction sets.
        #[expect(private_interfaces, reason = "Scalar brings the methods along; only this crate can name the kernels")]
        #[expect(unnameable_types, reason = "only this crate can name the kernels")]
        pub trait Instances: Sized {
            $(#[doc(hidden)] fn $name(isa: Isa, kernel: $kernel<'_, Self>);)*
        }
        instances!(f32: $($name: $kernel,)*);
        instances!(bf16: $($name: $kernel,)*);
    };
    ($format:ident: $($name:ident: $kernel:ident,)*) => {
        #[expect(private_interfaces, reason = "as for the trait")]
        impl Instances for $format {
            $(fn $name(isa: Isa, kernel: $kernel<'_, Self>) {
                isa.run(kernel);
            })*
        }
    };
}

instances! {
    append_int8: Append8,
    attend: Attend,
    attend_int8: Attend8,
    attention_backward: Backward,
    attention_forward: Forward,
    convert: Convert,
    cross_entropy: CrossEntropy,
    fill_int8: Fill8,
    gelu: Gelu,
    gelu_backward: GeluBackward,
    load: Load,
    matmul: Product,
    matmul_int8: Product8,
    matmul_tn: Sum,
    pack_straight: Straight,
    pack_tokens: Tokens,
    pack_transposed: Transposed,
    panel_sums: PanelSums,
    rms_norm: RmsNorm,
    rms_norm_backward: RmsNormBackward,
    unload: Unload,
}
