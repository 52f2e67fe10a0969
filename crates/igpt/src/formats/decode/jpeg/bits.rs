//! Bits of an entropy-coded segment of a JPEG file, and the Huffman codes in them (ITU-T T.81, annexes C and F).

/// Why a segment is not what a picture's blocks make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The data end before the blocks do.
    Short,
    /// The data go on after the blocks end.
    Long,
    /// A code that no table has, or a value that no block can hold.
    Code,
}

/// Bytes of padding that may stand between the last block and the next marker beyond the bits of the last byte: some
/// encoders fill words of 32 bits.
const PADDING: usize = 3;

/// A reader of the bits between two markers.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, the first of them highest; below `count` of them zeros.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Reads from byte `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0 }
    }

    /// Fills the buffer to more than 56 bits, or up to the next marker.
    fn refill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if byte == 0xff {
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn drop(&mut self, bits: u32) -> Result<(), Fault> {
        if bits > self.count {
            return Err(Fault::Short);
        }
        self.buffer <<= bits;
        self.count -= bits;
        Ok(())
    }

    /// The next `bits` bits, at most 16, as a number.
    pub(super) fn take(&mut self, bits: u32) -> Result<u32, Fault> {
        if bits == 0 {
            return Ok(0);
        }
        if self.count < bits {
            self.refill();
        }
        let value = (self.buffer >> (64 - bits)) as u32;
        self.drop(bits)?;
        Ok(value)
    }

    /// Passes over `bits` bits, at most 64.
    pub(super) fn skip(&mut self, mut bits: u32) -> Result<(), Fault> {
        while bits > 0 {
            let part = bits.min(16);
            self.take(part)?;
            bits -= part;
        }
        Ok(())
    }

    /// The value of the next code of `table`.
    pub(super) fn decode(&mut self, table: &Table) -> Result<u8, Fault> {
        if self.count < 32 {
            self.refill();
        }
        let entry = table.short[(self.buffer >> (64 - SHORT)) as usize];
        if entry != 0 {
            self.drop(u32::from(entry >> 8))?;
            return Ok(entry as u8);
        }
        let word = (self.buffer >> 48) as u32;
        for length in SHORT + 1..=16 {
            let code = word >> (16 - length);
            let (first, end, offset) = table.long[length as usize];
            if (first..end).contains(&code) {
                self.drop(length)?;
                return Ok(table.values[(offset + code - first) as usize]);
            }
        }
        // Zeros that stand for missing data may be no code.
        Err(if self.count < 16 { Fault::Short } else { Fault::Code })
    }

    /// Ends a segment: what is left must be padding. Returns where the marker is that follows.
    pub(super) fn finish(mut self) -> Result<usize, Fault> {
        self.skip(self.count % 8)?;
        for _ in 0..=PADDING {
            self.refill();
            if self.count == 0 {
                return Ok(self.at);
            }
            if ![0, 0xff].contains(&self.take(8)?) {
                return Err(Fault::Long);
            }
        }
        Err(Fault::Long)
    }
}

/// Bits of a code that one look finds.
const SHORT: u32 = 9;

/// A Huffman table.
pub(super) struct Table {
    /// For each start of [`SHORT`] bits the length of its code and the code's value; 0 for longer codes.
    short: Box<[u16; 1 << SHORT]>,
    /// For each length the first code, the one behind the last, and where the first one's value is.
    long: [(u32, u32, u32); 17],
    values: Vec<u8>,
}

impl Table {
    /// The table of `counts` codes of each length from 1 to 16 with these values; none when there are more codes than
    /// can be.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut table = Self { short: Box::new([0; 1 << SHORT]), long: [(0, 0, 0); 17], values: values.to_vec() };
        let (mut code, mut offset) = (0u32, 0u32);
        for (length, &count) in (1u32..).zip(counts) {
            let end = code + u32::from(count);
            if end > 1 << length {
                return None;
            }
            table.long[length as usize] = (code, end, offset);
            if length <= SHORT {
                for (code, value) in (code..end).zip(&values[offset as usize..]) {
                    let first = (code << (SHORT - length)) as usize;
                    table.short[first..first + (1 << (SHORT - length))].fill((length as u16) << 8 | u16::from(*value));
                }
            }
            offset += u32::from(count);
            code = end << 1;
        }
        Some(table)
    }
}
