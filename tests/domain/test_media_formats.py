"""What a file is, by its first bytes; whose it is."""

from __future__ import annotations

import media_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.media import HEAD_BYTES, MediaFormat, MediaKind, MediaLimits, kind_of, sniff


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (samples.jpeg(), MediaFormat.JPEG),
        (samples.png(), MediaFormat.PNG),
        (samples.webp(), MediaFormat.WEBP),
        (samples.gif(), MediaFormat.GIF),
        (samples.heic(), MediaFormat.HEIC),
        (samples.movie("mp4", seconds=0.2), MediaFormat.MP4),
        (samples.movie("mov", seconds=0.2), MediaFormat.MP4),
        (samples.movie("3gp", seconds=0.2), MediaFormat.MP4),
        (samples.movie("ipod", pictures=False, seconds=0.2), MediaFormat.M4A),
        (samples.movie("adts", pictures=False, seconds=0.2), MediaFormat.AAC),
        (samples.movie("mp3", pictures=False, seconds=0.2, audio_codec="libmp3lame"), MediaFormat.MP3),
        (b"\xff\xfb\x90\x64" + b"\0" * 400, MediaFormat.MP3),
        (b"#!AMR\n\x3c", MediaFormat.AMR),
        (b"#!AMR-WB\n\x3c", MediaFormat.AMR),
        (samples.atom(b"wide", b"") + samples.atom(b"mdat", b"x"), MediaFormat.MP4),
    ],
)
def test_formats_are_told_by_content(data: bytes, expected: MediaFormat) -> None:
    assert sniff(data[:HEAD_BYTES]) is expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<?xml version='1.0'?><svg/>",
        b"<!DOCTYPE html><html></html>",
        b"%PDF-1.7\n",
        b"MZ\x90\x00\x03" + b"\0" * 60,
        b"\x7fELF" + b"\0" * 60,
        b"PK\x03\x04" + b"\0" * 60,
        b"BM" + b"\0" * 60,
        b"II*\x00" + b"\0" * 60,
        b"\x1aE\xdf\xa3" + b"\0" * 60,
        b"#EXTM3U\nfile:///etc/passwd",
        b"ffconcat version 1.0\nfile /etc/passwd",
        b"RIFF\0\0\0\0AVI LIST",
        b"FLV\x01\x05" + b"\0" * 60,
        samples.atom(b"ftyp", b"avif\0\0\0\0avifmif1heic"),
        samples.atom(b"ftyp", b"crx \0\0\0\1crx isom"),
        b"\xff\xff\xff\xff" * 4,
    ],
)
def test_everything_else_is_nothing(data: bytes) -> None:
    assert sniff(data) is None


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(data: bytes) -> None:
    format_ = sniff(data)
    assert format_ is None or MediaLimits().bytes_of(kind_of(format_)) > 0


@given(st.lists(st.binary(min_size=4, max_size=4), max_size=20), st.integers(0, 2**32 - 1))
def test_a_file_type_box_of_any_size_is_read_within_bounds(brands: list[bytes], size: int) -> None:
    box = size.to_bytes(4, "big") + b"ftyp" + b"".join(brands)
    assert sniff(box) in (None, MediaFormat.MP4, MediaFormat.M4A, MediaFormat.HEIC)


def test_each_kind_has_its_own_limit() -> None:
    limits = MediaLimits()
    assert [limits.bytes_of(kind) for kind in MediaKind] == [20_000_000, 10_000_000, 50_000_000]
    assert limits.most_bytes == 50_000_000
