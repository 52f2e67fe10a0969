"""Records what transformers computes from a model directory, for `igpt parity DIR` to compare with.

    python scripts/record_parity.py DIR [--images 2] [--seed 0]

Writes DIR/parity.safetensors: random tokens (B, T); logits (B, T, n_vocab) of the input sos + tokens[:-1]; loss (B)
in nats per token, every pixel scored; features (B, n_layer + 1, n_embd), the means over positions of ln_1(h^l) and,
last, of ln_f's output; of a classifier class_logits (B, classes). A classifier that was saved without its generative
head has neither logits nor loss. Computed in f64 from the stored weights, kept as f32.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import ImageGPTForCausalImageModeling, ImageGPTForImageClassification


def load(kind, directory):
    """A model in f64, and whether its head is in the files: transformers makes up a missing one without an error."""
    model, info = kind.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    missing = {name for name in info["missing_keys"] if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    return model.double().eval(), missing


def record(directory, images=2, seed=0):
    directory = pathlib.Path(directory)
    settings = json.loads((directory / "config.json").read_text())
    classifies = "ImageGPTForImageClassification" in (settings.get("architectures") or [])
    model, missing = load(ImageGPTForCausalImageModeling, directory)
    headless = missing == {"lm_head.weight"} and classifies
    assert not missing or headless, f"{directory} lacks {missing}"
    sos = model.config.vocab_size - 1
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(sos, (images, model.config.n_positions), generator=generator)
    shifted = torch.cat([torch.full((images, 1), sos), tokens[:, :-1]], 1)
    with torch.no_grad():
        out = model(input_ids=shifted, output_hidden_states=True)
        nats = torch.nn.functional.cross_entropy(out.logits.transpose(1, 2), tokens, reduction="none")
        # hidden_states hold the residual stream before each block and, last, ln_f's output.
        normed = [block.ln_1(h) for block, h in zip(model.transformer.h, out.hidden_states)] + [out.hidden_states[-1]]
    features = torch.stack([n.mean(1) for n in normed], 1)
    recording = {"tokens": tokens.int(), "features": features.float()}
    if not headless:
        recording |= {"logits": out.logits.float(), "loss": nats.mean(1).float()}
    if classifies:
        classifier, missing = load(ImageGPTForImageClassification, directory)
        assert not missing, f"{directory} lacks {missing}"
        with torch.no_grad():
            # transformers' own class reads the last layer alone.
            layer = settings.get("igpt_class_layer", model.config.n_layer)
            own = layer == model.config.n_layer
            scores = classifier(input_ids=shifted).logits if own else classifier.score(features[:, layer])
        recording["class_logits"] = scores.float()
    save_file({name: tensor.contiguous() for name, tensor in recording.items()}, directory / "parity.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    record(**vars(parser.parse_args()))
