//! What the model is worth. `cargo test --release`; without `--release` the training takes a while.

use skep_template::model::Model;
use skep_template::training::{accuracy, train};

#[test]
fn new_images_are_named_right() {
    let share = accuracy(&Model::shipped(), 1, 1_000);
    assert!(share >= 0.97, "{share}");
}

#[test]
fn training_makes_the_model_that_is_shipped() {
    assert!(train() == Model::shipped());
}
