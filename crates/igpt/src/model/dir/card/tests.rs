use std::path::{Path, PathBuf};

use super::*;
use crate::image::ImageSize;
use crate::model::ClassHead;

fn card(objective: Objective, class_layer: Option<usize>, generates: bool) -> String {
    let class_head = class_layer.map(|layer| ClassHead { num_labels: 3, layer });
    let config = ModelConfig::new(ImageSize { height: 8, width: 12 }, 5, 16, 2, 2);
    let lines = vec![format!("Trained on `{}`.", ModelCard::data_name("/home/somebody/photos"))];
    ModelCard { lines, figures: Vec::new() }.to_markdown(&ModelConfig { objective, class_head, ..config }, generates)
}

/// Every kind of card, by the name of its expectation in `testdata/cards`.
fn cards() -> [(&'static str, String); 6] {
    let (causal, masked) = (Objective::Autoregressive, Objective::Masked);
    [
        ("generative", card(causal, None, true)),
        ("classifier", card(causal, Some(2), false)),
        ("classifier-joint", card(causal, Some(2), true)),
        ("classifier-middle", card(causal, Some(1), true)),
        ("masked", card(masked, None, true)),
        ("masked-classifier", card(masked, Some(1), true)),
    ]
}

fn expectation(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/cards").join(format!("{name}.md"))
}

/// With IGPT_WRITE_CARDS set the expectations are written anew, to be read in the change.
#[test]
fn cards_are_those_expected() {
    for (name, card) in cards() {
        if std::env::var_os("IGPT_WRITE_CARDS").is_some() {
            std::fs::write(expectation(name), &card).unwrap();
        }
        let expected = std::fs::read_to_string(expectation(name)).unwrap();
        assert!(card == expected, "the card of testdata/cards/{name}.md has become:\n{card}");
    }
}

#[test]
fn cards_hold_no_absolute_path_and_name_sos_and_the_white_ground() {
    for (name, card) in cards() {
        let starts =
            |word: &str| word.trim_start_matches(['`', '"', '\'', '(', '[']).starts_with('/') && word.len() > 2;
        let path = card.split_whitespace().find(|word| starts(word) && !word.starts_with("//"));
        assert_eq!(path, None, "{name}");
        for part in ["photos", "sos", "exif_transpose", "255 * (255 - alpha)", "settings[\"resample\"]", "clusters"] {
            assert!(card.contains(part), "{name}: no {part} in {card}");
        }
        for placeholder in ["MODEL_CLASS", "MIDDLE_LAYER", "CLASS_LAYER", "CLASS_LOGITS", "MASK_PROB"] {
            assert!(!card.contains(placeholder), "{name}: {placeholder} in {card}");
        }
    }
}

#[test]
fn a_data_set_is_named_without_its_folder() {
    let named = |spec: &str| ModelCard::data_name(spec);
    assert_eq!(
        ["emoji", "/home/somebody/photos/", "../pets/cats", "."].map(named),
        ["emoji", "photos", "cats", "a folder"]
    );
}

#[test]
fn whatever_transformers_can_read_says_of_which_input_its_features_are() {
    for (name, card) in cards() {
        let part = if name.starts_with("masked") {
            "an input without sos"
        } else {
            "the token 5 (sos) followed by the tokens but the last"
        };
        assert!(card.contains(part), "{name}: no {part} in {card}");
    }
}
