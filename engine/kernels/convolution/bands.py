"""Which bands a product over windows goes by (see banded.py), and what lies where in a member's scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.kernels.convolution.banded import PLANES_RECORD
from engine.kernels.convolution.fused import RECORD_BYTES
from engine.kernels.convolution.planes import Window
from engine.kernels.convolution.windows import RUNS_BYTES
from engine.kernels.layout import Lanes


def rows_of_band(window: Window, band: int, width: int) -> int:
    """Rows of results that so many panels see at most, whichever lane they begin at."""
    lanes, across = band * width, window.result[1]
    whole = lanes % across == 0
    return min(window.result[0], lanes // across if whole else -(-(lanes - 1) // across) + 1)


def image_panels(lanes: Lanes) -> int | None:
    """Panels of an image; None where a panel holds pixels of two."""
    if lanes.outer == 1:
        return lanes.panels
    return lanes.pitch // lanes.width if lanes.pitch % lanes.width == 0 else None


@dataclass(frozen=True, slots=True)
class Bands:
    """Bands of `panels` panels, over an image that has `of_image` of them.

    whole      the window over the image
    channels   or quads of them
    """

    whole: Window
    panels: int
    of_image: int
    width: int
    channels: int

    @property
    def count(self) -> int:
        return -(-self.of_image // self.panels)

    @property
    def window(self) -> Window:
        """The window over a band."""
        rows = rows_of_band(self.whole, self.panels, self.width)
        return replace(self.whole, result=(rows, self.whole.result[1]))

    @property
    def plane_bytes(self) -> int:
        """Planes of all channels of a band."""
        return 4 * self.channels * self.window.channel + 256

    def places(self, x_width: int, windows_bytes: int, product_scratch: int) -> dict[str, int]:
        """Fields of the record, and `size`."""
        copies = RUNS_BYTES + self.plane_bytes
        own = copies + self.window.copies_bytes(x_width)
        panel = own + max(RECORD_BYTES, PLANES_RECORD)
        rest = -(-(panel + windows_bytes) // 64) * 64
        return {"copies": copies, "own": own, "panel": panel, "rest": rest, "size": rest + product_scratch}


def bands_of(whole: Window, lanes: Lanes, channels: int, tiles: int, most_bytes: int) -> Bands | None:
    """The largest bands that leave so many tiles, and whose planes take so many bytes at most; None if there are none."""
    of_image = image_panels(lanes)
    if of_image is None:
        return None
    for panels in range(lanes.outer * of_image // tiles, 0, -1):
        bands = Bands(whole, panels, of_image, lanes.width, channels)
        if bands.plane_bytes <= most_bytes:
            return bands
    return None
