"""Checks igpt against transformers in both directions, through the binary.

    python scripts/check_transformers.py IGPT [DIR ...]

IGPT is the program; each DIR is a model directory that igpt wrote (without any, a small one is trained first).

1. What igpt wrote opens in transformers without missing or unexpected keys, computes the same there, and can be
   drawn from.
2. What transformers and torch save (biases, sharded, .bin, half precisions, not square) computes the same in igpt.
3. Pictures get the same likelihood from igpt's files-to-tokens-to-loss as from transformers' image processor and
   model.
4. A classifier that igpt fine-tuned opens as ImageGPTForImageClassification without missing keys and, fed with sos and the
   tokens but the last, gives the same log-probabilities of the classes for the same pictures; one that transformers saved,
   without a generative head, gives the same scores in igpt.
5. The Python on a model's card runs as it stands and finds igpt's likelihood, features and classes for a picture that is
   transparent, in colour and not of the model's size, whatever its image processor resamples by.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from record_parity import record
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling, ImageGPTForImageClassification
from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil

PICTURES = pathlib.Path(__file__).parent.parent / "testdata/processor"
TOLERANCE = 1e-4


def igpt(program, *arguments):
    """Runs igpt and gives its JSON result."""
    command = [program, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def parity(program, directory, what):
    record(directory)
    result = igpt(program, "parity", directory, "--tolerance", TOLERANCE)
    parts = [part for part in ("logits", "loss", "features", "class_logits") if part in result]
    errors = ", ".join(f"{part} {result[part]['relative_error']:.1e}" for part in parts)
    print(f"{what}: relative errors {errors}")


def check_written_by_igpt(program, source, temp):
    directory = temp / "written"
    shutil.copytree(source, directory)
    model, info = ImageGPTForCausalImageModeling.from_pretrained(directory, output_loading_info=True)
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, f"transformers opens {source} with {wrong}"
    parity(program, directory, f"{source}, written by igpt")

    processor = ImageGPTImageProcessorPil.from_pretrained(directory)
    n_vocab, n_ctx = model.config.vocab_size - 1, model.config.n_positions
    assert processor.clusters.shape == (n_vocab, 3), processor.clusters.shape
    assert processor.size["height"] * processor.size["width"] == n_ctx, processor.size
    torch.manual_seed(0)
    drawn = model.generate()
    assert drawn.shape == (1, n_ctx + 1) and (drawn[:, 1:] < n_vocab).all(), drawn.shape
    shutil.rmtree(directory)


def random_model(height, width, n_vocab, n_embd, n_layer, n_head, n_inner=None):
    config = ImageGPTConfig(
        vocab_size=n_vocab + 1,
        n_positions=height * width,
        n_embd=n_embd,
        n_layer=n_layer,
        n_head=n_head,
        n_inner=n_inner,
    )
    torch.manual_seed(1)
    model = ImageGPTForCausalImageModeling(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".ln_" in name:
                parameter.uniform_(0.5, 1.5)
            elif name.endswith(".bias"):
                parameter.normal_(std=0.2)
            else:
                parameter.normal_(std=0.5 * parameter.shape[0] ** -0.5 if "c_" in name else 0.3)
    return model


def save_processor(directory, height, width, n_vocab):
    generator = torch.Generator().manual_seed(2)
    clusters = torch.rand(n_vocab, 3, generator=generator) * 2 - 1
    size = {"height": height, "width": width}
    ImageGPTImageProcessorPil(clusters=clusters.tolist(), size=size).save_pretrained(directory)


def check_written_by_transformers(program, temp):
    shapes = [(12, 8, 61, 72, 2, 3), (16, 16, 512, 64, 3, 1), (9, 17, 20, 48, 2, 6, 100)]
    for shape in shapes:
        model = random_model(*shape)
        forms = {
            "safetensors": lambda d: model.save_pretrained(d),
            "sharded": lambda d: model.save_pretrained(d, max_shard_size="100KB"),
            "bin": lambda d: save_bin(model, d, 1),
            "sharded bin": lambda d: save_bin(model, d, 3),
            "bf16": lambda d: model.bfloat16().save_pretrained(d),
        }
        for form, save in forms.items():
            directory = temp / "foreign"
            save(directory)
            save_processor(directory, *shape[:3])
            parity(program, directory, f"{shape} as {form}, written by transformers")
            shutil.rmtree(directory)


def save_bin(model, directory, shards):
    """As transformers 4 did without safetensors."""
    model.config.save_pretrained(directory)
    state = model.state_dict()
    if shards == 1:
        torch.save(state, directory / "pytorch_model.bin")
        return
    weight_map = {}
    for i in range(shards):
        part = dict(list(state.items())[i::shards])
        file = f"pytorch_model-{i + 1:05}-of-{shards:05}.bin"
        torch.save(part, directory / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def check_pictures(program, temp):
    model = random_model(32, 32, 512, 32, 1, 2)
    directory, folder = temp / "pictures-model", temp / "pictures"
    model.save_pretrained(directory)
    shutil.copy(PICTURES / "preprocessor_config.json", directory)
    folder.mkdir()
    files = sorted(PICTURES.glob("*.png"))
    for file in files:
        shutil.copy(file, folder)
    processor = ImageGPTImageProcessorPil.from_pretrained(directory)
    tokens = processor([Image.open(file) for file in files], return_tensors="pt")["input_ids"]
    sos = torch.full((len(files), 1), 512)
    with torch.no_grad():
        logits = model(input_ids=torch.cat([sos, tokens[:, :-1]], 1)).logits
        theirs = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens).item()
    flags = ["--model", directory, "--data", folder, "--split", "all", "--precision", "f32"]
    ours = igpt(program, "eval", *flags)
    assert ours["images"] == len(files), ours
    difference = abs(ours["nats_per_token"] - theirs)
    print(f"{len(files)} pictures: {theirs:.6f} nats per token in transformers, {difference:.1e} off in igpt")
    assert difference < TOLERANCE, ours


def check_classifier(program, temp):
    folder = temp / "classes"
    generator = torch.Generator().manual_seed(3)
    for name, low in [("dark", 0), ("light", 120), ("red", 0)]:
        (folder / name).mkdir(parents=True)
        for i in range(30):
            pixels = torch.randint(low, low + 130, (8, 8, 3), generator=generator, dtype=torch.uint8)
            if name == "red":
                pixels[:, :, 0] = 255
            Image.fromarray(pixels.numpy()).save(folder / name / f"{i}.png")
    run = temp / "classifier"
    shape = ["--from-scratch", "--preset", "nano", "--n-px", 8, "--colors", 16, "--batch", 8, "--steps", 40, "--lr", 1e-3]
    igpt(program, "finetune", "--data", folder, *shape, "--precision", "f32", "--out", run)
    model, info = ImageGPTForImageClassification.from_pretrained(run / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    # The generative head stays in the file for igpt's own use.
    assert set(info["unexpected_keys"]) <= {"lm_head.weight"}, info
    processor = ImageGPTImageProcessorPil.from_pretrained(run / "model")
    files = [folder / name / f"{i}.png" for name in ["dark", "light", "red"] for i in (0, 1)]
    tokens = processor([Image.open(file) for file in files], return_tensors="pt")["input_ids"]
    sos = torch.full((len(files), 1), model.config.vocab_size - 1)
    with torch.no_grad():
        theirs = torch.log_softmax(model.eval()(torch.cat([sos, tokens[:, :-1]], 1)).logits.double(), 1)
        unshifted = torch.log_softmax(model(tokens).logits.double(), 1)
    ours = igpt(program, "classify", "--model", run, *files)["images"]
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    assert names == ["dark", "light", "red"], names
    ours = torch.tensor([[image["probabilities"][name] for name in names] for image in ours]).double().log()
    difference, other = (ours - theirs).abs().max().item(), (ours - unshifted).abs().max().item()
    print(f"classifier: log-probabilities {difference:.1e} off; {other:.1e} where tokens are fed unshifted")
    assert difference < TOLERANCE, (ours, theirs)
    parity(program, run / "model", "classifier, written by igpt")
    check_card(program, run / "model", temp)
    # As transformers saves it, the generative head is gone.
    saved = temp / "classifier-of-transformers"
    model.save_pretrained(saved)
    shutil.copy(run / "model/preprocessor_config.json", saved)
    parity(program, saved, "classifier, written by transformers")


def check_card(program, source, temp):
    """Runs the Python on the card in a copy of the model, and compares with igpt what it leaves behind."""
    card = (source / "README.md").read_text()
    assert str(temp) not in card, "a path of this machine"
    (python,) = re.findall(r"```python\n(.*?)```", card, re.S)
    picture = Image.open(PICTURES / "chelsea.png").convert("RGBA").resize((61, 47))
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    before = os.getcwd()
    for resample in (0, 2, 3):
        directory = temp / "card"
        shutil.copytree(source, directory)
        settings = json.loads((directory / "preprocessor_config.json").read_text())
        (directory / "preprocessor_config.json").write_text(json.dumps(settings | {"resample": resample}))
        (directory / "pictures").mkdir()
        picture.save(directory / "pictures/picture.png")
        shutil.copy(directory / "pictures/picture.png", directory)
        os.chdir(directory)
        try:
            found = {}
            exec(compile(python, str(source / "README.md"), "exec"), found)
            if "nats" not in found:
                made = np.array(Image.open("as_tokens.png"))
                assert made.shape[:2] == (settings["size"]["height"], settings["size"]["width"]), made.shape
                print(f"card of {source.name}, masked: makes tokens and their picture")
                continue
            flags = ["--model", ".", "--data", "pictures", "--split", "all", "--precision", "f32"]
            ours = igpt(program, "eval", *flags)["nats_per_token"]
            igpt(program, "embed", *flags, "--out", "features.npy")
            errors = {"likelihood": abs(found["nats"].mean().item() - ours)}
            errors["features"] = np.abs(np.load("features.npy") - found["features"].numpy()).max()
            if "class_logits" in found:
                (classes,) = igpt(program, "classify", "--model", ".", "picture.png")["images"]
                names = found["model"].config.id2label
                ours = np.array([classes["probabilities"][names[i]] for i in range(len(names))])
                errors["classes"] = np.abs(ours - torch.softmax(found["class_logits"][0], 0).numpy()).max()
            drawn = Image.open("drawn.png")
            assert drawn.size == (settings["size"]["width"], settings["size"]["height"]), drawn.size
        finally:
            os.chdir(before)
            shutil.rmtree(directory)
        print(f"card, resample {resample}: " + ", ".join(f"{what} {error:.1e} off" for what, error in errors.items()))
        assert max(errors.values()) < TOLERANCE, errors


def main():
    program, *directories = sys.argv[1:]
    # The card is run in its own folder.
    program, directories = os.path.abspath(program), [pathlib.Path(directory).absolute() for directory in directories]
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        if not directories:
            small = ["--preset", "nano", "--n-px", 8, "--colors", 16, "--steps", 3]
            igpt(program, "pretrain", "--data", "emoji", *small, "--out", temp / "run")
            directories = [temp / "run/model"]
        for directory in directories:
            check_written_by_igpt(program, directory, temp)
            check_card(program, directory, temp)
        masked = temp / "masked"
        small = ["--preset", "nano", "--n-px", 8, "--colors", 16, "--steps", 3, "--objective", "masked"]
        igpt(program, "pretrain", "--data", "emoji", *small, "--out", masked)
        check_card(program, masked / "model", temp)
        check_written_by_transformers(program, temp)
        check_pictures(program, temp)
        check_classifier(program, temp)
    print("igpt and transformers agree")


main()
