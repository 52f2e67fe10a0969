"""Makes testdata/jpeg: small JPEG files of the kinds that encoders write. Needs Pillow and NumPy.

    python testdata/make_jpegs.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

out = Path(__file__).parent / "jpeg"
out.mkdir(exist_ok=True)
rng = np.random.default_rng(1)
noise = rng.integers(0, 256, (29, 43, 4), dtype=np.uint8)
rgb = Image.fromarray(noise[..., :3])
flat = Image.new("RGB", (64, 48), (90, 120, 30))

rgb.save(out / "baseline.jpg", quality=75)
rgb.save(out / "progressive.jpg", quality=75, progressive=True)
rgb.save(out / "restarts.jpg", quality=75, restart_marker_blocks=2)
rgb.save(out / "progressive-restarts.jpg", quality=60, progressive=True, restart_marker_rows=1)
rgb.convert("L").save(out / "grey.jpg", quality=75, optimize=True)
Image.fromarray(noise, "CMYK").save(out / "cmyk.jpg", quality=50)
flat.save(out / "flat.jpg", quality=75, optimize=True)
