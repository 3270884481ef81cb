"""Pictures of things, in a colour, at a size and an angle.

A glyph is of one colour. A picture of OpenMoji keeps its colours but for the one that covers most of it,
which becomes another, with its shades: the cloth of a dress, not its outline.
"""

from __future__ import annotations

import functools
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from simulator.world import glyphs, openmoji
from simulator.world.catalog import COLOURS
from simulator.world.world_config import Pictures

Float32Array = NDArray[np.float32]
PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)

_GLYPH_SIZE = 144  # pixels at which glyphs are drawn before they are turned and made small
_DRAWING_SIZE = 288  # at which a picture is drawn and coloured
_COLOURED_SIZE = 112  # at which it is kept
_OUTLINE = 64  # is darker than this, of 255
_SATURATED = 0.2
_HUES_APART = 25.0  # degrees; shades of one colour are nearer than this


class Picture(NamedTuple):
    """What is painted onto a frame: `mask` [h, w] in [0, 1], and its colours [3] or [h, w, 3], 0..255."""

    mask: Float32Array
    rgb: Float32Array


def draw_picture(pictures: Pictures, code_point: str, colour: int, size: int, angle: int) -> Picture:
    """A picture in a colour of the palette, its longer side `size` pixels, turned by `angle` degrees."""
    if pictures == "glyphs":
        return Picture(_glyph_mask(code_point, size, angle), PALETTE[colour])
    return _small(_coloured(code_point, colour), size, angle)


def draw_shape(pictures: Pictures, code_point: str, size: int) -> Float32Array:
    """The mask [h, w] of a picture that is painted in one colour."""
    if pictures == "glyphs":
        return _glyph_mask(code_point, size, 0)
    return _small(_coloured(code_point, 0), size, 0).mask


@functools.lru_cache(maxsize=20_000)
def _glyph_mask(code_point: str, size: int, angle: int) -> Float32Array:
    """Coverage in [0, 1] of a glyph turned by `angle` degrees, its longer side `size` pixels."""
    glyph = _large_glyph(code_point).rotate(angle, resample=Image.Resampling.BICUBIC, expand=True)
    glyph = glyph.crop(glyph.getbbox())
    mask = np.asarray(glyph.resize(_shape(glyph, size), resample=Image.Resampling.BOX), dtype=np.float32)
    mask /= 255.0
    mask.flags.writeable = False
    return mask


@functools.cache
def _large_glyph(code_point: str) -> Image.Image:
    font = _font("glyphs", _GLYPH_SIZE)
    character = chr(int(code_point, 16))
    left, top, right, bottom = font.getbbox(character)
    image = Image.new("L", (int(right - left) + 16, int(bottom - top) + 16), 0)
    ImageDraw.Draw(image).text((8 - left, 8 - top), character, font=font, fill=255)
    return image


def _small(image: Image.Image, size: int, angle: int) -> Picture:
    """An RGBA picture, turned and made small."""
    image = image.rotate(angle, resample=Image.Resampling.BILINEAR, expand=True)
    image = image.crop(image.getchannel("A").getbbox())
    pixels = np.asarray(image.resize(_shape(image, size), resample=Image.Resampling.BOX), dtype=np.float32)
    return Picture(pixels[..., 3] / 255.0, pixels[..., :3])


@functools.lru_cache(maxsize=2000)
def _coloured(code_point: str, colour: int) -> Image.Image:
    """A picture of OpenMoji whose main colour is one of the palette's, RGBA."""
    drawing = _large_picture(code_point)
    pixels = drawing.pixels.copy()
    pixels[drawing.main, :3] = np.minimum(PALETTE[colour] * drawing.shade[:, None], 255.0)
    image = Image.fromarray(np.round(pixels).astype(np.uint8))
    return image.resize(_shape(image, _COLOURED_SIZE), resample=Image.Resampling.BOX)


class _Drawing(NamedTuple):
    """A picture of OpenMoji as it is in the font, and where its main colour is.

    That is the colour of the most opaque pixels that are not the outline, and others of its hue.
    """

    pixels: Float32Array  # [h, w, 4] RGBA
    main: NDArray[np.bool_]  # [h, w]
    shade: Float32Array  # [main.sum()] brightness of these pixels, where the main colour has 1


@functools.cache
def _large_picture(code_point: str) -> _Drawing:
    image = Image.new("RGBA", (2 * _DRAWING_SIZE, 2 * _DRAWING_SIZE), (0, 0, 0, 0))
    corner, font = (_DRAWING_SIZE // 2, _DRAWING_SIZE // 2), _font("openmoji", _DRAWING_SIZE)
    ImageDraw.Draw(image).text(corner, chr(int(code_point, 16)), font=font, embedded_color=True)
    image = image.crop(image.getbbox())
    counted = image.getcolors(image.width * image.height) or []
    opaque = ((times, rgba[:3]) for times, rgba in counted if isinstance(rgba, tuple) and rgba[3] == 255)
    filled = [(times, rgb) for times, rgb in opaque if max(rgb) > _OUTLINE]
    pixels = np.asarray(image, dtype=np.float32)
    hue, saturation, value = _hue_saturation_value(pixels[..., :3])
    own = _hue_saturation_value(np.array(max(filled)[1], dtype=np.float32))
    apart = np.abs((hue - own[0] + 180.0) % 360.0 - 180.0)
    saturated = saturation > _SATURATED
    main = saturated & (apart < _HUES_APART) if own[1] > _SATURATED else ~saturated
    return _Drawing(pixels, main, value[main] / own[2])


def _hue_saturation_value(rgb: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Hue in degrees, saturation in [0, 1] and value 0..255 of colours [..., 3]."""
    r, g, b = np.moveaxis(rgb, -1, 0)
    value = rgb.max(axis=-1)
    spread = value - rgb.min(axis=-1)
    safe = np.maximum(spread, 1e-6)
    sixth = np.where(value == r, (g - b) / safe, np.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    return (60.0 * sixth) % 360.0, spread / np.maximum(value, 1e-6), value


def _shape(image: Image.Image, size: int) -> tuple[int, int]:
    """Width and height of an image made so small that the longer side has `size` pixels."""
    scale = size / max(image.size)
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


@functools.cache
def _font(pictures: Pictures, size: int) -> ImageFont.FreeTypeFont:
    content = glyphs.font_bytes() if pictures == "glyphs" else openmoji.font_bytes()
    return ImageFont.truetype(io.BytesIO(content), size)
