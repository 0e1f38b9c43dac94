//! Makes `src/model.bin`: `cargo run --release --example train`.

use skep_template::training::{accuracy, train};

fn main() -> std::io::Result<()> {
    let model = train();
    println!(
        "{:.1} % of 1,000 new images are named right",
        100.0 * accuracy(&model, 1, 1_000)
    );
    let bytes: Vec<u8> = model
        .0
        .iter()
        .flat_map(|weight| weight.to_le_bytes())
        .collect();
    std::fs::write("src/model.bin", bytes)
}
