//! The recipes in `configs/` are kept in working order.

use std::path::Path;

use igpt::train::RunConfig;

#[test]
fn every_shipped_config_is_valid_and_opens_with_its_command_and_result() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut found = 0;
    for entry in std::fs::read_dir(configs).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        RunConfig::from_toml(&text, &path).unwrap().validate().unwrap();
        let command = |verb: &str| text.contains(&format!("#     igpt {verb} --config"));
        assert!(command("pretrain") || command("finetune"), "{} names no command", path.display());
        assert!(text.contains("# Measured:"), "{} says no result", path.display());
        found += 1;
    }
    assert!(found > 0);
}
