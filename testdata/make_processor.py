"""Writes testdata/processor: small real pictures, a palette of 512 colours fitted to them, and the token ids that
transformers' ImageGPT image processor gives.

Run from the project's root: python testdata/make_processor.py PHOTOS (packages: scripts/requirements.txt and
scikit-learn). PHOTOS is the folder skimage/data of the scikit-image 0.26 package; its pictures used here are free of
restrictions, see testdata/processor/NOTICE. The emoji come from the embedded sheet.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image
from sklearn.cluster import KMeans
from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil

ROOT = pathlib.Path(__file__).parent
OUT = ROOT / "processor"
SHEET = ROOT.parent / "crates/igpt/assets/emoji/sheet.png"
SIDE, PITCH = 32, 34

NOTICE = """\
astronaut.png          Eileen Collins, NASA, public domain
chelsea.png            Chelsea the cat, Stefan van der Walt, CC0
coffee.png             Coffee cup, Rachel Michetti, CC0
rocket.png             DSCOVR on Falcon 9, SpaceX, public domain
hubble_deep_field.png  Hubble eXtreme Deep Field, NASA, public domain
emoji-*.png            Noto Emoji, Copyright Google LLC, Apache License 2.0
                       (crates/igpt/assets/emoji/NOTICE)

The photographs are those of scikit-image's skimage.data, their centres scaled to 32 by 32.
"""


def main():
    photos = pathlib.Path(sys.argv[1])
    OUT.mkdir(exist_ok=True)
    pictures = {}
    for file in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg"):
        picture = Image.open(photos / file).convert("RGB")
        side = min(picture.size)
        left, top = ((length - side) // 2 for length in picture.size)
        picture = picture.crop((left, top, left + side, top + side))
        pictures[pathlib.Path(file).stem] = picture.resize((SIDE, SIDE), Image.BILINEAR, reducing_gap=None)
    sheet = Image.open(SHEET).convert("RGBA")
    for column, row in ((12, 30), (33, 7), (50, 44)):
        tile = sheet.crop((column * PITCH + 1, row * PITCH + 1, column * PITCH + 33, row * PITCH + 33))
        white = Image.new("RGBA", tile.size, "white")
        pictures[f"emoji-{column}-{row}"] = Image.alpha_composite(white, tile).convert("RGB")

    pixels = np.concatenate([np.asarray(p).reshape(-1, 3) for p in pictures.values()])
    fit = KMeans(512, n_init=1, random_state=0).fit(pixels / 127.5 - 1)
    colours = fit.cluster_centers_.astype(np.float32)
    processor = ImageGPTImageProcessorPil(clusters=colours, size={"height": SIDE, "width": SIDE})
    processor.save_pretrained(OUT)
    ids = {}
    for name, picture in pictures.items():
        picture.save(OUT / f"{name}.png", optimize=True)
        ids[name] = processor(picture)["input_ids"][0].tolist()
    text = json.dumps(ids, separators=(",", ":")).replace('],"', '],\n"')
    (OUT / "tokens.json").write_text(text + "\n")
    (OUT / "NOTICE").write_text(NOTICE)


main()
