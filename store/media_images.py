"""Images made anew from their pixels: what is written has no byte of what was read.

Runs in the process of `store.media_cleaning` only.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Final

import pillow_heif
from PIL import Image, ImageCms, ImageFile

from domain.media import (
    THUMBNAIL_PX,
    Cleaned,
    MediaDamagedError,
    MediaFormat,
    MediaKind,
    MediaLimits,
    MediaTooLargeError,
)

MAX_SIDE: Final = 4_096
"""Longer side of what is kept; larger photos are scaled down."""
_QUALITY: Final = 85
_THUMBNAIL_QUALITY: Final = 80
_ORIENTATION: Final = 0x0112  # Exif 2.3, tag Orientation
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DECODERS: Final = {
    MediaFormat.JPEG: "JPEG",
    MediaFormat.PNG: "PNG",
    MediaFormat.WEBP: "WEBP",
    MediaFormat.GIF: "GIF",
    MediaFormat.HEIC: "HEIF",
}
# What Pillow and its plugins raise at bytes that are no image of the format.
_DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    OverflowError,
    struct.error,
)


def clean_image(
    source: Path, format_: MediaFormat, target: Path, thumbnail: Path, limits: MediaLimits
) -> Cleaned:
    """Decode an image, turn it upright, and write its first frame and a thumbnail anew.

    Opaque images become JPEG, others WebP; colours are converted to sRGB. Raises: MediaDamagedError,
    MediaTooLargeError.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = limits.image_pixels
    warnings.simplefilter("ignore")  # about what is refused or dropped here anyway
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    try:
        with Image.open(source, formats=(_DECODERS[format_],)) as image:
            if image.width * image.height > limits.image_pixels:
                raise _too_large(limits)
            # A JPEG can be decoded at an eighth, a quarter or half of its size, in as much less memory.
            image.draft("RGB", (MAX_SIDE, MAX_SIDE))
            image.load()
            upright = _upright(_bounded(image, MAX_SIDE), image)
    except Image.DecompressionBombError as error:
        raise _too_large(limits) from error
    except _DAMAGE as error:
        raise MediaDamagedError(reason=type(error).__name__) from error
    is_opaque = upright.mode == "RGB"
    if is_opaque:
        upright.save(target, "JPEG", quality=_QUALITY, optimize=True)
    else:
        upright.save(target, "WEBP", quality=_QUALITY, method=3)
    write_thumbnail(upright, thumbnail)
    return Cleaned(
        MediaKind.IMAGE,
        "image/jpeg" if is_opaque else "image/webp",
        width=upright.width,
        height=upright.height,
        has_thumbnail=True,
    )


def write_thumbnail(image: Image.Image, target: Path) -> None:
    """Write an RGB or RGBA image small, as JPEG; what is transparent becomes white."""
    small = _bounded(image, THUMBNAIL_PX)
    if small.mode == "RGBA":
        white = Image.new("RGB", small.size, "white")
        white.paste(small, mask=small.getchannel("A"))
        small = white
    small.info = {}
    small.save(target, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True)


def _too_large(limits: MediaLimits) -> MediaTooLargeError:
    return MediaTooLargeError(limit=f"{limits.image_pixels / 1_000_000:g} MP")


def _upright(pixels: Image.Image, read: Image.Image) -> Image.Image:
    """Give pixels as RGB or RGBA in sRGB, turned as the image's Exif says, and nothing else of it."""
    profile = read.info.get("icc_profile")
    orientation = _orientation(read)
    pixels = _in_srgb(_as_rgb(pixels), profile)
    if orientation in _TURNS:
        pixels = pixels.transpose(_TURNS[orientation])
    if pixels.mode == "RGBA" and pixels.getchannel("A").getextrema() == (255, 255):
        pixels = pixels.convert("RGB")
    # Pillow writes comments and profiles that it finds here.
    pixels.info = {}
    return pixels


def _bounded(image: Image.Image, most: int) -> Image.Image:
    """Give an image scaled down to a longer side of at most `most` pixels; a copy in any case."""
    longer = max(image.size)
    if longer <= most:
        return image.copy()
    width, height = (max(1, round(side * most / longer)) for side in image.size)
    if image.mode in ("P", "1"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGB", "RGBA"):
        return image
    if image.mode.startswith("I") or image.mode == "F":
        # 16 bits of grey: Pillow's own conversion clips instead of scaling.
        return image.convert("F").point(lambda value: value * (1 / 257) + 0).convert("L").convert("RGB")
    has_alpha = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert colours from the image's own profile, which is dropped; one that cannot be read is ignored."""
    if not isinstance(profile, bytes) or image.mode not in ("RGB", "RGBA"):
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, own, srgb, outputMode=image.mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


def _orientation(image: Image.Image) -> int:
    """Give the Exif orientation, 1 to 8; 1 when there is none that can be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return 1
    return orientation if isinstance(orientation, int) else 1
