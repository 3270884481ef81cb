"""Key frames of the short videos.

A product's glyph in its colour on the advertiser's pale background, or no product at all.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from simulator.world.catalog import COLOURS, Catalog, font_awesome
from simulator.world.world_config import WorldConfig

FONT_FILE = "Font Awesome 6 Free-Solid-900.otf"
PALETTE = np.array([rgb for rgb, _ in COLOURS.values()], dtype=np.float32)


def render_frames(
    config: WorldConfig,
    catalog: Catalog,
    product: NDArray[np.int64],
    colour: NDArray[np.int64],
    tone: NDArray[np.float64],
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """Frames uint8 [A, F, H, W, 3] of A ads; `tone` float [A, 3] is each ad's background colour, 0..255."""
    n_ads, size = len(product), config.frame_size
    frames = np.empty((n_ads, config.frames, size, size, 3), dtype=np.uint8)
    lifestyle = rng.random(n_ads) < config.lifestyle_share
    for ad in range(n_ads):
        for f in range(config.frames):
            canvas = _background(config, tone[ad], rng)
            empty = rng.random() < config.empty_frame_share
            if not empty and lifestyle[ad]:
                glyph = catalog.lifestyle[int(rng.integers(len(catalog.lifestyle)))]
                _paint(canvas, _posed(config, glyph, rng), PALETTE[int(rng.integers(len(PALETTE)))], rng)
            elif not empty:
                _paint(canvas, _posed(config, catalog.code_point[product[ad]], rng), PALETTE[colour[ad]], rng)
            if rng.random() < config.distractor_share:
                glyph = catalog.lifestyle[int(rng.integers(len(catalog.lifestyle)))]
                _paint(
                    canvas,
                    _glyph_mask(glyph, int(rng.integers(8, 12)), 0),
                    tone[ad].astype(np.float32) * 0.7,
                    rng,
                )
            frames[ad, f] = np.clip(canvas, 0, 255).astype(np.uint8)
        if progress is not None and (ad % 100 == 99 or ad == n_ads - 1):
            progress(ad + 1, n_ads)
    return frames


def _background(
    config: WorldConfig, tone: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """The advertiser's tone, a little different in each frame, with faint strokes: float32 [H, W, 3]."""
    size = config.frame_size
    shade = np.clip(tone + rng.normal(0.0, 5.0, 3), 200, 255)
    image = Image.new("RGB", (size, size), tuple(int(c) for c in shade))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, config.clutter + 1))):
        x0, y0, x1, y1 = (int(c) for c in rng.integers(0, size, 4))
        stroke = tuple(int(c) for c in shade * rng.uniform(0.85, 0.97))
        draw.line((x0, y0, x1, y1), fill=stroke, width=int(rng.integers(1, 3)))
    return np.asarray(image, dtype=np.float32).copy()


def _posed(config: WorldConfig, glyph: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """The glyph's mask at a random size and angle (even numbers of degrees, so that masks can be kept)."""
    half = config.rotation_degrees // 2
    angle = 2 * int(rng.integers(-half, half + 1))
    return _glyph_mask(glyph, int(rng.integers(config.glyph_min, config.glyph_max + 1)), angle)


def _paint(
    canvas: NDArray[np.float32], mask: NDArray[np.float32], rgb: NDArray[np.float32], rng: np.random.Generator
) -> None:
    """Blend a colour into the canvas through the mask, somewhere where it fits (centred, if it does not)."""
    size = canvas.shape[0]
    height, width = min(mask.shape[0], size), min(mask.shape[1], size)
    mask = mask[:height, :width, None]
    y, x = int(rng.integers(0, size - height + 1)), int(rng.integers(0, size - width + 1))
    patch = canvas[y : y + height, x : x + width]
    patch += mask * (rgb - patch)


@functools.lru_cache(maxsize=20_000)
def _glyph_mask(code_point: str, size: int, angle: int) -> NDArray[np.float32]:
    """Coverage in [0, 1], float32, of a glyph turned by `angle` degrees, its longer side `size` pixels."""
    glyph = _large_glyph(code_point).rotate(angle, resample=Image.Resampling.BICUBIC, expand=True)
    glyph = glyph.crop(glyph.getbbox())
    scale = size / max(glyph.size)
    shape = (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale)))
    mask = np.asarray(glyph.resize(shape, resample=Image.Resampling.BOX), dtype=np.float32) / 255.0
    mask.flags.writeable = False
    return mask


@functools.cache
def _large_glyph(code_point: str) -> Image.Image:
    font = _font()
    character = chr(int(code_point, 16))
    left, top, right, bottom = font.getbbox(character)
    image = Image.new("L", (int(right - left) + 16, int(bottom - top) + 16), 0)
    ImageDraw.Draw(image).text((8 - left, 8 - top), character, font=font, fill=255)
    return image


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(font_awesome("otfs", FONT_FILE).read_bytes()), 144)
