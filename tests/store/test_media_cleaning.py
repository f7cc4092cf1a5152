"""Cleaning on files as phones and attackers make them, in the processes that production uses."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import av
import media_samples as samples
import numpy as np
import pytest
from msgspec import Struct
from PIL import Image

from domain.errors import DomainError
from domain.media import (
    HEAD_BYTES,
    Cleaned,
    MediaBusyError,
    MediaDamagedError,
    MediaKind,
    MediaLimits,
    MediaTooLargeError,
    MediaTypeError,
    sniff,
)
from store import media_cleaning, media_process
from store.media_process import Cleaner
from store.media_streams import parameter_sets

LIMITS = MediaLimits()


class Result(Struct, frozen=True):
    cleaned: Cleaned
    original: bytes
    thumbnail: bytes


def clean(data: bytes, folder: Path, limits: MediaLimits = LIMITS) -> Result:
    """Clean a file as the operation does; refusals are raised."""
    source, target, thumbnail = folder / "source", folder / "target", folder / "thumbnail"
    source.write_bytes(data)
    format_ = sniff(data[:HEAD_BYTES])
    assert format_ is not None
    cleaned = asyncio.run(Cleaner(limits).clean(source, format_, target, thumbnail))
    return Result(cleaned, target.read_bytes(), thumbnail.read_bytes() if thumbnail.exists() else b"")


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def colour(image: Image.Image, x: float, y: float) -> str:
    """Name what is strongest at a place given in shares of width and height."""
    at = (int(image.width * x), int(image.height * y))
    red, _, blue, *_ = image.convert("RGB").getpixel(at)  # type: ignore[misc]
    return "red" if red > blue else "blue"


@cache
def movies() -> dict[str, bytes]:
    return {
        "mp4": samples.movie("mp4"),
        "mov": samples.movie("mov"),
        "udta": samples.with_place_atoms(samples.movie("mp4", sound=False, seconds=1)),
        "hevc": samples.movie("mp4", "libx265", seconds=1),
        "timed": samples.with_timed_text(),
    }


@cache
def recordings() -> dict[str, bytes]:
    return {
        "m4a": samples.movie("ipod", pictures=False),
        "mp4 of sound": samples.movie("mp4", pictures=False),
        "adts": samples.movie("adts", pictures=False),
        "mp3": samples.movie("mp3", pictures=False, audio_codec="libmp3lame"),
        "wav": samples.movie("wav", pictures=False, audio_codec="pcm_s16le"),
        "ogg": samples.movie("ogg", pictures=False, audio_codec="libopus", rate=48_000),
        "amr": samples.movie("amr", pictures=False, audio_codec="libopencore_amrnb", rate=8_000),
    }


def assert_no_traces(result: Result) -> None:
    for data in (result.original, result.thumbnail):
        assert [trace for trace in samples.TRACES if trace in data] == []


# --- what is personal -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "content_type"),
    [
        (samples.jpeg, "image/jpeg"),
        (samples.png, "image/jpeg"),
        (lambda: samples.png("RGBA"), "image/webp"),
        (samples.webp, "image/jpeg"),
        (samples.heic, "image/jpeg"),
        (samples.gif, "image/jpeg"),
    ],
)
def test_nothing_but_the_picture_survives(
    make: Callable[[], bytes], content_type: str, tmp_path: Path
) -> None:
    sent = make()
    assert samples.MARK.encode() in sent
    result = clean(sent, tmp_path)
    assert_no_traces(result)
    assert (result.cleaned.kind, result.cleaned.content_type) == (MediaKind.IMAGE, content_type)
    for data in (result.original, result.thumbnail):
        image = opened(data)
        assert dict(image.getexif()) == {}
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background",
                                   "timestamp", "duration"}  # fmt: skip
    assert max(opened(result.thumbnail).size) == 320


@pytest.mark.parametrize("name", ["mp4", "mov", "udta", "hevc", "timed"])
def test_nothing_but_pictures_and_sound_of_a_video_survives(name: str, tmp_path: Path) -> None:
    sent = movies()[name]
    assert samples.MARK.encode() in sent
    assert any(encoder in sent for encoder in (b"x264", b"x265"))  # a supplemental message, readable
    result = clean(sent, tmp_path)
    assert_no_traces(result)
    for foreign in (b"x264", b"x265", b"Lavf", b"xyz", b"loci", b"<script>"):
        assert foreign not in result.original
    with av.open(io.BytesIO(result.original)) as video:
        assert set(video.metadata) == {"major_brand", "minor_version", "compatible_brands"}
        assert {stream.type for stream in video.streams} <= {"video", "audio"}
        for stream in video.streams:
            assert set(stream.metadata) <= {"language", "handler_name"}
        shown = sum(1 for _ in video.decode(video=0))
    with av.open(io.BytesIO(sent)) as video:
        assert shown == sum(1 for _ in video.decode(video=0))
    # The index lies before the pictures, so that playing begins at once.
    assert result.original.index(b"moov") < result.original.index(b"mdat")
    assert (result.cleaned.kind, result.cleaned.content_type) == (MediaKind.VIDEO, "video/mp4")
    assert max(opened(result.thumbnail).size) == 320 or name == "timed"


@pytest.mark.parametrize("name", ["m4a", "mp4 of sound", "adts", "mp3", "wav", "ogg", "amr"])
def test_nothing_but_the_sound_of_a_recording_survives(name: str, tmp_path: Path) -> None:
    result = clean(recordings()[name], tmp_path)
    assert_no_traces(result)
    assert (result.cleaned.kind, result.cleaned.content_type) == (MediaKind.AUDIO, "audio/mp4")
    assert (result.thumbnail, result.cleaned.has_thumbnail, result.cleaned.width) == (b"", False, None)
    assert result.cleaned.duration_s == pytest.approx(2, abs=0.1)
    with av.open(io.BytesIO(result.original)) as recording:
        assert set(recording.metadata) == {"major_brand", "minor_version", "compatible_brands"}
        frames = [frame.to_ndarray() for frame in recording.decode(audio=0)]
    assert float(np.abs(np.concatenate(frames, axis=1)).max()) > 0.1  # the tone is there


def test_parameter_sets_only() -> None:
    sets = b"\0\0\0\1\x67sps\0\0\1\x68pps"
    assert parameter_sets(sets + b"\0\0\1\x06secret", "h264") == b"\0\0\0\1\x67sps\0\0\0\1\x68pps"
    assert parameter_sets(b"\0\0\1\x40\x01vps\0\0\1\x4e\x01secret", "hevc") == b"\0\0\0\1\x40\x01vps"
    assert parameter_sets(b"", "h264") == b""


# --- what is kept is right --------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation: int, tmp_path: Path) -> None:
    result = clean(samples.jpeg(orientation), tmp_path)
    image = opened(result.original)
    size = (640, 480) if orientation <= 4 else (480, 640)
    assert (image.size, (result.cleaned.width, result.cleaned.height)) == (size, size)
    red = {1: (0.1, 0.3), 2: (0.9, 0.3), 3: (0.9, 0.7), 4: (0.1, 0.7), 5: (0.3, 0.1), 6: (0.7, 0.1),
           7: (0.7, 0.9), 8: (0.3, 0.9)}[orientation]  # fmt: skip
    for each in (image, opened(result.thumbnail)):
        assert colour(each, *red) == "red"
        assert colour(each, 1 - red[0] if orientation <= 4 else red[0],
                      red[1] if orientation <= 4 else 1 - red[1]) == "blue"  # fmt: skip


def test_videos_keep_their_rotation_and_are_shown_upright(tmp_path: Path) -> None:
    result = clean(samples.movie(rotation=90, seconds=0.5, sound=False), tmp_path)
    assert (result.cleaned.width, result.cleaned.height) == (240, 320)
    with av.open(io.BytesIO(result.original)) as video:
        assert next(video.decode(video=0)).rotation == 90
    thumbnail = opened(result.thumbnail)
    assert thumbnail.size == (240, 320)
    # A quarter turn against the clock: what was left is below.
    assert (colour(thumbnail, 0.3, 0.9), colour(thumbnail, 0.3, 0.1)) == ("red", "blue")


def test_large_photos_are_scaled_down_and_small_ones_stay(tmp_path: Path) -> None:
    large = clean(samples.jpeg(size=(6_000, 3_000)), tmp_path)
    assert (large.cleaned.width, large.cleaned.height) == (4_096, 2_048)
    (tmp_path / "small").mkdir()
    small = clean(samples.jpeg(size=(40, 30)), tmp_path / "small")
    assert opened(small.thumbnail).size == opened(small.original).size == (40, 30)


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "P", "1", "I;16"])
def test_every_mode_becomes_a_picture(mode: str, tmp_path: Path) -> None:
    image = samples.picture()
    if mode == "I;16":
        ramp = np.linspace(0, 65_535, 640 * 480).reshape(480, 640).astype(np.uint16)
        image = Image.fromarray(ramp)
    else:
        image = image.convert(mode)
    out = io.BytesIO()
    image.save(out, "JPEG" if mode == "CMYK" else "PNG")
    result = clean(out.getvalue(), tmp_path)
    assert (result.cleaned.width, result.cleaned.height) == (640, 480)
    if mode == "I;16":
        assert opened(result.original).convert("L").getextrema() == pytest.approx((0, 255), abs=3)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    for number, data in enumerate((samples.jpeg(), movies()["mp4"], recordings()["m4a"])):
        results = []
        for attempt in ("a", "b"):
            folder = tmp_path / f"{number}{attempt}"
            folder.mkdir()
            results.append(clean(data, folder))
        assert results[0] == results[1]


# --- what is hostile --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [samples.SCRIPT, b"PK\x03\x04evil.jar" + b"\xca\xfe\xba\xbe" * 40])
@pytest.mark.parametrize("make", [samples.jpeg, samples.gif, samples.png, lambda: movies()["udta"]])
def test_polyglots_lose_their_second_nature(make: Callable[[], bytes], tail: bytes, tmp_path: Path) -> None:
    result = clean(make() + tail, tmp_path)
    for data in (result.original, result.thumbnail):
        assert tail not in data
        assert tail[:12] not in data


def test_a_script_inside_of_a_comment_is_dropped(tmp_path: Path) -> None:
    out = io.BytesIO()
    samples.picture().save(out, "JPEG", comment=samples.SCRIPT)
    assert samples.SCRIPT in out.getvalue()
    assert b"script" not in clean(out.getvalue(), tmp_path).original


def _bomb_webp() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8_000, 8_000)).save(out, "WEBP", lossless=True, method=0)
    return out.getvalue()


def _lying_jpeg() -> bytes:
    data = bytearray(samples.jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: samples.png_bomb(50_000), MediaTooLargeError),
        (_bomb_webp, MediaTooLargeError),
        (_lying_jpeg, MediaTooLargeError),
        (lambda: samples.movie(size=(8_192, 4_096), seconds=0.1, sound=False), MediaTooLargeError),
        (lambda: samples.movie("mp4", "mpeg4", seconds=0.2), MediaTypeError),
        (lambda: samples.jpeg()[:-3_000], MediaDamagedError),
        (lambda: samples.png()[:-400], MediaDamagedError),
        (lambda: samples.webp()[:-300], MediaDamagedError),
        (lambda: samples.heic()[:-200], MediaDamagedError),
        (lambda: samples.movie(faststart=True)[:-2_000], MediaDamagedError),
        (lambda: movies()["mp4"][:-300], MediaDamagedError),
        (lambda: recordings()["m4a"][:-300], MediaDamagedError),
        (lambda: b"\xff\xd8\xff\xe0" + b"\0" * 5_000, MediaDamagedError),
        (lambda: b"ID3\x03\0\0\0\0\0\0" + samples.SCRIPT * 20, MediaDamagedError),
        (lambda: samples.atom(b"ftyp", b"isom\0\0\0\0isom") + samples.SCRIPT, MediaDamagedError),
        (lambda: samples.atom(b"ftyp", b"heic\0\0\0\0heic") + samples.SCRIPT, MediaDamagedError),
    ],
)
def test_bombs_and_broken_files_are_refused_soon(
    make: Callable[[], bytes], error: type[DomainError], tmp_path: Path
) -> None:
    data = make()
    started = time.monotonic()
    with pytest.raises(error) as refused:
        clean(data, tmp_path)
    assert time.monotonic() - started < 15
    assert set(refused.value.params) <= {"limit"}


def test_too_long_is_too_large(tmp_path: Path) -> None:
    limits = MediaLimits(video_s=1, audio_s=1)
    for name, data in (("video", movies()["mp4"]), ("sound", recordings()["m4a"])):
        (tmp_path / name).mkdir()
        with pytest.raises(MediaTooLargeError) as refused:
            clean(data, tmp_path / name, limits)
        assert refused.value.params == {"limit": "1 s"}
    with pytest.raises(MediaTooLargeError):
        clean(recordings()["mp4 of sound"], tmp_path, MediaLimits(audio_bytes=10_000))


def test_a_decoder_that_dies_or_asks_for_everything_takes_nothing_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").write_bytes(samples.jpeg())
    prelude = "import store.media_cleaning as m; m.confine(); "
    deeds = {
        "a crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "all memory": "b = bytearray(2 << 30)",
        "a large file": "open('large', 'wb').write(bytes(100_000_000))",
        "a lie": 'import sys; sys.stdout.write(\'{"cleaned": {"kind": "IMAGE", '
        '"content_type": "text/html"}}\')',
    }
    for deed in deeds.values():
        command = (media_process.sys.executable, "-P", "-c", prelude + deed)
        monkeypatch.setattr(media_process, "_COMMAND", command)
        with pytest.raises(MediaDamagedError):
            clean(samples.jpeg(), tmp_path)
    assert (tmp_path / "large").stat().st_size <= media_cleaning.FILE_BYTES


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (media_process.sys.executable, "-c", "import time; time.sleep(600)")
    monkeypatch.setattr(media_process, "_COMMAND", command)
    monkeypatch.setattr(media_process, "_WALL_S", 0.3)
    started = time.monotonic()
    with pytest.raises(MediaBusyError):
        clean(samples.jpeg(), tmp_path)
    assert time.monotonic() - started < 5


def test_the_process_learns_no_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTONG_SMS_TOKEN", "hunter2")
    deed = "import os; open('seen', 'w').write(repr(dict(os.environ)))"
    monkeypatch.setattr(media_process, "_COMMAND", (media_process.sys.executable, "-c", deed))
    with pytest.raises(MediaDamagedError):  # it answers nothing
        clean(samples.jpeg(), tmp_path)
    assert "hunter2" not in (tmp_path / "seen").read_text()


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    data = samples.jpeg()

    async def work() -> list[Any]:
        cleaner = Cleaner(LIMITS, processes=1, waiting=1)
        tasks = []
        for number in range(4):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "source").write_bytes(data)
            format_ = sniff(data)
            assert format_ is not None
            tasks.append(
                asyncio.create_task(
                    cleaner.clean(folder / "source", format_, folder / "target", folder / "thumbnail")
                )
            )
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not cleaner.is_full
        return results

    results = asyncio.run(work())
    assert [type(each) for each in results] == [Cleaned, Cleaned, MediaBusyError, MediaBusyError]
