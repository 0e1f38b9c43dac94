//! The network, and how it is run.
//!
//! ```text
//!   28×28 ─conv 3×3─► 8×26×26 ─pool─► 8×13×13 ─conv 3×3─► 16×11×11 ─pool─► 16×5×5 ─dense─► 3 scores
//! ```
//!
//! `model.bin` has the weights as little-endian `f32`: for each layer its weights, then its biases.

/// Width and height of what it sees, in pixels.
pub const SIDE: usize = 28;
/// What it can say, in the order of the scores.
pub const LABELS: [&str; 3] = ["circle", "square", "triangle"];

/// The first convolution.
pub const FIRST: Convolution = Convolution {
    inputs: 1,
    outputs: 8,
    side: SIDE,
    at: 0,
};
/// The second one.
pub const SECOND: Convolution = Convolution {
    inputs: 8,
    outputs: 16,
    side: 13,
    at: FIRST.end(),
};
/// How many numbers the dense layer sees.
pub const FEATURES: usize = 16 * 5 * 5;
/// Where the dense layer's weights begin.
pub const DENSE: usize = SECOND.end();
/// How many weights there are.
pub const WEIGHTS: usize = DENSE + (FEATURES + 1) * LABELS.len();

/// A layer of 3×3 kernels on square maps, without padding; ReLU follows.
pub struct Convolution {
    /// How many maps it sees.
    pub inputs: usize,
    /// How many maps it makes.
    pub outputs: usize,
    /// Width of a map that it sees.
    pub side: usize,
    /// Where its weights begin.
    pub at: usize,
}

impl Convolution {
    /// Where its biases begin.
    pub const fn biases(&self) -> usize {
        self.at + self.inputs * self.outputs * 9
    }

    const fn end(&self) -> usize {
        self.biases() + self.outputs
    }

    /// Each kernel's number: output, input, row and column in the kernel, place among the weights.
    pub fn kernels(&self) -> impl Iterator<Item = (usize, usize, usize, usize, usize)> + use<> {
        let (inputs, start) = (self.inputs, self.at);
        (0..self.outputs * inputs * 9).map(move |at| {
            (
                at / 9 / inputs,
                at / 9 % inputs,
                at / 3 % 3,
                at % 3,
                start + at,
            )
        })
    }

    fn run(&self, weights: &[f32], input: &[f32]) -> Vec<f32> {
        let (side, out) = (self.side, self.side - 2);
        let mut maps = vec![0.0; self.outputs * out * out];
        for (map, bias) in maps.chunks_mut(out * out).zip(&weights[self.biases()..]) {
            map.fill(*bias);
        }
        for (o, i, row, column, at) in self.kernels() {
            for y in 0..out {
                let from = &input[(i * side + y + row) * side + column..][..out];
                let to = &mut maps[(o * out + y) * out..][..out];
                for (to, from) in to.iter_mut().zip(from) {
                    *to += weights[at] * from;
                }
            }
        }
        for value in &mut maps {
            *value = value.max(0.0);
        }
        maps
    }
}

/// The largest of each 2×2; an odd last row or column is left out.
fn pool(maps: &[f32], side: usize) -> Vec<f32> {
    let half = side / 2;
    let mut out = Vec::with_capacity(maps.len() / 4);
    for map in maps.chunks(side * side) {
        for y in 0..half {
            for x in 0..half {
                out.push(
                    square(y, x, side)
                        .map(|at| map[at])
                        .into_iter()
                        .fold(f32::MIN, f32::max),
                );
            }
        }
    }
    out
}

/// The places that become one in [`pool`].
pub fn square(y: usize, x: usize, side: usize) -> [usize; 4] {
    let corner = 2 * y * side + 2 * x;
    [corner, corner + 1, corner + side, corner + side + 1]
}

/// What every layer made of one image.
pub struct Activations {
    pub pixels: Vec<f32>,
    pub first: Vec<f32>,
    pub first_pooled: Vec<f32>,
    pub second: Vec<f32>,
    pub second_pooled: Vec<f32>,
    pub scores: [f32; 3],
}

/// The network's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Model(pub Vec<f32>);

impl Model {
    /// The one in `model.bin`.
    pub fn shipped() -> Self {
        const BYTES: &[u8; WEIGHTS * 4] = include_bytes!("model.bin");
        let (numbers, _) = BYTES.as_chunks();
        Self(
            numbers
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        )
    }

    /// How much the image, of `SIDE` × `SIDE` grey pixels, looks like each of [`LABELS`]: 1 is very much, -1 not at all.
    pub fn scores(&self, pixels: &[u8]) -> [f32; 3] {
        self.run(pixels).scores
    }

    /// The same with every step.
    pub fn run(&self, pixels: &[u8]) -> Activations {
        let pixels = contrast(pixels);
        let first = FIRST.run(&self.0, &pixels);
        let first_pooled = pool(&first, FIRST.side - 2);
        let second = SECOND.run(&self.0, &first_pooled);
        let second_pooled = pool(&second, SECOND.side - 2);
        let (weights, biases) = self.0[DENSE..].split_at(FEATURES * LABELS.len());
        let scores = std::array::from_fn(|label| {
            let weights = &weights[label * FEATURES..][..FEATURES];
            let products = weights
                .iter()
                .zip(&second_pooled)
                .map(|(weight, value)| weight * value);
            products.sum::<f32>() + biases[label]
        });
        Activations {
            pixels,
            first,
            first_pooled,
            second,
            second_pooled,
            scores,
        }
    }
}

/// How far each pixel is from the background, from 0 to 1: dark on light is the same as light on dark.
fn contrast(pixels: &[u8]) -> Vec<f32> {
    let is_border = |at: &usize| matches!(at % SIDE, 0 | 27) || matches!(at / SIDE, 0 | 27);
    let border: Vec<_> = (0..SIDE * SIDE)
        .filter(is_border)
        .map(|at| f32::from(pixels[at]))
        .collect();
    let background = border.iter().sum::<f32>() / border.len() as f32;
    let away: Vec<_> = pixels
        .iter()
        .map(|pixel| (f32::from(*pixel) - background).abs())
        .collect();
    let most = away.iter().fold(1.0_f32, |most, it| most.max(*it));
    away.iter().map(|it| it / most).collect()
}
