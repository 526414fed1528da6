"""Descriptors on real PNG, JPEG and WAV bytes, and on values that are none of them."""

from __future__ import annotations

import base64
import io
import math
import struct
import wave
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import EpsImagePlugin, Image

from include.ratchet.monitoring.descriptors import (
    DESCRIPTORS,
    AudioDescriptor,
    Descriptor,
    ImageDescriptor,
    TextDescriptor,
)


def image_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format=kind, **options)
    return target.getvalue()


def wav_bytes(samples: npt.NDArray[np.float64], width: int, rate: int = 8000) -> bytes:
    """Samples from -1 to 1, of shape (frames, channels), as PCM of `width` bytes."""
    whole = np.clip(np.round(samples * 2 ** (8 * width - 1)), -(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1)
    if width == 1:
        content = (whole + 128).astype(np.uint8).tobytes()
    else:
        content = b"".join(int(each).to_bytes(width, "little", signed=True) for each in whole.ravel())
    target = io.BytesIO()
    with wave.open(target, "wb") as recording:
        recording.setnchannels(samples.shape[1])
        recording.setsampwidth(width)
        recording.setframerate(rate)
        recording.writeframes(content)
    return target.getvalue()


def one(descriptor: Descriptor, value: object) -> dict[str, float]:
    return {name: float(numbers[0]) for name, numbers in descriptor.describe([value]).items()}


GREY = Image.new("RGB", (30, 20), (51, 51, 51))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
SINE = 0.5 * np.sin(2 * np.pi * 100 * np.arange(4000) / 8000)[:, None]

# Texts


def test_text():
    numbers = TextDescriptor().describe(["two words", "", "  \n", "naïve é", None, b"a\tb c", b"\xff\xfe"])
    nan = math.nan
    np.testing.assert_array_equal(numbers["length"], [9, 0, 3, 7, nan, 5, nan])
    np.testing.assert_array_equal(numbers["words"], [2, 0, 0, 2, nan, 3, nan])
    np.testing.assert_array_equal(numbers["is_empty"], [0, 1, 1, 0, nan, 0, nan])
    np.testing.assert_allclose(numbers["non_ascii_share"], [0, 0, 0, 2 / 7, nan, 0, nan])


def test_text_of_other_scripts_counts_characters():
    assert one(TextDescriptor(), "日本語")["length"] == 3
    assert one(TextDescriptor(), "日本語")["non_ascii_share"] == 1
    assert one(TextDescriptor(), "lone \ud800 surrogate")["length"] == 16


# Images


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_image(kind: str):
    content = image_bytes(GREY, kind)
    numbers = one(ImageDescriptor(), content)
    assert numbers.pop("brightness") == pytest.approx(0.2, abs=0.01)
    assert numbers == {"width": 30, "height": 20, "size_bytes": len(content), "is_unreadable": 0}


@pytest.mark.parametrize(
    ("image", "brightness"),
    [
        (Image.new("L", (4, 4), 255), 1.0),
        (Image.new("1", (4, 4), 1), 1.0),
        (Image.new("RGB", (4, 4), (255, 0, 0)), 76 / 255),
        (Image.new("RGBA", (4, 4), (255, 255, 255, 0)), 1.0),
        (Image.fromarray(np.full((4, 4), 6554, dtype=np.uint16)), 0.1),
        (Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)), 0.5),
        (GREY.quantize(4), 0.2),
    ],
)
def test_brightness_in_every_mode(image: Image.Image, brightness: float):
    assert one(ImageDescriptor(), image_bytes(image))["brightness"] == pytest.approx(brightness, abs=1e-4)


def test_str_is_base64_or_data_url():
    content = image_bytes(NOISE)
    plain = base64.b64encode(content).decode()
    assert "+" in plain
    assert "/" in plain
    for value in (
        plain,
        plain.rstrip("="),
        base64.encodebytes(content).decode(),
        base64.urlsafe_b64encode(content).decode(),
        f"data:image/png;base64,{plain}",
        f"data:image/png;name=a.png;base64,{plain}",
        bytearray(content),
        memoryview(content),
    ):
        assert one(ImageDescriptor(), value) == one(ImageDescriptor(), content)


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A PNG that says it is large and holds next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(50_001, 1_000), (10_000, 10_000), (60_000, 60_000)])
def test_decompression_bomb_is_unreadable(width: int, height: int):
    assert one(ImageDescriptor(), png_of_claimed_size(width, height))["is_unreadable"] == 1


def test_limit_is_fifty_megapixels():
    contents = [image_bytes(Image.new("1", (10_000, height))) for height in (5_000, 5_001)]
    assert ImageDescriptor().describe(contents)["is_unreadable"].tolist() == [0, 1]


def test_warning_of_pillow_is_kept_from_the_caller(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.width * GREY.height - 1)
    assert one(ImageDescriptor(), image_bytes(GREY))["is_unreadable"] == 0


def test_format_that_starts_a_program_is_not_tried(monkeypatch: pytest.MonkeyPatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **options: started.append(arguments))
    assert one(ImageDescriptor(), image_bytes(GREY, "EPS"))["is_unreadable"] == 1
    assert not started


