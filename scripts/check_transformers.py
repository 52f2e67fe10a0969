"""Checks igpt against transformers in both directions, through the binary.

    python scripts/check_transformers.py IGPT [DIR ...]

IGPT is the program; each DIR is a model directory that igpt wrote (without any, a small one is trained first).

1. What igpt wrote opens in transformers without missing or unexpected keys, computes the same there, and can be
   drawn from.
2. What transformers and torch save (biases, sharded, .bin, half precisions, not square) computes the same in igpt.
3. Pictures get the same likelihood from igpt's files-to-tokens-to-loss as from transformers' image processor and
   model.
4. A classifier that igpt fine-tuned opens as ImageGPTForImageClassification without missing keys and, fed with sos and the
   tokens but the last, gives the same log-probabilities of the classes for the same pictures. Its recorded class logits are
   igpt's, on the last layer and on another, with a generative head and without.
5. The Python program in a model's card runs, and for pictures with transparency, an Exif orientation and odd sizes it gives
   the tokens, the log-likelihood, the features and the classes that igpt gives; so do models of grey and of masked pixels.
"""

import contextlib
import io
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
    errors = ", ".join(f"{k} {v['relative_error']:.1e}" for k, v in result.items() if isinstance(v, dict))
    print(f"{what}: relative errors {errors}")
    return result


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


def classes_folder(temp):
    folder = temp / "classes"
    generator = torch.Generator().manual_seed(3)
    for name, low in [("dark", 0), ("light", 120), ("red", 0)]:
        (folder / name).mkdir(parents=True)
        for i in range(30):
            pixels = torch.randint(low, low + 130, (8, 8, 3), generator=generator, dtype=torch.uint8)
            if name == "red":
                pixels[:, :, 0] = 255
            Image.fromarray(pixels.numpy()).save(folder / name / f"{i}.png")
    return folder


def finetune(program, folder, run, *flags):
    shape = ["--from-scratch", "--preset", "nano", "--n-px", 8, "--colors", 16, "--batch", 8, "--steps", 40, "--lr", 1e-3]
    igpt(program, "finetune", "--data", folder, *shape, "--precision", "f32", "--out", run, *flags)


def check_classifier(program, temp):
    folder, run = classes_folder(temp), temp / "classifier"
    finetune(program, folder, run)
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

    # Joint, on a middle layer, of classes alone, and as transformers saves it again.
    finetune(program, folder, temp / "middle", "--layer", 2)
    finetune(program, folder, temp / "alone", "--generative-weight", 0)
    model.save_pretrained(temp / "again")
    shutil.copy(run / "model/preprocessor_config.json", temp / "again")
    for name in ["classifier/model", "middle/model", "alone/model", "again"]:
        result = parity(program, temp / name, f"classifier {name}")
        assert ("logits" in result) == (name in ["classifier/model", "middle/model"]), result
        assert "class_logits" in result, result
    for name in ["classifier", "middle", "alone"]:
        check_card(program, temp / name / "model", f"classifier {name}", temp)


def odd_picture(file, height, width, grey):
    """A picture of all degrees of transparency that is to be turned by 90 degrees."""
    y, x = np.mgrid[0:height, 0:width]
    noise = (x * 73 + y * 151 + x * y * 31) % 89
    channels = [x * 3 + noise, y * 4 + noise, (x + y) * 2, (x * 5 + y * 7) % 300]
    # WebP has no grey, and igpt takes a folder of one for colours: theirs are alike then.
    if grey and file.suffix == ".webp":
        channels[1:3] = channels[:1] * 2
    elif grey:
        channels = [channels[0], channels[3]]
    exif = Image.Exif()
    exif[274] = 6
    form = {"lossless": True, "exact": True} if file.suffix == ".webp" else {}
    pixels = np.stack(channels, -1).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, exif=exif, **form)


def run_card(directory, picture):
    """The variables that the program in a model's card leaves behind, run in the model's directory."""
    (program,) = re.findall("```python\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)
    shutil.copy(picture, directory / "picture.png")
    variables, before = {}, os.getcwd()
    torch.manual_seed(0)
    os.chdir(directory)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(program, f"{directory}/README.md", "exec"), variables)
    finally:
        os.chdir(before)
    return variables


