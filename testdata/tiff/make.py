"""Makes lzw-tiles.tif: a whole TIFF file whose LZW tiles reach over the picture's edge. Needs tifffile and imagecodecs."""

import numpy as np
import tifffile

values = np.indices((20, 37)).sum(0).astype(np.uint8)
tifffile.imwrite("lzw-tiles.tif", values, compression="lzw", tile=(16, 32), photometric="minisblack")
