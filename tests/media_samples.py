"""Files as phones, cameras and attackers make them; everything personal in them carries `PLACE` or `MARK`."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
from PIL import Image, ImageCms, PngImagePlugin
from PIL.Image import Exif

pillow_heif.register_heif_opener()

PLACE = "+26.0745+119.2965/"
MARK = "GEHEIMGPS"
GPS = {1: "N", 2: (26.0, 4.0, 28.2), 3: "E", 4: (119.0, 17.0, 47.4), 29: MARK}
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><exif:GPSLatitude>{PLACE}{MARK}</exif:GPSLatitude></x:xmpmeta>'
SCRIPT = b"<html><script>alert(document.cookie)</script></html>"
TRACES = (PLACE.encode(), b"26.0745", b"119.2965", MARK.encode(), b"Exif", b"exif", b"xmpmeta", b"Photoshop")
"""None of it may be in anything that is kept."""


def picture(width: int = 640, height: int = 480, mode: str = "RGB") -> Image.Image:
    """A picture that is red at its left, blue at its right and dark at its lower edge."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2, 0] = 220
    pixels[:, width // 2 :, 2] = 220
    pixels[height * 3 // 4 :, :, :] //= 4
    image = Image.fromarray(pixels, "RGB")
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize((width, height)))
    return image


def exif(orientation: int = 1) -> Exif:
    """Exif of a phone: where, when, with which device."""
    data = Exif()
    data[0x010F] = MARK
    data[0x0112] = orientation
    data[0x9286] = MARK
    data.get_ifd(0x8825).update(GPS)
    return data


def _saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + MARK.encode()


def jpeg(orientation: int = 1, size: tuple[int, int] = (640, 480)) -> bytes:
    """A JPEG with Exif, XMP, IPTC, a comment and a profile."""
    data = _saved(
        picture(*size),
        "JPEG",
        exif=exif(orientation),
        xmp=XMP.encode(),
        comment=MARK.encode(),
        icc_profile=_profile(),
        quality=90,
    )
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x20" + MARK.encode().ljust(32)
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc + data[2:]


def png(mode: str = "RGB") -> bytes:
    """A PNG with eXIf, text of all three kinds and XMP."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", MARK + PLACE)
    texts.add_text("Raw profile type exif", MARK, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP)
    return _saved(picture(mode=mode), "PNG", exif=exif(), pnginfo=texts)


def webp(mode: str = "RGB") -> bytes:
    """A WebP with Exif and XMP."""
    return _saved(picture(mode=mode), "WEBP", exif=exif(6), xmp=XMP.encode())


def heic() -> bytes:
    """A HEIC with Exif and XMP."""
    return _saved(picture(), "HEIF", exif=exif(), xmp=XMP.encode())


def gif() -> bytes:
    """A GIF of two pictures with a comment."""
    second = Image.new("RGB", (640, 480), "green")
    return _saved(
        picture(), "GIF", save_all=True, append_images=[second], comment=MARK.encode(), duration=100
    )


def movie(
    muxer: str = "mp4",
    codec: str = "libx264",
    *,
    seconds: float = 2,
    size: tuple[int, int] = (320, 240),
    rotation: int = 0,
    sound: bool = True,
    pictures: bool = True,
    faststart: bool = False,
    audio_codec: str = "aac",
    rate: int = 44_100,
) -> bytes:
    """A recording with its place in tags, and in the encoder's messages inside of the pictures."""
    flags = "use_metadata_tags" + ("+faststart" if faststart else "")
    is_mov = muxer in ("mp4", "mov", "ipod", "3gp")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie"
        with av.open(str(path), "w", format=muxer, options={"movflags": flags} if is_mov else {}) as out:
            out.metadata.update(
                {
                    "location": PLACE,
                    "com.apple.quicktime.location.ISO6709": PLACE,
                    "comment": MARK,
                    "title": MARK,
                }
            )
            if pictures:
                video: Any = out.add_stream(codec, rate=25)
                video.width, video.height, video.pix_fmt = *size, "yuv420p"
                if rotation:
                    video.set_display_rotation(rotation)
            if sound:
                audio: Any = out.add_stream(audio_codec, rate=rate, layout="mono")
            if pictures:
                still = np.asarray(picture(*size))
                for number in range(int(25 * seconds)):
                    frame = av.VideoFrame.from_ndarray(still, format="rgb24")
                    frame.pts = number
                    out.mux(video.encode(frame))
                out.mux(video.encode(None))
            if sound:
                _add_tone(out, audio, seconds, rate)
        return path.read_bytes()


def _add_tone(out: Any, audio: Any, seconds: float, rate: int) -> None:
    samples = (np.sin(np.arange(int(rate * seconds)) * 440 * 2 * np.pi / rate) * 8_000).astype(np.int16)
    size = 960
    frame_size = audio.codec_context.frame_size or None
    resampler = av.AudioResampler(audio.format, "mono", rate, frame_size=frame_size)
    for start in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for converted in resampler.resample(frame):
            out.mux(audio.encode(converted))
    for converted in resampler.resample(None):
        out.mux(audio.encode(converted))
    out.mux(audio.encode(None))


def atom(kind: bytes, payload: bytes) -> bytes:
    """One box of ISO/IEC 14496-12."""
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def with_place_atoms(data: bytes) -> bytes:
    """Add what phones write beside the tracks: `©xyz` and `loci` in `udta`, a free box, junk behind the end.

    The movie's box must be the last one of the file.
    """
    at = data.rindex(b"moov") - 4
    size = struct.unpack(">I", data[at : at + 4])[0]
    text = PLACE.encode()
    xyz = atom(b"\xa9xyz", struct.pack(">HH", len(text), 0x15C7) + text)
    loci = atom(b"loci", b"\0\0\0\0\x15\xc7" + MARK.encode() + b"\0\0" + b"\0" * 12 + b"earth\0\0")
    moov = data[at + 8 : at + size] + atom(b"udta", xyz + loci)
    return data[:at] + atom(b"moov", moov) + data[at + size :] + atom(b"free", MARK.encode()) + SCRIPT


def png_bomb(side: int) -> bytes:
    """A PNG of one colour that claims, and unpacks to, `side` times `side` pixels."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        body = kind + payload
        return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 2)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def with_timed_text() -> bytes:
    """A video with a second track that says where it was at each moment, as action cameras write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie"
        with av.open(str(path), "w", format="mov") as out:
            video: Any = out.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            texts: Any = out.add_mux_stream("mov_text", rate=1_000)
            for number in range(25):
                frame = av.VideoFrame(64, 64, "yuv420p")
                frame.pts = number
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
            text = PLACE.encode() + MARK.encode()
            packet = av.Packet(len(text).to_bytes(2, "big") + text)
            packet.pts = packet.dts = 0
            packet.duration, packet.time_base, packet.stream = 1_000, texts.time_base, texts
            out.mux(packet)
        return path.read_bytes()
