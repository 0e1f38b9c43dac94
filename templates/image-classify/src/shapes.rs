//! Images to learn from, made by chance: a filled shape of some size, place, angle, brightness and noise.
//!
//! No function of the system's mathematics is used, so a seed makes the same images on every machine.

use crate::model::SIDE;

/// Numbers by chance that are the same for the same seed (xorshift64*, Vigna 2016).
pub struct Chance(u64);

impl Chance {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Evenly from `from` to `to`.
    pub fn between(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * ((self.bits() >> 40) as f32 / (1 << 24) as f32)
    }

    /// One of the first `count` numbers.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % count as u64) as usize
    }
}

/// An image of `SIDE` × `SIDE` grey pixels and the index of its label.
pub fn shape(chance: &mut Chance) -> (Vec<u8>, usize) {
    let label = chance.below(3);
    let radius = chance.between(6.0, 11.0);
    let room = SIDE as f32 / 2.0 - 1.0 - radius;
    let (x0, y0) = (
        14.0 + chance.between(-room, room),
        14.0 + chance.between(-room, room),
    );
    let (cos, sin) = direction(chance);
    let back = chance.between(0.0, 255.0);
    let ink = if back < 128.0 {
        chance.between(back + 80.0, 255.0)
    } else {
        chance.between(0.0, back - 80.0)
    };
    let mut pixels = Vec::with_capacity(SIDE * SIDE);
    for at in 0..SIDE * SIDE {
        // Four samples of each pixel make edges smooth.
        let covered = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)].map(|(dx, dy)| {
            let (x, y) = ((at % SIDE) as f32 + dx - x0, (at / SIDE) as f32 + dy - y0);
            f32::from(is_inside(
                label,
                (x * cos + y * sin) / radius,
                (y * cos - x * sin) / radius,
            ))
        });
        let share = covered.iter().sum::<f32>() / 4.0;
        let value = back + (ink - back) * share + chance.between(-10.0, 10.0);
        pixels.push(value.clamp(0.0, 255.0) as u8);
    }
    (pixels, label)
}

/// A unit vector.
fn direction(chance: &mut Chance) -> (f32, f32) {
    loop {
        let (x, y) = (chance.between(-1.0, 1.0), chance.between(-1.0, 1.0));
        let length = (x * x + y * y).sqrt();
        if (0.1..=1.0).contains(&length) {
            return (x / length, y / length);
        }
    }
}

/// Whether a point is in the shape that reaches up to the unit circle.
fn is_inside(label: usize, x: f32, y: f32) -> bool {
    const HALF_ROOT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
    const HALF_ROOT_3: f32 = 0.866_025_4;
    match label {
        0 => x * x + y * y <= 1.0,
        1 => x.abs() <= HALF_ROOT_2 && y.abs() <= HALF_ROOT_2,
        _ => [x, -x / 2.0 + HALF_ROOT_3 * y, -x / 2.0 - HALF_ROOT_3 * y]
            .iter()
            .all(|it| *it <= 0.5),
    }
}
