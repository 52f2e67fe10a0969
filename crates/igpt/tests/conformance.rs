//! The processor fulfils what every backend has to, with each of its instruction sets.

// Shown when a claim fails.
#![allow(clippy::disallowed_macros)]

use igpt::device::CpuBackend;
use igpt::testing::conformance::{self, Claim, Subject};
use igpt_kernels::Isa;

fn on_every_instruction_set(claim: Claim) {
    for isa in Isa::available() {
        println!("with {}:", isa.name());
        claim(&Subject::new(&CpuBackend::with(isa)));
    }
}

macro_rules! tests {
    ($($file:ident: $($claim:ident),+;)+) => {
        $(mod $file {
            $(#[test]
            fn $claim() {
                super::on_every_instruction_set(super::conformance::$file::$claim);
            })+
        })+
    };
}

igpt::conformance_claims!(tests);
