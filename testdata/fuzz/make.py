#!/usr/bin/env python3
"""Makes the small pictures that scripts/fuzz.py mutates: every format that igpt reads, in its variants. Wants Pillow.

python testdata/fuzz/make.py
"""

from pathlib import Path
from random import Random

from PIL import Image

here = Path(__file__).parent
rng = Random(0)
noise = Image.frombytes("RGB", (12, 10), rng.randbytes(12 * 10 * 3))
larger = noise.resize((40, 30))
alpha = Image.frombytes("RGBA", (12, 10), rng.randbytes(12 * 10 * 4))
grey = noise.convert("L")
deep = Image.frombytes("I;16", (12, 10), rng.randbytes(12 * 10 * 2))
palette = noise.quantize(16)
exif = Image.Exif()
exif[274] = 6  # turned by a quarter

for name, image, options in [
    ("rgb.png", noise, {}),
    ("rgba.png", alpha, {}),
    ("grey.png", grey, {}),
    ("deep.png", deep, {}),
    ("palette.png", palette, {"transparency": 3}),
    ("bits.png", noise.convert("1"), {}),
    ("baseline.jpg", larger, {"quality": 70}),
    ("progressive.jpg", larger, {"quality": 70, "progressive": True}),
    ("full.jpg", larger, {"subsampling": 0, "exif": exif}),
    ("grey.jpg", larger.convert("L"), {}),
    ("cmyk.jpg", larger.convert("CMYK"), {}),
    ("restart.jpg", larger, {"restart_marker_blocks": 2}),
    ("still.gif", palette, {}),
    ("clear.gif", palette, {"transparency": 2, "interlace": 0}),
    ("rgb.bmp", noise, {}),
    ("palette.bmp", palette, {}),
    ("rgba.bmp", alpha, {}),
    ("lossy.webp", larger, {"quality": 60}),
    ("lossless.webp", alpha, {"lossless": True}),
    ("alpha.webp", alpha.resize((20, 20)), {"quality": 60}),
    ("raw.tif", noise, {}),
    ("lzw.tif", noise, {"compression": "tiff_lzw"}),
    ("deflate.tif", alpha, {"compression": "tiff_adobe_deflate"}),
    ("packbits.tif", grey, {"compression": "packbits"}),
    ("jpeg.tif", larger, {"compression": "jpeg"}),
    ("deep.tif", deep, {}),
    ("palette.tif", palette, {}),
]:
    image.save(here / name, **options)
noise.save(here / "moving.gif", save_all=True, append_images=[grey.convert("RGB"), alpha.convert("RGB")])
noise.save(here / "moving.webp", save_all=True, append_images=[grey.convert("RGB")], lossless=True)
