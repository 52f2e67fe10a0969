"""Writes testdata/models: one tiny model in every form in which transformers and torch save weights, what transformers
computes from it, and a pickle that would run a command.

Run from the project's root: python testdata/make_models.py (packages: scripts/requirements.txt).
"""

import json
import pathlib
import shutil
import sys

import torch
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling
from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil

sys.path.append(str(pathlib.Path(__file__).parent.parent / "scripts"))
from record_parity import record

ROOT = pathlib.Path(__file__).parent / "models"


class Hostile:
    def __reduce__(self):
        return __import__("os").system, ("touch hostile-pickle-was-run",)


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

    (ROOT / "hostile").mkdir()
    torch.save({"transformer.wte.weight": Hostile()}, ROOT / "hostile/pytorch_model.bin")


main()
