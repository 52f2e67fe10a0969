//! One scan of a JPEG file, read block by block without making a picture of it (ITU-T T.81, annexes F and G).

use super::bits::{Bits, Fault, Table};
use super::frame::Frame;

/// Which components and coefficients a scan brings, and with which tables.
pub(super) struct Scan<'a> {
    /// Each component's place in the frame and its tables of DC and AC codes; none where the file has not brought them.
    pub(super) parts: Vec<(usize, Option<&'a Table>, Option<&'a Table>)>,
    /// First and last coefficient, in zigzag order.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Whether it makes earlier values finer by one bit.
    pub(super) refines: bool,
    /// Units between restart markers; 0 is none.
    pub(super) restart: u32,
}

/// Reads the scan that begins at byte `at` of `bytes` and returns where it ends. `known` holds, for progressive files,
/// which coefficients of each component's blocks are not zero.
pub(super) fn read(
    bytes: &[u8],
    mut at: usize,
    frame: &Frame,
    scan: &Scan<'_>,
    known: &mut [Vec<u64>],
) -> Result<usize, Fault> {
    let mut bits = Bits::new(bytes, at);
    // Blocks at the end of the band that are zero from here on, the current one included.
    let mut run = 0u32;
    let (columns, rows) = match scan.parts.as_slice() {
        [(part, ..)] => frame.components[*part].blocks,
        _ => frame.units,
    };
    let mut unit = 0u64;
    for row in 0..rows {
        for column in 0..columns {
            if scan.restart > 0 && unit > 0 && unit.is_multiple_of(u64::from(scan.restart)) {
                if run > 0 {
                    return Err(Fault::Code);
                }
                at = bits.finish()?;
                at = restart(bytes, at, unit / u64::from(scan.restart) - 1)?;
                bits = Bits::new(bytes, at);
            }
            unit += 1;
            match scan.parts.as_slice() {
                &[(part, dc, ac)] => {
                    let place = row as usize * frame.components[part].stride + column as usize;
                    block(&mut bits, frame, scan, (dc, ac), &mut run, known[part].get_mut(place))?;
                }
                // AC coefficients of progressive files come one component at a time.
                parts => {
                    for &(part, dc, ac) in parts {
                        let [h, v] = frame.components[part].sampling;
                        for _ in 0..h * v {
                            block(&mut bits, frame, scan, (dc, ac), &mut run, None)?;
                        }
                    }
                }
            }
        }
    }
    if run > 0 {
        return Err(Fault::Code);
    }
    bits.finish()
}

/// Passes over the `n`th restart marker, which must be at `at`.
fn restart(bytes: &[u8], mut at: usize, n: u64) -> Result<usize, Fault> {
    while bytes.get(at) == Some(&0xff) {
        at += 1;
    }
    match bytes.get(at) {
        Some(&code) if code == 0xd0 + (n % 8) as u8 => Ok(at + 1),
        _ => Err(Fault::Short),
    }
}

type Tables<'a> = (Option<&'a Table>, Option<&'a Table>);

fn block(
    bits: &mut Bits<'_>,
    frame: &Frame,
    scan: &Scan<'_>,
    (dc, ac): Tables<'_>,
    run: &mut u32,
    known: Option<&mut u64>,
) -> Result<(), Fault> {
    if !frame.progressive {
        let (Some(dc), Some(ac)) = (dc, ac) else { return Err(Fault::Code) };
        return whole(bits, dc, ac);
    }
    match (scan.first, scan.refines, known) {
        (0, true, _) => bits.skip(1),
        (0, false, _) => first_dc(bits, dc.ok_or(Fault::Code)?),
        (_, refines, Some(known)) => {
            let ac = ac.ok_or(Fault::Code)?;
            if refines { finer_ac(bits, ac, scan, run, known) } else { first_ac(bits, ac, scan, run, known) }
        }
        (.., None) => Err(Fault::Code),
    }
}

fn first_dc(bits: &mut Bits<'_>, table: &Table) -> Result<(), Fault> {
    match bits.decode(table)? {
        size @ 0..=15 => bits.skip(size.into()),
        _ => Err(Fault::Code),
    }
}

/// A block of a sequential file.
fn whole(bits: &mut Bits<'_>, dc: &Table, ac: &Table) -> Result<(), Fault> {
    first_dc(bits, dc)?;
    let mut k = 1;
    while k < 64 {
        let code = bits.decode(ac)?;
        let (zeros, size) = (usize::from(code >> 4), u32::from(code & 15));
        if size == 0 {
            if zeros < 15 {
                return Ok(());
            }
            k += 16;
            continue;
        }
        k += zeros;
        if k > 63 {
            return Err(Fault::Code);
        }
        bits.skip(size)?;
        k += 1;
    }
    Ok(())
}

/// The first bits of a band of a block.
fn first_ac(bits: &mut Bits<'_>, ac: &Table, scan: &Scan<'_>, run: &mut u32, known: &mut u64) -> Result<(), Fault> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut k = scan.first;
    while k <= scan.last {
        let code = bits.decode(ac)?;
        let (zeros, size) = (usize::from(code >> 4), u32::from(code & 15));
        if size == 0 {
            if zeros < 15 {
                *run = (1 << zeros) + bits.take(zeros as u32)? - 1;
                return Ok(());
            }
            k += 16;
            continue;
        }
        k += zeros;
        if k > scan.last {
            return Err(Fault::Code);
        }
        bits.skip(size)?;
        *known |= 1 << k;
        k += 1;
    }
    Ok(())
}

/// One more bit of each value of a band of a block, and values that it makes other than zero.
fn finer_ac(bits: &mut Bits<'_>, ac: &Table, scan: &Scan<'_>, run: &mut u32, known: &mut u64) -> Result<(), Fault> {
    let mut k = scan.first;
    if *run == 0 {
        while k <= scan.last {
            let code = bits.decode(ac)?;
            let (mut zeros, size) = (code >> 4, code & 15);
            if size == 0 && zeros < 15 {
                *run = (1 << zeros) + bits.take(zeros.into())?;
                break;
            }
            // The sign of the new value comes before the bits of those that it passes.
            bits.skip(u32::from(size > 0))?;
            while k <= scan.last {
                if *known >> k & 1 == 1 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if size > 0 {
                if k > scan.last {
                    return Err(Fault::Code);
                }
                *known |= 1 << k;
            }
            k += 1;
        }
    }
    if *run > 0 {
        if k <= scan.last {
            let rest = u64::MAX << k & u64::MAX >> (63 - scan.last);
            bits.skip((*known & rest).count_ones())?;
        }
        *run -= 1;
    }
    Ok(())
}
