"""Key frames of the short videos.

A product's picture in its colour on the advertiser's pale background, or no product at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from simulator.world.catalog import Catalog
from simulator.world.pictures import PALETTE, Picture, draw_picture, draw_shape
from simulator.world.world_config import WorldConfig, font_error

_LETTERS_IN_A_ROW = 8  # of on-screen text, if they are as wide as high


def render_frames(
    config: WorldConfig,
    catalog: Catalog,
    product: NDArray[np.int64],
    colour: NDArray[np.int64],
    tone: NDArray[np.float64],
    ocr: Sequence[str],
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """Frames uint8 [A, F, H, W, 3] of A ads.

    Args:
        tone: float [A, 3], each ad's background colour, 0..255.
        ocr: the on-screen text of each ad, which is drawn if there is a font for it.

    Raises:
        UserError: the font cannot be read.
    """
    n_ads, size = len(product), config.frame_size
    font = _ocr_font(config)
    frames = np.empty((n_ads, config.frames, size, size, 3), dtype=np.uint8)
    lifestyle = rng.random(n_ads) < config.lifestyle_share
    for ad in range(n_ads):
        for f in range(config.frames):
            canvas = _background(config, tone[ad], rng)
            empty = rng.random() < config.empty_frame_share
            if not empty and lifestyle[ad]:
                code_point = catalog.lifestyle[int(rng.integers(len(catalog.lifestyle)))]
                pose = _pose(config, rng)
                picture = draw_picture(config.catalog, code_point, int(rng.integers(len(PALETTE))), *pose)
                _paint(canvas, picture, rng)
            elif not empty:
                code_point, pose = catalog.code_point[product[ad]], _pose(config, rng)
                _paint(canvas, draw_picture(config.catalog, code_point, int(colour[ad]), *pose), rng)
            if rng.random() < config.distractor_share:
                code_point = catalog.lifestyle[int(rng.integers(len(catalog.lifestyle)))]
                mask = draw_shape(config.catalog, code_point, _distractor_size(config, rng))
                _paint(canvas, Picture(mask, tone[ad].astype(np.float32) * 0.7), rng)
            frames[ad, f] = np.clip(canvas, 0, 255).astype(np.uint8)
            if font is not None:
                frames[ad, f] = _with_text(frames[ad, f], ocr[ad], font)
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


def _pose(config: WorldConfig, rng: np.random.Generator) -> tuple[int, int]:
    """A random size, and an angle of an even number of degrees, so that masks can be kept."""
    half = config.rotation_degrees // 2
    angle = 2 * int(rng.integers(-half, half + 1))
    return int(rng.integers(config.glyph_min, config.glyph_max + 1)), angle


def _distractor_size(config: WorldConfig, rng: np.random.Generator) -> int:
    """8 to 11 pixels of a glyph, and the same share of the frame of a picture."""
    size = int(rng.integers(8, 12))
    return size if config.catalog == "glyphs" else max(1, size * config.frame_size // 48)


def _paint(canvas: NDArray[np.float32], picture: Picture, rng: np.random.Generator) -> None:
    """Blend a picture into the canvas, somewhere where it fits (centred, if it does not)."""
    size = canvas.shape[0]
    height, width = min(picture.mask.shape[0], size), min(picture.mask.shape[1], size)
    mask = picture.mask[:height, :width, None]
    rgb = picture.rgb if picture.rgb.ndim == 1 else picture.rgb[:height, :width]
    y, x = int(rng.integers(0, size - height + 1)), int(rng.integers(0, size - width + 1))
    patch = canvas[y : y + height, x : x + width]
    patch += mask * (rgb - patch)


def _ocr_font(config: WorldConfig) -> ImageFont.FreeTypeFont | None:
    if not config.ocr_font:
        return None
    try:
        return ImageFont.truetype(config.ocr_font, config.frame_size // _LETTERS_IN_A_ROW)
    except OSError as error:
        raise font_error(config.ocr_font, error) from error


def _with_text(frame: NDArray[np.uint8], text: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    """A frame with as much of a text as fits into a row at its lower edge, dark on a pale edge."""
    image = Image.fromarray(frame)
    draw, size = ImageDraw.Draw(image), image.width
    shown = text
    while shown and draw.textlength(shown, font=font) > size - 4:
        shown = shown[:-1]
    draw.text(
        (2, size - font.size - 4), shown.rstrip(), font=font, fill=(32, 32, 32),
        stroke_width=1, stroke_fill=(255, 255, 255),
    )  # fmt: skip
    return np.asarray(image)
