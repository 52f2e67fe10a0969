"""Pictures of textures, good and defective, for studies of small sets and of odd images. Needs NumPy and Pillow.

    studies/textures.py TEXTURES OUT [--seed N] [--defect scratch|smear]
    studies/textures.py TEXTURES OUT --crops 5000

TEXTURES holds brick.png, grass.png and gravel.png of scikit-image (512×512, CC0; Debian's python3-skimage has them in
skimage/data). The first command writes OUT/<texture>/{good,held,odd,new} for brick and grass: 300, 200, 200 and 20 grey
pictures of 128×128 pixels with changing brightness and noise. The good ones are cut from the left part of a texture, all
others from its right part, which shares no pixel with it. An odd picture has a scratch of 2 to 3 pixels' width or a smeared
spot; so has every fourth of the new ones. The second command writes OUT/{train,validation,test}: so many crops of 64×64
pixels from the upper two thirds of all three textures to train on, 400 and 400 from the lower third.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 150  # Of the piece that a picture of 128 pixels is scaled from.
CROP = 64


def noisy(image, rng):
    grey = np.asarray(image).astype(float) * rng.uniform(0.9, 1.1) + rng.normal(0, 2, (image.height, image.width))
    return Image.fromarray(grey.clip(0, 255).astype("uint8"))


def piece(image, left, right, rng):
    x, y = rng.integers(left, right - SIDE + 1), rng.integers(0, image.height - SIDE + 1)
    return noisy(image.crop((x, y, x + SIDE, y + SIDE)).resize((128, 128), Image.LANCZOS), rng)


def damage(picture, defect, rng):
    x, y = rng.integers(24, 104, 2)
    if defect == "scratch":
        angle, length = rng.uniform(0, np.pi), rng.integers(20, 50)
        end = (x + length * np.cos(angle), y + length * np.sin(angle))
        width = int(rng.integers(2, 4))
        ImageDraw.Draw(picture).line((x, y, *end), fill=int(rng.choice([30, 240])), width=width)
    else:
        r = int(rng.integers(10, 18))
        box = tuple(int(v) for v in (x - r, y - r, x + r, y + r))
        picture.paste(picture.crop(box).filter(ImageFilter.GaussianBlur(5)), box[:2])


def defects(textures, out, seed, defect):
    for texture, name in enumerate(("brick", "grass")):
        image = Image.open(textures / f"{name}.png").convert("L")
        for which, (part, count) in enumerate((("good", 300), ("held", 200), ("odd", 200), ("new", 20))):
            # Each part has its own numbers: the good pictures are the same whatever the defect.
            rng = np.random.default_rng([seed, texture, which])
            folder = out / name / part
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                picture = piece(image, 0, 300, rng) if part == "good" else piece(image, 300, image.width, rng)
                if part == "odd" or (part == "new" and i % 4 == 0):
                    damage(picture, defect, rng)
                picture.save(folder / f"{i:03d}.png")


def crops(textures, out, seed, count):
    rng = np.random.default_rng(seed)
    images = [Image.open(textures / f"{name}.png").convert("L") for name in ("brick", "grass", "gravel")]
    cut = images[0].height * 2 // 3
    for part, many in (("train", count), ("validation", 400), ("test", 400)):
        folder = out / part
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(many):
            image = images[i % len(images)]
            top, bottom = (0, cut) if part == "train" else (cut, image.height)
            x, y = rng.integers(0, image.width - CROP + 1), rng.integers(top, bottom - CROP + 1)
            noisy(image.crop((x, y, x + CROP, y + CROP)), rng).save(folder / f"{i:05d}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("textures", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--defect", choices=["scratch", "smear"], default="scratch")
    parser.add_argument("--crops", type=int, metavar="N")
    args = parser.parse_args()
    if args.crops:
        crops(args.textures, args.out, args.seed, args.crops)
    else:
        defects(args.textures, args.out, args.seed, args.defect)
