"""Writes testdata/models: one tiny model in every form in which transformers and torch save weights, two classifiers, what
transformers computes from them, and a pickle that would run a command.

Run from the project's root: python testdata/make_models.py (packages: scripts/requirements.txt).
"""

import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling, ImageGPTForImageClassification
from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil

sys.path.append(str(pathlib.Path(__file__).parent.parent / "scripts"))
from record_parity import record

ROOT = pathlib.Path(__file__).parent / "models"


class Hostile:
    def __reduce__(self):
        return __import__("os").system, ("touch hostile-pickle-was-run",)


def classifiers():
    """One as transformers saves it, without a generative head, and one as igpt's joint training does, on a middle layer."""
    colours = [[i / 2 - 1, 0.3 - i / 5, i % 2 - 0.5] for i in range(5)]
    processor = ImageGPTImageProcessorPil(clusters=colours, size={"height": 8, "width": 9})
    for name, layer in [("classifier", None), ("classifier-middle", 1)]:
        torch.manual_seed(1)
        own = {} if layer is None else {"igpt_class_layer": layer}
        sizes = dict(vocab_size=6, n_positions=72, n_embd=12, n_layer=2, n_head=3, n_inner=20)
        config = ImageGPTConfig(**sizes, id2label={0: "cat", 1: "dog", 2: "owl"}, **own)
        model = ImageGPTForImageClassification(config)
        with torch.no_grad():
            for tensor_name, parameter in model.named_parameters():
                if parameter.dim() == 2 or tensor_name.endswith(".bias"):
                    parameter.normal_(std=0.5)
        path = ROOT / name
        model.save_pretrained(path)
        if layer is not None:
            state = model.state_dict() | {"lm_head.weight": torch.randn(5, 12)}
            save_file({k: v.contiguous() for k, v in state.items()}, path / "model.safetensors", {"format": "pt"})
        processor.save_pretrained(path)
        record(path)
        for file in path.iterdir():
            file.chmod(0o644)


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    torch.manual_seed(0)
    config = ImageGPTConfig(vocab_size=6, n_positions=80, n_embd=12, n_layer=1, n_head=3)
    model = ImageGPTForCausalImageModeling(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_()
    colours = [[(i * 37 % 11) / 5 - 1, (i * 53 % 13) / 6 - 1, (i * 29 % 7) / 3 - 1] for i in range(5)]
    processor = ImageGPTImageProcessorPil(clusters=colours, size={"height": 8, "width": 10})

    def directory(name):
        path = ROOT / name
        model.config.save_pretrained(path)
        processor.save_pretrained(path)
        return path

    model.save_pretrained(directory("safetensors"))
    model.save_pretrained(directory("safetensors-sharded"), max_shard_size="4KB")
    record(ROOT / "safetensors")
    for path in (ROOT / "safetensors", ROOT / "safetensors-sharded"):
        (path / "generation_config.json").unlink()
        for file in path.iterdir():
            file.chmod(0o644)

    # torch.save as transformers 4 wrote it: the state dict, whole or in shards with an index. The shards also hold
    # what older versions added (mask buffers), a transposed matrix and two tensors in one storage.
    state = model.state_dict()
    torch.save(state, directory("bin") / "pytorch_model.bin")
    for dtype, name in ((torch.float16, "bin-f16"), (torch.bfloat16, "bin-bf16")):
        torch.save({k: v.to(dtype) for k, v in state.items()}, directory(name) / "pytorch_model.bin")
    state["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    state["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    state["lm_head.weight"] = state["lm_head.weight"].t().contiguous().t()
    norms = torch.cat([state["transformer.h.0.ln_1.weight"], state["transformer.h.0.ln_2.weight"]])
    state["transformer.h.0.ln_1.weight"], state["transformer.h.0.ln_2.weight"] = norms[:12], norms[12:]
    path = directory("bin-sharded")
    names = sorted(state)
    shards = [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        file = f"pytorch_model-{i:05}-of-{len(shards):05}.bin"
        # Parameters as such, which pickle through torch._utils._rebuild_parameter.
        wrap = (lambda t: torch.nn.Parameter(t)) if i == 2 else (lambda t: t)
        torch.save({k: wrap(state[k]) if state[k].is_floating_point() else state[k] for k in shard}, path / file)
        weight_map.update({k: file for k in shard})
    index = {"metadata": {"total_size": sum(t.nbytes for t in state.values())}, "weight_map": weight_map}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")

    classifiers()

    (ROOT / "hostile").mkdir()
    torch.save({"transformer.wte.weight": Hostile()}, ROOT / "hostile/pytorch_model.bin")


main()