# Recordings


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_audio(width: int, channels: int):
    content = wav_bytes(np.repeat(SINE, channels, axis=1), width)
    numbers = one(AudioDescriptor(), content)
    assert numbers.pop("loudness") == pytest.approx(0.5 / math.sqrt(2), abs=2 / 2 ** (8 * width - 1) + 1e-9)
    assert numbers == {"duration_s": 0.5, "sample_rate_hz": 8000, "size_bytes": len(content), "is_unreadable": 0}


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_loudness_of_silence_and_full_scale(width: int):
    assert one(AudioDescriptor(), wav_bytes(np.zeros((80, 1)), width))["loudness"] == 0
    assert one(AudioDescriptor(), wav_bytes(np.full((80, 1), -1.0), width))["loudness"] == 1


def test_loudness_over_both_channels():
    samples = np.stack([np.full(100, 0.5), np.zeros(100)], axis=1)
    assert one(AudioDescriptor(), wav_bytes(samples, 2))["loudness"] == pytest.approx(0.5 / math.sqrt(2))


def test_audio_longer_than_a_block():
    target = io.BytesIO()
    with wave.open(target, "wb") as recording:
        recording.setparams((2, 2, 44_100, 0, "NONE", "not compressed"))
        recording.writeframes(np.full(2 * 2_500_000, 16_384, dtype="<i2").tobytes())
    numbers = one(AudioDescriptor(), target.getvalue())
    assert numbers["duration_s"] == pytest.approx(2_500_000 / 44_100)
    assert numbers["loudness"] == pytest.approx(0.5)


def test_audio_without_samples():
    numbers = one(AudioDescriptor(), wav_bytes(np.zeros((0, 1)), 2))
    assert (numbers["duration_s"], numbers["loudness"], numbers["is_unreadable"]) == (0, 0, 0)


def test_audio_without_a_sample_rate_is_unreadable():
    content = bytearray(wav_bytes(SINE, 2))
    content[24:28] = bytes(4)
    assert one(AudioDescriptor(), bytes(content))["is_unreadable"] == 1


# The contract

MEMBERS = pytest.mark.parametrize("descriptor", DESCRIPTORS.values(), ids=DESCRIPTORS.keys())
MEDIA = pytest.mark.parametrize("descriptor", [DESCRIPTORS["image"], DESCRIPTORS["audio"]], ids=["image", "audio"])
GARBAGE = [
    "",
    b"",
    "not base64!",
    "data:,",
    "data:image/png;base64,",
    "Zm9v",
    b"\0" * 50,
    "é",
    "RIFF",
    b"RIFF\4\0\0\0WAVE",
]


@MEMBERS
def test_describe_keeps_the_contract(descriptor: Descriptor):
    values = [None, *GARBAGE, image_bytes(GREY), wav_bytes(SINE, 2), math.nan, 5]
    numbers = descriptor.describe(values)
    assert tuple(numbers) == descriptor.names
    for column in numbers.values():
        assert column.dtype == np.float64
        assert column.shape == (len(values),)
        assert np.isnan(column[[0, -2, -1]]).all()
    alone = [one(descriptor, value) for value in values]
    for name, column in numbers.items():
        np.testing.assert_array_equal(column, [each[name] for each in alone])


@MEMBERS
def test_no_values(descriptor: Descriptor):
    assert {name: column.shape for name, column in descriptor.describe([]).items()} == dict.fromkeys(
        descriptor.names, (0,)
    )


@MEDIA
def test_garbage_is_unreadable(descriptor: Descriptor):
    numbers = descriptor.describe(GARBAGE)
    assert numbers["is_unreadable"].tolist() == [1] * len(GARBAGE)
    for name in descriptor.names[:3]:
        assert np.isnan(numbers[name]).all()
    np.testing.assert_array_equal(numbers["size_bytes"][[0, 1, 2, 5, 6]], [0, 0, math.nan, 3, 50])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated_image_is_unreadable(kind: str):
    content = image_bytes(NOISE, kind)
    cuts = list(range(0, len(content) - 20, len(content) // 50))
    numbers = ImageDescriptor().describe([content[:cut] for cut in cuts])
    assert numbers["is_unreadable"].tolist() == [1] * len(cuts)
    assert numbers["size_bytes"].tolist() == cuts


def test_truncated_audio_is_unreadable():
    content = wav_bytes(SINE[:40], 2)
    numbers = AudioDescriptor().describe([content[:cut] for cut in range(len(content))])
    assert numbers["is_unreadable"].tolist() == [1] * len(content)


@MEDIA
def test_broken_bytes_never_raise(descriptor: Descriptor):
    rng = np.random.default_rng(1)
    sources = [image_bytes(GREY, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")]
    sources += [wav_bytes(SINE[:100], width) for width in (1, 2, 3, 4)]
    broken = []
    for source in sources:
        for _ in range(60):
            content = np.frombuffer(source, dtype=np.uint8).copy()
            where = rng.integers(0, min(len(content), 200), 5)
            content[where] = rng.integers(0, 256, 5)
            broken.append(content.tobytes())
    flags = descriptor.describe(broken)["is_unreadable"]
    assert set(flags) <= {0.0, 1.0}
