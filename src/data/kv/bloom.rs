//! Bloom filters that grow: where an item's bits are, whatever keeps them.
//!
//! ```text
//! layer 0    1 block  of   138 bytes    the first    100 items,  8 bits each, 1 in  200 wrongly found
//! layer 1    1 block  of   312 bytes    the next     200 items,  9 bits each, 1 in  400
//! layer 5    4 blocks of 1,825 bytes    the next   3,200 items, 13 bits each, 1 in 6,400
//! layer n                               the next 100·2ⁿ items, 8+n bits each, 1 in 200·2ⁿ
//! ```
//!
//! An item is added to the last layer, unless some layer seems to have it. A full layer is followed by
//! one of twice the items and half the errors (Almeida et al. 2007; the defaults of RedisBloom): all
//! layers together find fewer than 1 in 100 that were never added, and every one that was.
//!
//! All bits of an item in a layer lie in one block (Putze et al. 2007), so that to add one writes one
//! block, however large the filter. Which one, and which bits, is from the BLAKE3 hash of the item:
//!
//! ```text
//! hash    │ 8 bytes │ 8 bytes │ 8 bytes │ …    numbers from 0 to 1, little-endian, over 2⁶⁴
//!           block     start     step
//! block   = ⌊blocks · block⌋
//! bit i   = ⌊bits of a block · fraction(start + i · step)⌋     bit b is byte b/8's bit b%8
//! ```

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

/// The largest block: two with their keys fill one page of 4 KiB of the file.
const BLOCK_BYTES_MAX: u64 = 1_984;

/// With 100 items first, room for 1,677,721,500.
const LAYERS_MAX: u8 = 24;

/// Bits of a filter for each item of layer 0, in thousandths: `log2(200) / ln 2`.
const BITS_PER_ITEM_MILLI: u64 = 11_028;

/// More of them for each further layer: `1 / ln 2`.
const BITS_PER_LAYER_MILLI: u64 = 1_443;

/// Bits that are set for an item in layer 0: `log2(200)`, rounded up.
const HASHES: u8 = 8;

/// Bytes of an encoded [`Filter`].
pub const FILTER_BYTES: usize = 12;

/// The first byte of one: what this file says of bits.
const LAYOUT: u8 = 1;

/// What is known of a filter beside its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Items of the first layer, 1 or more.
    first_items: u16,
    /// Layers, from 1 to [`LAYERS_MAX`].
    layers: u8,
    /// Items in the last of them.
    last_items: u64,
}

/// One layer of a filter.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// Which, from 0.
    pub index: u8,
    /// Bytes of each of its blocks; one that was never written is all zeros.
    pub block_bytes: usize,
    blocks: u64,
}

/// What counts of an item.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    block: u64,
    start: u64,
    step: u64,
}

impl Filter {
    /// An empty one, for as many items in its first layer.
    pub fn new(first_items: u16) -> Self {
        Self {
            first_items: first_items.max(1),
            layers: 1,
            last_items: 0,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; FILTER_BYTES] {
        let [low, high] = self.first_items.to_le_bytes();
        let [a, b, c, d, e, f, g, h] = self.last_items.to_le_bytes();
        [LAYOUT, low, high, self.layers, a, b, c, d, e, f, g, h]
    }

    /// From such bytes; `None` when they are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[layout, low, high, layers], rest) = bytes.split_first_chunk()?;
        let filter = Self {
            first_items: u16::from_le_bytes([low, high]),
            layers,
            last_items: u64::from_le_bytes(rest.try_into().ok()?),
        };
        let is_one = layout == LAYOUT
            && filter.first_items > 0
            && (1..=LAYERS_MAX).contains(&layers)
            && filter.last_items <= filter.last_items_max();
        is_one.then_some(filter)
    }

    /// Its layers, the last and largest first.
    pub fn layers(&self) -> impl Iterator<Item = Layer> {
        (0..self.layers).rev().map(|index| self.layer(index))
    }

    /// Counts one more item, and says where its bits belong: that may be a new layer. `None` when
    /// there is no room for more.
    pub fn grow(&mut self) -> Option<Layer> {
        if self.last_items >= self.last_items_max() {
            if self.layers >= LAYERS_MAX {
                return None;
            }
            self.layers += 1;
            self.last_items = 0;
        }
        self.last_items += 1;
        Some(self.layer(self.layers - 1))
    }

    fn last_items_max(&self) -> u64 {
        u64::from(self.first_items) << (self.layers - 1)
    }

    fn layer(&self, index: u8) -> Layer {
        let items = u64::from(self.first_items) << index;
        let milli = BITS_PER_ITEM_MILLI + BITS_PER_LAYER_MILLI * u64::from(index);
        let bytes = (items * milli).div_ceil(8_000);
        let blocks = bytes.div_ceil(BLOCK_BYTES_MAX);
        Layer {
            index,
            // At most `BLOCK_BYTES_MAX`.
            block_bytes: bytes.div_ceil(blocks) as usize,
            blocks,
        }
    }
}

impl Layer {
    /// The number of the block that has the item's bits.
    pub fn block(&self, item: &Item) -> u64 {
        part(item.block, self.blocks)
    }

    /// Whether the item's bits are set in its block.
    pub fn has(&self, item: &Item, block: &[u8]) -> bool {
        let is_set = |bit: usize| {
            block
                .get(bit / 8)
                .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        };
        self.bits(item).all(is_set)
    }

    /// Sets them.
    pub fn set(&self, item: &Item, block: &mut [u8]) {
        for bit in self.bits(item) {
            if let Some(byte) = block.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    fn bits(&self, item: &Item) -> impl Iterator<Item = usize> {
        let Item { start, step, .. } = *item;
        let bits = self.block_bytes as u64 * 8;
        (0..u64::from(HASHES + self.index)).map(move |i| {
            let at = start.wrapping_add(step.wrapping_mul(i));
            part(at, bits) as usize
        })
    }
}

impl Item {
    /// From the item itself.
    pub fn new(item: &[u8]) -> Self {
        let hash = blake3::hash(item);
        let number = |index: usize| {
            let bytes = hash.as_bytes().iter().skip(index * 8).take(8);
            bytes.rfold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Self {
            block: number(0),
            start: number(1),
            step: number(2),
        }
    }
}

/// Which of `parts` equal parts of the numbers below 2⁶⁴ it is in.
fn part(number: u64, parts: u64) -> u64 {
    ((u128::from(number) * u128::from(parts)) >> 64) as u64
}
