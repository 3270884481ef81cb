"""Key frames of an ad: from its pictures, or from its video by scene change or evenly.

A frame is RGB, resized (bicubic) to a square whatever its shape, as ALBEF does with pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from relevance.errors import UserError, in_words
from relevance.extras import require
from relevance.files import check_file

if TYPE_CHECKING:
    from PIL import Image

    from relevance.arrays import FrameArray

Choice = Literal["scenes", "evenly"]
CUT = 0.08
"""The least mean difference of two successive thumbnails, in [0, 1], that counts as a cut."""
THUMBNAIL = 32


class FrameError(UserError):
    """A picture or a video cannot be used."""


def picture_frames(paths: Sequence[Path], n_frames: int, size: int) -> FrameArray:
    """Frames of an ad from its pictures, [n_frames, size, size, 3].

    If there are more pictures than frames, evenly spaced ones are taken; fewer are repeated in turn. Without
    pictures the frames are black, which means that there are none.

    Raises:
        FrameError: a file is missing or is no picture.
    """
    frames = np.zeros((n_frames, size, size, 3), dtype=np.uint8)
    if not paths:
        return frames
    chosen = [paths[i] for i in _middles(len(paths), n_frames)] if len(paths) > n_frames else list(paths)
    pictures = [_picture(path, size) for path in chosen]
    for i in range(n_frames):
        frames[i] = pictures[i % len(pictures)]
    return frames


def video_frames(path: Path, n_frames: int, size: int, choice: Choice = "scenes") -> FrameArray:
    """Frames of an ad from its video, [n_frames, size, size, 3].

    "scenes" cuts the video where successive pictures differ most, and halves the longest scenes until there
    are enough. "evenly" cuts it into parts of equal length. The middle picture of each part is taken.

    Raises:
        MissingExtraError: PyAV is not installed.
        FrameError: the file is missing, is no video, or has no picture.
    """
    thumbnails = [
        np.asarray(picture.reformat(THUMBNAIL, THUMBNAIL, "gray").to_ndarray()) for picture in _decoded(path)
    ]
    if not thumbnails:
        raise FrameError("the video has no pictures")
    n = len(thumbnails)
    wanted = scene_middles(np.stack(thumbnails), n_frames) if choice == "scenes" else _middles(n, n_frames)
    kept: dict[int, NDArray[np.uint8]] = {}
    for i, picture in enumerate(_decoded(path)):
        if i in wanted:
            kept[i] = _square(picture.to_image(), size)
        if i >= max(wanted):
            break
    return np.stack([kept[i] for i in wanted])


def scene_middles(thumbnails: NDArray[np.uint8], n_frames: int) -> list[int]:
    """Index of the middle picture of each of `n_frames` scenes, in order.

    Args:
        thumbnails: [N, h, w], small grey pictures of the video.
    """
    change = np.abs(np.diff(thumbnails.astype(np.float64), axis=0)).mean(axis=(1, 2)) / 255.0
    strongest = np.argsort(-change, kind="stable")[: n_frames - 1]
    cuts = sorted(int(i) + 1 for i in strongest if change[i] >= CUT)
    scenes = list(zip([0, *cuts], [*cuts, len(thumbnails)], strict=True))
    while len(scenes) < n_frames:
        longest = max(range(len(scenes)), key=lambda i: scenes[i][1] - scenes[i][0])
        first, end = scenes[longest]
        middle = (first + end) // 2
        scenes[longest : longest + 1] = [(first, max(middle, first)), (min(middle, end - 1), end)]
    return [min((first + end) // 2, len(thumbnails) - 1) for first, end in scenes]


def _middles(n: int, parts: int) -> list[int]:
    """Index of the middle picture of each of `parts` equal parts of n pictures."""
    return [(2 * i + 1) * n // (2 * parts) for i in range(parts)]


def _picture(path: Path, size: int) -> NDArray[np.uint8]:
    require("PIL", extra="world", needed_by=f"{path}")
    from PIL import Image, UnidentifiedImageError

    check_file(path, FrameError)
    try:
        with Image.open(path) as picture:
            return _square(picture, size)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise FrameError(f"no readable picture ({in_words(error)})", file=path) from error


def _square(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    from PIL.Image import Resampling

    square = picture.convert("RGB").resize((size, size), Resampling.BICUBIC)
    return np.asarray(square, dtype=np.uint8)


def _decoded(path: Path) -> Iterator[Any]:
    """The pictures of a video in order, as PyAV's frames."""
    require("av", extra="video", needed_by=f"{path}")
    import av

    check_file(path, FrameError)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FrameError("has no video stream", file=path)
            yield from container.decode(video=0)
    except av.FFmpegError as error:
        raise FrameError(f"no readable video ({error.strerror})", file=path) from error
