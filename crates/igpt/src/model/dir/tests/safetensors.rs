//! Damaged and hostile safetensors files.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{assert_has, header_of, model, refusal, saved};
use crate::model::{ModelCard, ModelDir, SaveType};

/// Rewrites model.safetensors with a changed header and the same data.
fn with_header(dir: &Path, change: impl FnOnce(&mut Value)) -> String {
    let path = dir.join("model.safetensors");
    let good = fs::read(&path).unwrap();
    let len = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut header = header_of(dir);
    change(&mut header);
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&good[8 + len..]);
    fs::write(&path, bytes).unwrap();
    let message = refusal(dir);
    fs::write(&path, good).unwrap();
    assert_has(&message, &["model.safetensors"]);
    message
}

#[test]
fn hostile_safetensors_headers_are_refused() {
    let (_temp, dir) = saved(&model(false));
    let fc = "transformer.h.0.mlp.c_fc.weight";
    let f = "transformer.ln_f.weight";
    let start = |h: &Value, name: &str| h[name]["data_offsets"][0].as_u64().unwrap();

    assert_has(&with_header(&dir, |h| drop(h.as_object_mut().unwrap().remove(f))), &["hole"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!([288, 72])), &[fc, "[288, 72]", "[72, 288]"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!([1])), &[fc, "doesn't fill"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!([1u64 << 40, 1u64 << 40])), &[fc, "doesn't fill"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!("round")), &[fc, "bad header entry"]);
    assert_has(&with_header(&dir, |h| h[fc]["dtype"] = json!("F8_E5M2")), &[fc, "F8_E5M2"]);
    assert_has(&with_header(&dir, |h| h[fc]["data_offsets"] = json!([0, 1u64 << 62])), &[fc, "not inside"]);
    assert_has(&with_header(&dir, |h| h[fc]["data_offsets"] = json!([8, 4])), &[fc, "not inside"]);
    let overlap = with_header(&dir, |h| {
        let at = start(h, fc) - 4;
        h[fc]["data_offsets"] = json!([at, at + 72 * 288 * 4]);
    });
    assert_has(&overlap, &["overlap"]);
    let renamed = with_header(&dir, |h| {
        let entry = h.as_object_mut().unwrap().remove(f).unwrap();
        h["transformer.ln_g.weight"] = entry;
    });
    assert_has(&renamed, &[f, "missing"]);
    let extra =
        with_header(&dir, |h| h["score.weight"] = json!({ "dtype": "F32", "shape": [0], "data_offsets": [0, 0] }));
    assert_has(&extra, &["score.weight", "not a part"]);
    assert_has(&with_header(&dir, |h| h["__metadata__"] = json!({ "format": 1 })), &["__metadata__"]);
}

#[test]
fn truncated_and_oversized_safetensors_are_refused() {
    let (_temp, dir) = saved(&model(false));
    let path = dir.join("model.safetensors");
    let good = fs::read(&path).unwrap();
    for len in [0, 7, 8, 100, good.len() - 1] {
        fs::write(&path, &good[..len]).unwrap();
        assert_has(&refusal(&dir), &["model.safetensors", "truncated"]);
    }
    let mut longer = good.clone();
    longer.push(0);
    fs::write(&path, longer).unwrap();
    assert_has(&refusal(&dir), &["model.safetensors", "damaged"]);
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    fs::write(&path, huge).unwrap();
    assert_has(&refusal(&dir), &["header of 1152921504606846976 bytes"]);
    let mut infinite = good;
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, infinite).unwrap();
    assert_has(&refusal(&dir), &["model.safetensors", "NaN"]);
}

#[test]
fn a_weight_with_a_flipped_exponent_bit_is_refused_by_name() {
    for dtype in [SaveType::F32, SaveType::Bf16] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("model");
        model(false).save(&dir, &ModelCard::default(), dtype).unwrap();
        let path = dir.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let (name, length) = ("transformer.h.1.mlp.c_fc.weight", bytes.len());
        let start = header_of(&dir)[name]["data_offsets"][0].as_u64().unwrap() as usize;
        let data = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
        let size = if dtype == SaveType::F32 { 4 } else { 2 };
        // The second element is above 2 already; its exponent's highest bit is set, so a small one is put there.
        let small = 0.01f32.to_le_bytes();
        bytes[data + start + size..][..size].copy_from_slice(&small[4 - size..]);
        fs::write(&path, &bytes).unwrap();
        ModelDir::open(&dir).unwrap();
        bytes[data + start + 2 * size - 1] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), length as u64);
        assert_has(&refusal(&dir), &["model.safetensors", name, "element 1 is", "e36", "damaged"]);
    }
}
