//! Finds the weights: backpropagation and Adam (Kingma & Ba 2015), the squared hinge as the loss.

use crate::model::{
    Activations, Convolution, DENSE, FEATURES, FIRST, LABELS, Model, SECOND, WEIGHTS, square,
};
use crate::shapes::{Chance, shape};

const SEED: u64 = 7;
const STEPS: usize = 1_500;
const BATCH: usize = 16;
const RATE: f32 = 0.006;

/// Trains a model. It is the same, bit for bit, wherever it runs.
pub fn train() -> Model {
    let mut chance = Chance::new(SEED);
    let mut model = Model(
        (0..WEIGHTS)
            .map(|at| chance.between(-1.0, 1.0) * spread(at))
            .collect(),
    );
    let (mut means, mut squares) = (vec![0.0; WEIGHTS], vec![0.0; WEIGHTS]);
    for step in 0..STEPS {
        let mut slope = vec![0.0; WEIGHTS];
        for _ in 0..BATCH {
            let (pixels, label) = shape(&mut chance);
            let seen = model.run(&pixels);
            add_slopes(&model, &seen, label, &mut slope);
        }
        let rate = RATE * (1.0 - step as f32 / STEPS as f32);
        for at in 0..WEIGHTS {
            let slope = slope[at] / BATCH as f32;
            means[at] += 0.1 * (slope - means[at]);
            squares[at] += 0.01 * (slope * slope - squares[at]);
            model.0[at] -= rate * means[at] / (squares[at].sqrt() + 1e-6);
        }
    }
    model
}

/// The share of new images that the model names right.
pub fn accuracy(model: &Model, seed: u64, images: usize) -> f32 {
    let mut chance = Chance::new(seed);
    let right = (0..images).filter(|_| {
        let (pixels, label) = shape(&mut chance);
        let scores = model.scores(&pixels);
        scores.iter().all(|score| *score <= scores[label])
    });
    right.count() as f32 / images as f32
}

/// How large a weight is at first (He 2015), by how many numbers its layer sums up; biases are nothing.
fn spread(at: usize) -> f32 {
    let of = |inputs: usize| (6.0 / inputs as f32).sqrt();
    match at {
        _ if at < FIRST.biases() => of(9),
        _ if at < SECOND.at => 0.0,
        _ if at < SECOND.biases() => of(9 * SECOND.inputs),
        _ if at < DENSE => 0.0,
        _ if at < DENSE + FEATURES * LABELS.len() => of(FEATURES),
        _ => 0.0,
    }
}

/// Adds how the loss for one image changes with each weight.
fn add_slopes(model: &Model, seen: &Activations, label: usize, slope: &mut [f32]) {
    let mut features = vec![0.0; FEATURES];
    for (at, score) in seen.scores.iter().enumerate() {
        let wanted = if at == label { 1.0 } else { -1.0 };
        let error = -2.0 * wanted * (1.0 - wanted * score).max(0.0);
        for feature in 0..FEATURES {
            let weight = DENSE + at * FEATURES + feature;
            slope[weight] += error * seen.second_pooled[feature];
            features[feature] += error * model.0[weight];
        }
        slope[DENSE + FEATURES * LABELS.len() + at] += error;
    }
    let second = unpool(&features, &seen.second, SECOND.side - 2);
    let first_pooled = convolution(&SECOND, model, &seen.first_pooled, &second, slope);
    let first = unpool(&first_pooled, &seen.first, FIRST.side - 2);
    convolution(&FIRST, model, &seen.pixels, &first, slope);
}

/// Back through pooling and ReLU: to the largest of each 2×2, unless it is 0.
fn unpool(pooled: &[f32], maps: &[f32], side: usize) -> Vec<f32> {
    let half = side / 2;
    let mut out = vec![0.0; maps.len()];
    for (at, value) in pooled.iter().enumerate() {
        let (map, y, x) = (at / (half * half), at / half % half, at % half);
        let places = square(y, x, side).map(|place| map * side * side + place);
        let largest = places
            .into_iter()
            .fold(places[0], |a, b| if maps[b] > maps[a] { b } else { a });
        if maps[largest] > 0.0 {
            out[largest] = *value;
        }
    }
    out
}

/// Back through a convolution: adds to the slopes of its weights, and returns those of its input.
fn convolution(
    layer: &Convolution,
    model: &Model,
    input: &[f32],
    after: &[f32],
    slope: &mut [f32],
) -> Vec<f32> {
    let (side, out) = (layer.side, layer.side - 2);
    let mut before = vec![0.0; input.len()];
    for (map, bias) in after.chunks(out * out).zip(&mut slope[layer.biases()..]) {
        *bias += map.iter().sum::<f32>();
    }
    for (o, i, row, column, at) in layer.kernels() {
        for y in 0..out {
            let start = (i * side + y + row) * side + column;
            let after = &after[(o * out + y) * out..][..out];
            for x in 0..out {
                slope[at] += after[x] * input[start + x];
                before[start + x] += after[x] * model.0[at];
            }
        }
    }
    before
}
