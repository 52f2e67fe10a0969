"""Records what transformers computes from a model directory, for `igpt parity DIR` to compare with.

    python scripts/record_parity.py DIR [--images 2] [--seed 0]

Writes DIR/parity.safetensors: random tokens (B, T); features (B, n_layer + 1, n_embd) of the input sos + tokens[:-1], the
means over positions of ln_1(h^l) and, last, of ln_f's output. If the model has a generative head, logits (B, T, n_vocab) and
loss (B) in nats per token, every pixel scored. Of a classifier class_logits (B, num_labels), from the features of the layer
that config.json names as igpt_class_layer, by default the last. Computed in f64 from the stored weights, kept as f32.
"""

import argparse
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import ImageGPTForCausalImageModeling, ImageGPTForImageClassification


def record(directory, images=2, seed=0):
    directory = pathlib.Path(directory)
    model, info = ImageGPTForCausalImageModeling.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True
    )
    model, config = model.double().eval(), model.config
    classifies = "ImageGPTForImageClassification" in (config.architectures or [])
    # transformers saves none with a classifier, and makes a fresh one in its place.
    generates = "lm_head.weight" not in info["missing_keys"]
    if getattr(config, "igpt_objective", "autoregressive") == "masked":
        sys.exit(f"{directory} was trained on masked pixels: transformers' ImageGPT always has a causal mask")
    if not generates and not classifies:
        sys.exit(f"{directory} has no lm_head.weight, and config.json doesn't say that it is a classifier")

    sos = config.vocab_size - 1
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(sos, (images, config.n_positions), generator=generator)
    shifted = torch.cat([torch.full((images, 1), sos), tokens[:, :-1]], 1)
    with torch.no_grad():
        out = model(input_ids=shifted, output_hidden_states=True)
        # hidden_states hold the residual stream before each block and, last, ln_f's output.
        normed = [block.ln_1(h) for block, h in zip(model.transformer.h, out.hidden_states)] + [out.hidden_states[-1]]
        recording = {"tokens": tokens.int(), "features": torch.stack([n.mean(1) for n in normed], 1).float()}
        if generates:
            nats = torch.nn.functional.cross_entropy(out.logits.transpose(1, 2), tokens, reduction="none")
            recording |= {"logits": out.logits.float(), "loss": nats.mean(1).float()}
        if classifies:
            classifier = ImageGPTForImageClassification.from_pretrained(directory, dtype=torch.float32).double().eval()
            layer = getattr(config, "igpt_class_layer", config.n_layer)
            # transformers' classifier always reads the last layer.
            last = layer == config.n_layer
            scores = classifier(shifted).logits if last else classifier.score(normed[layer].mean(1))
            recording["class_logits"] = scores.float()
    save_file({name: tensor.contiguous() for name, tensor in recording.items()}, directory / "parity.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    record(**vars(parser.parse_args()))
