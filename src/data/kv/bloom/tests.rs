//! Tests of Bloom filters, kept in memory: what is added is found, and little else.

use std::collections::HashMap;

use super::*;

/// A filter with its blocks.
struct Kept {
    filter: Filter,
    blocks: HashMap<(u8, u64), Vec<u8>>,
}

impl Kept {
    fn new() -> Self {
        Self {
            filter: Filter::new(100),
            blocks: HashMap::new(),
        }
    }

    fn has(&self, item: &Item) -> bool {
        self.filter.layers().any(|layer| {
            let block = self.blocks.get(&(layer.index, layer.block(item)));
            block.is_some_and(|block| layer.has(item, block))
        })
    }

    fn add(&mut self, item: &Item) {
        if self.has(item) {
            return;
        }
        let layer = self.filter.grow().unwrap();
        let place = (layer.index, layer.block(item));
        let block = self.blocks.entry(place);
        layer.set(item, block.or_insert_with(|| vec![0; layer.block_bytes]));
    }
}

fn item(kind: &str, number: usize) -> Item {
    Item::new(format!("{kind} {number}").as_bytes())
}

#[test]
fn all_that_was_added_is_found_and_fewer_than_one_in_a_hundred_others() {
    for items in [1, 100, 1_000, 10_000, 100_000] {
        let mut kept = Kept::new();
        for number in 0..items {
            kept.add(&item("in", number));
        }
        for number in 0..items {
            assert!(kept.has(&item("in", number)), "{number} of {items}");
        }
        let tried = 100_000;
        let wrong = (0..tried).filter(|it| kept.has(&item("out", *it))).count();
        println!("{items} items: {wrong} of {tried} others found");
        assert!(wrong * 100 < tried, "{items} items: {wrong} of {tried}");
    }
}

#[test]
fn an_item_that_is_there_takes_no_room() {
    let mut kept = Kept::new();
    for _ in 0..3 {
        kept.add(&item("in", 0));
    }
    let bits: u32 = kept
        .blocks
        .values()
        .flatten()
        .map(|it| it.count_ones())
        .sum();
    assert_eq!((kept.filter.last_items, bits), (1, 8));
}

/// The layout is on disk: it may not change under the same number.
#[test]
fn the_layout_is_as_it_was() {
    let mut filter = Filter::new(100);
    for _ in 0..100 + 200 + 400 + 800 + 1_600 + 1 {
        filter.grow().unwrap();
    }
    assert_eq!(filter.encode(), [1, 100, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0]);
    let item = Item::new(b"skep");
    let layers: Vec<_> = filter
        .layers()
        .map(|layer| (layer.blocks, layer.block_bytes, layer.block(&item)))
        .collect();
    let expected = [
        (4, 1_825, 2),
        (2, 1_680, 1),
        (1, 1_536, 0),
        (1, 696, 0),
        (1, 312, 0),
        (1, 138, 0),
    ];
    assert_eq!(layers, expected);
    let bits: Vec<_> = filter.layer(0).bits(&item).collect();
    assert_eq!(bits, [630, 122, 718, 210, 806, 298, 894, 386]);
}

#[test]
fn a_filter_ends_with_its_last_layer() {
    let mut filter = Filter {
        first_items: 1,
        layers: LAYERS_MAX,
        last_items: (1 << 23) - 1,
    };
    assert!(filter.grow().is_some());
    assert!(filter.grow().is_none());
    assert_eq!(filter.last_items, 1 << 23);
}

#[test]
fn the_largest_layer_is_no_overflow() {
    let filter = Filter {
        first_items: u16::MAX,
        layers: LAYERS_MAX,
        last_items: 0,
    };
    for layer in filter.layers() {
        assert!(layer.block_bytes as u64 <= BLOCK_BYTES_MAX);
        let last = Item {
            block: u64::MAX,
            start: u64::MAX,
            step: 0,
        };
        assert_eq!(layer.block(&last), layer.blocks - 1);
        let bits = layer.block_bytes * 8;
        assert!(layer.bits(&last).all(|bit| bit == bits - 1));
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    let mut filter = Filter::new(100);
    for _ in 0..250 {
        filter.grow().unwrap();
    }
    let whole = filter.encode();
    assert_eq!(Filter::decode(&whole), Some(filter));
    let cases: &[(&str, usize, u8)] = &[
        ("another layout", 0, 2),
        ("no items", 1, 0),
        ("no layers", 3, 0),
        ("too many layers", 3, LAYERS_MAX + 1),
        ("more items than there is room for", 4, 201),
    ];
    for (what, at, byte) in cases {
        let mut bytes = whole;
        bytes[*at] = *byte;
        assert_eq!(Filter::decode(&bytes), None, "{what}");
    }
    assert_eq!(Filter::decode(&whole[1..]), None);
    assert_eq!(Filter::decode(&[]), None);
}
