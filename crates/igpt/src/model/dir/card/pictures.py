import json

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import MODEL_CLASS

folder = "."  # where this file lies; of a model on the hub: huggingface_hub.snapshot_download("OWNER/NAME")
file = "picture.png"  # any picture

with open(f"{folder}/preprocessor_config.json") as f:
    settings = json.load(f)
height, width = settings["size"]["height"], settings["size"]["width"]
clusters = np.array(settings["clusters"], np.float32)  # (n_vocab, 3) in [-1, 1]: token i is colour i
grey = settings["igpt_channels"] == 1


def read(file):
    """The picture upright, on white, and of the model's size and channels."""
    image = Image.open(file)
    if image.format != "TIFF":  # Pillow turns these by itself
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
        image = Image.fromarray(((np.asarray(image).astype(np.int32) + 128) // 257).astype(np.uint8))
    rgba = np.asarray(image.convert("RGBA")).astype(np.int32)
    color, alpha = rgba[..., :3], rgba[..., 3:]
    on_white = (color * alpha + 255 * (255 - alpha) + 127) // 255
    image = Image.fromarray(on_white.astype(np.uint8)).convert("L" if grey else "RGB")
    if not settings["do_resize"] and image.size != (width, height):
        raise ValueError(f"{file} is {image.size}, but the model reads {(width, height)} and do_resize is false")
    # The largest crop of the model's proportions from the centre, then scaled.
    w, h = image.size
    if w * height >= h * width:
        crop_w, crop_h = min(max((h * width + height // 2) // height, 1), w), h
    else:
        crop_w, crop_h = w, min(max((w * height + width // 2) // width, 1), h)
    left, top = (w - crop_w) // 2, (h - crop_h) // 2
    image = image.crop((left, top, left + crop_w, top + crop_h))
    return image.resize((width, height), Image.Resampling(settings["resample"]))


def to_tokens(image):
    """(1, height * width) tokens in raster order: of each pixel the nearest colour, of equally near ones the first."""
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(np.float32) / np.float32(127.5) - 1
    squares = ((pixel - clusters) ** 2 for pixel in pixels)
    return torch.tensor([[int((s[:, 0] + s[:, 1] + s[:, 2]).argmin()) for s in squares]])


def to_picture(tokens):
    """The picture that height * width tokens stand for: the palette's colours from [-1, 1] to bytes."""
    colors = np.rint(127.5 * (clusters[tokens.numpy()] + 1)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(colors.reshape(height, width, 3))
    return image.convert("L") if grey else image


def features(out, layer):
    """(1, n_embd) features of layer 0 to n_layer: the mean over positions, as `igpt embed --layers` has them."""
    hidden = out.hidden_states[layer]  # of layer n_layer this is ln_f's output
    if layer < model.config.n_layer:
        hidden = model.transformer.h[layer].ln_1(hidden)
    return hidden.mean(1)


model = MODEL_CLASS.from_pretrained(folder, dtype=torch.float32).eval()
tokens = to_tokens(read(file))
