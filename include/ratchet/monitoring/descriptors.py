"""Numbers that describe a text, an image or a recording, so that they can be monitored like columns.

No value raises: a missing one is nan in every number, an unreadable one is nan in all but its size and
`is_unreadable`. A missing value is anything that is neither text nor bytes.
"""

from __future__ import annotations

import base64
import io
import math
import warnings
import wave
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]
Values = Sequence[str | bytes | None]

MAX_PIXELS: Final = 50_000_000
"""A larger image is not decoded: its few bytes may ask for gigabytes of memory."""
# Left out on purpose: formats whose decoder starts another program (EPS) or reads other files.
_IMAGE_FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
_FRAMES_PER_BLOCK: Final = 1 << 20


class Descriptor(Protocol):
    """What tells numbers of a value."""

    names: tuple[str, ...]

    def describe(self, values: Values) -> dict[str, Floats]:
        """The numbers of every value.

        Args:
            values: n values; None, or anything that is neither str nor bytes, is missing.

        Returns:
            float64 of shape (n,) for each of `names`, in that order; nan where missing or unreadable.
        """
        ...


class TextDescriptor:
    """Texts: `length` in characters, `words` between white space, `is_empty` (blank), `non_ascii_share` 0 to 1.

    Bytes are UTF-8; those that are not are nan throughout.
    """

    names: tuple[str, ...] = ("length", "words", "is_empty", "non_ascii_share")

    def describe(self, values: Values) -> dict[str, Floats]:
        """See `Descriptor.describe`."""
        return _tabulate(self.names, [self._describe(value) for value in values])

    def _describe(self, value: object) -> tuple[float, ...] | None:
        text = _as_text(value)
        if text is None:
            return None
        words = len(text.split())
        ascii_length = len(text.encode("ascii", errors="ignore"))
        return len(text), words, words == 0, (len(text) - ascii_length) / max(len(text), 1)


class ImageDescriptor:
    """Images: `width` and `height` in pixels, `brightness` (mean luminance, 0 to 1), `size_bytes`, `is_unreadable`.

    Values are bytes, or str of base64 or a data URL. Of an animation the first frame counts. Transparency does not.
    """

    names: tuple[str, ...] = ("width", "height", "brightness", "size_bytes", "is_unreadable")

    def describe(self, values: Values) -> dict[str, Floats]:
        """See `Descriptor.describe`."""
        return _tabulate(self.names, [self._describe(value) for value in values])

    def _describe(self, value: object) -> tuple[float, ...] | None:
        if not _is_given(value):
            return None
        content = _as_bytes(value)
        measures = None if content is None else _measure_image(content)
        return _with_size(measures, content)


class AudioDescriptor:
    """WAV recordings in PCM of 8, 16, 24 or 32 bits, any number of channels.

    `duration_s`, `sample_rate_hz`, `loudness` (root mean square over all channels, 0 to 1 of full scale; 0 without
    samples), `size_bytes`, `is_unreadable`. Values are bytes, or str of base64 or a data URL.
    """

    names: tuple[str, ...] = ("duration_s", "sample_rate_hz", "loudness", "size_bytes", "is_unreadable")

    def describe(self, values: Values) -> dict[str, Floats]:
        """See `Descriptor.describe`."""
        return _tabulate(self.names, [self._describe(value) for value in values])

    def _describe(self, value: object) -> tuple[float, ...] | None:
        if not _is_given(value):
            return None
        content = _as_bytes(value)
        measures = None if content is None else _measure_audio(content)
        return _with_size(measures, content)


DESCRIPTORS: Final[Mapping[str, Descriptor]] = {
    "text": TextDescriptor(),
    "image": ImageDescriptor(),
    "audio": AudioDescriptor(),
}


def _tabulate(names: tuple[str, ...], rows: Sequence[tuple[float, ...] | None]) -> dict[str, Floats]:
    missing = (math.nan,) * len(names)
    table = np.array([missing if row is None else row for row in rows], dtype=np.float64).reshape(-1, len(names))
    return {name: np.ascontiguousarray(table[:, index]) for index, name in enumerate(names)}


def _with_size(measures: tuple[float, float, float] | None, content: bytes | None) -> tuple[float, ...]:
    size_bytes = math.nan if content is None else len(content)
    return (*(measures or (math.nan,) * 3), size_bytes, measures is None)


def _is_given(value: object) -> bool:
    return isinstance(value, str | bytes | bytearray | memoryview)


def _as_text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return None
    return None


def _as_bytes(value: object) -> bytes | None:
    """Bytes as they are (DuckDB gives bytearrays), str from base64 of either alphabet; None if it is neither."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        return None
    header, comma, rest = value.partition(",")
    is_data_url = bool(comma) and header.strip().startswith("data:") and header.strip().endswith(";base64")
    encoded = "".join((rest if is_data_url else value).split()).rstrip("=")
    encoded = encoded.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return None


def _measure_image(content: bytes) -> tuple[float, float, float] | None:
    """Width, height and brightness; None if the image cannot be read whole."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images and of odd metadata; neither is of use to the caller.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_IMAGE_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                return image.width, image.height, _brightness(image)
    except Exception:  # decoders raise whatever broken bytes lead them to
        return None


def _brightness(image: Image.Image) -> float:
    # Pillow clips 16-bit greys at 255 on conversion to 8 bits, so these are read at their own depth.
    if image.mode.startswith("I"):
        return float(np.clip(np.asarray(image, dtype=np.float64) / 65_535, 0, 1).mean())
    return float(np.asarray(image.convert("L")).mean(dtype=np.float64) / 255)


def _measure_audio(content: bytes) -> tuple[float, float, float] | None:
    """Duration, sample rate and loudness; None if the recording cannot be read whole."""
    try:
        with wave.open(io.BytesIO(content), "rb") as recording:
            frames, rate = recording.getnframes(), recording.getframerate()
            samples = frames * recording.getnchannels()
            squares, found = 0.0, 0
            while block := recording.readframes(_FRAMES_PER_BLOCK):
                amplitudes = _amplitudes(block, recording.getsampwidth())
                squares += float(np.square(amplitudes).sum())
                found += amplitudes.size
            if found != samples or rate <= 0:
                return None
            return frames / rate, rate, math.sqrt(squares / max(samples, 1))
    except Exception:  # broken headers raise whatever they lead to
        return None


def _amplitudes(block: bytes, width_bytes: int) -> Floats:
    """Little-endian PCM as float64 from -1 to 1, shape (samples,)."""
    raw = np.frombuffer(block, dtype=np.uint8).reshape(-1, width_bytes)
    # Aligned to the top of 32 bits, where the sign is the same for every width.
    wide = np.zeros((len(raw), 4), dtype=np.uint8)
    wide[:, 4 - width_bytes :] = raw
    if width_bytes == 1:  # 8-bit samples are the only unsigned ones
        wide[:, 3] ^= 0x80
    return wide.view("<i4")[:, 0] / 2.0**31
