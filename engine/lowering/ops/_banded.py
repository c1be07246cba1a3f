"""Products over windows that go band by band, where planes of whole images would not stay in a cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.jit import Kernel
from engine.kernels.convolution.banded import BANDED, convolve_bands
from engine.kernels.convolution.bands import Bands, bands_of
from engine.kernels.convolution.planes import PLANES, to_planes
from engine.kernels.convolution.windows import WINDOWS
from engine.kernels.products.arguments import PRODUCT
from engine.lowering.builder import Builder, buffers
from engine.lowering.ops._images import Seen, fill_fields, place_of_pixels, planes_fields
from engine.plan.steps import Buffer, Field, Layer, Record

# Tiles for each member at least, and the part of L2 that a band's planes may take.
TILES_EACH, L2_SHARE = 4, 0.4
# Planes of which so many L2s are written and read back at the speed of memory.
LEAST_L2S = 1.0


def bands_for(builder: Builder, seen: Seen) -> Bands | None:
    """Bands for what a product sees; None where whole planes are as well."""
    machine, window = builder.machine, seen.window
    if 4 * seen.images * seen.channels * window.channel < LEAST_L2S * machine.l2_bytes:
        return None
    most = int(L2_SHARE * machine.l2_bytes)
    return bands_of(window, seen.lanes, seen.channels, TILES_EACH * machine.members, most)


@dataclass(frozen=True, slots=True)
class Called:
    """The product that is called for each panel.

    fields    its record but for x
    scratch   bytes that its kernel needs
    """

    fields: dict[str, Field | Record | Kernel]
    kernel: Kernel
    scratch: int
    reads: list[Buffer]
    writes: tuple[Buffer, ...]


def emit_in_bands(builder: Builder, layer: Layer, seen: Seen, bands: Bands, product: Called) -> None:
    """Append the step."""
    (value, fill), window, tiles = seen.source, bands.window, seen.images * bands.count
    x = place_of_pixels(value, builder, seen.form)
    places = bands.places(x.width, seen.panel_bytes, product.scratch)
    filled = () if fill is None or fill.array is not None else buffers(builder.rows(fill))
    planes = {**planes_fields(x, window, seen.channels), **fill_fields(builder, fill, value.dtype)}
    # Pixels are counted in the image; planes are those of the one at hand.
    pixels = {"pixels": seen.window.result[0] * seen.window.result[1], "image_bytes": 0}
    fields: dict[str, Field | Record | Kernel] = {
        "planes": Record(PLANES, planes),
        "planes_kernel": to_planes,
        "windows": Record(WINDOWS, {**replace(seen, window=window).fields(None), **pixels}),
        "product": Record(PRODUCT, {**product.fields, "panel_block": 1}),
        "kernel": product.kernel,
        "strips": product.fields["strips"],
        "image_panels": bands.of_image,
        "bands": bands.count,
        "band": bands.panels,
        **{name: places[name] for name in ("copies", "own", "panel", "rest")},
    }
    builder.emit(
        layer,
        convolve_bands,
        Record(BANDED, fields),
        tiles=tiles,
        reads=(*x.buffers, *filled, *product.reads),
        writes=product.writes,
        tile_ns=(layer.predicted_ns or 0.0) / tiles,
        scratch=places["size"],
    )