def check_card(program, source, what, temp, grey=False):
    directory = temp / "carded"
    shutil.copytree(source, directory)
    config = json.loads((directory / "config.json").read_text())
    n_ctx, n_vocab = config["n_positions"], config["vocab_size"] - 1
    masked = config.get("igpt_objective") == "masked"
    worst = {}

    def compare(name, theirs, ours):
        worst[name] = max(worst.get(name, 0), np.abs(np.asarray(theirs, np.float64) - ours).max())

    # No TIFF: Pillow 13 loses the orientation of one with RGBA samples.
    pictures = [("a.png", 37, 53, grey), ("b.webp", 61, 20, grey), ("c.png", 7, 90, grey)]
    for name, height, width, has_grey in pictures:
        folder = temp / "one"
        folder.mkdir()
        odd_picture(folder / name, height, width, has_grey)
        card = run_card(directory, folder / name)
        igpt(program, "data", "tokenize", "--data", folder, "--palette", directory, "--n-px", "x".join(map(str, (card["height"], card["width"]))), "--out", temp / "tokens")
        shard = (temp / "tokens/train-00000.tokens").read_bytes()
        tokens = np.frombuffer(shard, np.uint8 if n_vocab <= 256 else np.uint16, n_ctx, 128)
        assert (card["tokens"].numpy()[0] == tokens).all(), f"{what}, {name}: other tokens"

        layer = -(-config["n_layer"] // 2)
        flags = ["--model", directory, "--data", folder, "--split", "all", "--precision", "f32"]
        igpt(program, "embed", *flags, "--layers", layer, "--out", temp / "features.npy")
        compare("features", card["feature"], np.load(temp / "features.npy")[:, 0])
        if "log_likelihood" in card and not masked:
            ours = igpt(program, "eval", *flags)["nats_per_token"]
            compare("log-likelihood", -card["log_likelihood"].mean(), ours)
            flags = ["--reference", "png", "--top", 0, "--out", temp / "scores"]
            ours = igpt(program, "score", "--model", directory, "--data", folder, "--split", "all", *flags)
            compare("log-likelihood", -card["log_likelihood"].mean(), ours["nats_per_image"] / n_ctx)
        if "probabilities" in card:
            (ours,) = igpt(program, "classify", "--model", directory, folder / name)["images"]
            names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
            theirs = card["probabilities"].numpy()
            assert abs(theirs.sum() - 1) < 1e-5, theirs
            # The masks of a vote are igpt's own.
            if not masked:
                compare("probabilities", theirs, [ours["probabilities"][name] for name in names])
        for file in (directory / n for n in ("drawn.png", "completed.png", "filled.png")):
            if file.exists():
                colors = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)
                palette = np.rint(127.5 * (card["clusters"] + 1)).clip(0, 255)
                assert len(colors) == n_ctx and all((palette == c).all(1).any() for c in colors), file
        shutil.rmtree(temp / "tokens")
        shutil.rmtree(folder)
    assert worst["features"] < TOLERANCE and max(worst.values()) < TOLERANCE, f"{what}: {worst}"
    differences = ", ".join(f"{k} {v:.1e}" for k, v in worst.items())
    print(f"card of {what}: same tokens of {len(pictures)} pictures; largest differences {differences}")
    shutil.rmtree(directory)


def check_cards(program, temp):
    greys = temp / "greys"
    greys.mkdir()
    generator = torch.Generator().manual_seed(4)
    for i in range(20):
        pixels = torch.randint(0, 256, (12, 8), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(greys / f"{i}.png")
    network = ["--preset", "nano", "--steps", 2, "--batch", 8, "--lr", 1e-3, "--precision", "f32"]
    colour = ["--data", temp / "classes", "--n-px", "12x8", "--colors", 64]
    igpt(program, "pretrain", *colour, *network, "--out", temp / "colour")
    igpt(program, "pretrain", "--data", greys, "--n-px", "12x8", *network, "--out", temp / "grey")
    igpt(program, "pretrain", *colour, *network, "--objective", "masked", "--out", temp / "masked")
    check_card(program, temp / "colour/model", "a generative model", temp)
    check_card(program, temp / "grey/model", "a model of greys", temp, grey=True)
    check_card(program, temp / "masked/model", "a model of masked pixels", temp)
    finetune(program, temp / "classes", temp / "masked-classes", "--objective", "masked", "--layer", 2)
    check_card(program, temp / "masked-classes/model", "a classifier of masked pixels", temp)


def main():
    program, *directories = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        if not directories:
            small = ["--preset", "nano", "--n-px", 8, "--colors", 16, "--steps", 3]
            igpt(program, "pretrain", "--data", "emoji", *small, "--out", temp / "run")
            directories = [temp / "run/model"]
        for directory in directories:
            check_written_by_igpt(program, directory, temp)
        check_written_by_transformers(program, temp)
        check_pictures(program, temp)
        check_classifier(program, temp)
        check_cards(program, temp)
    print("igpt and transformers agree")


if __name__ == "__main__":
    main()
