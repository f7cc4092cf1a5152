"""Sound and video without anything that a recorder wrote beside them: one track of each goes into a new file.

Sound is decoded and encoded anew. Pictures of a video are taken over as they are encoded, but only the units
that a decoder needs for them: no supplemental messages, where cameras and editors put what they like. Runs in
the process of `store.media_cleaning` only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
import av.bitstream
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import Flags, InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from domain.media import (
    Cleaned,
    MediaDamagedError,
    MediaFormat,
    MediaKind,
    MediaLimits,
    MediaTooLargeError,
    MediaTypeError,
    shown_bytes,
)
from store.media_images import write_thumbnail

_DEMUXERS: Final = {
    MediaFormat.MP3: "mp3",
    MediaFormat.AAC: "aac",
    MediaFormat.AMR: "amr",
    MediaFormat.WAV: "wav",
    MediaFormat.OGG: "ogg",
    MediaFormat.M4A: "mov",
    MediaFormat.MP4: "mov",
}
_AUDIO_CODECS: Final = re.compile(
    r"aac|alac|amr[nw]b|libopencore_amr[nw]b|mp3(float)?|(lib)?opus|vorbis"
    r"|pcm_(alaw|mulaw|u8|s16[bl]e|s24le|s32le|f32le)"
)
_VIDEO_CODECS: Final = ("h264", "hevc")
# What is copied of a video: slices and parameter sets (ITU-T H.264, table 7-1; H.265, table 7-1).
_UNITS: Final = {"h264": "1-5|7-8", "hevc": "0-9|16-21|32-34"}
_START_CODE: Final = re.compile(rb"\x00*\x00\x00\x01")
_TAGS: Final = {"h264": "avc1", "hevc": "hvc1"}  # QuickTime and Safari play no other tag of HEVC
_RATES: Final = frozenset({8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
_GRACE_S: Final = 0.5
_LEAST_SHARE: Final = 0.9
"""A video that ends before this share of the length it announces was cut off."""
_MOST_BAD: Final = 0.1
"""Share of a recording's packets that may be undecodable: the first and the last often are."""


def clean_stream(
    source: Path, format_: MediaFormat, target: Path, thumbnail: Path, limits: MediaLimits
) -> Cleaned:
    """Write a recording as M4A, or a video as MP4 with a thumbnail of its first picture.

    Raises: MediaTypeError, MediaDamagedError, MediaTooLargeError.
    """
    av.logging.set_level(None)
    try:
        with _open(source, format_) as container:
            video, _ = _tracks(container)
        if video is None:
            if source.stat().st_size > limits.audio_bytes:
                raise MediaTooLargeError(limit=shown_bytes(limits.audio_bytes))
            return _clean_audio(source, format_, target, limits)
        return _clean_video(source, format_, target, thumbnail, limits)
    except (av.error.FFmpegError, ValueError, OverflowError, UnicodeDecodeError) as error:
        raise MediaDamagedError(reason=type(error).__name__) from error


def _open(source: Path, format_: MediaFormat) -> InputContainer:
    """Open a file with the demuxer of its format and no other, which opens nothing beside the file."""
    container = av.open(
        str(source),
        format=_DEMUXERS[format_],
        metadata_errors="replace",
        options={"protocol_whitelist": "file", "max_streams": "16"},
    )
    for stream in container.streams:
        if stream.codec_context is not None:
            stream.codec_context.thread_count = 1
    return container


def _tracks(container: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    """Choose the first track of pictures and the first of sound; a cover is neither."""
    pictures = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    sounds = container.streams.audio
    video = next((each for each in pictures if _codec(each) in _VIDEO_CODECS), None)
    audio = next((each for each in sounds if _AUDIO_CODECS.fullmatch(_codec(each))), None)
    if (pictures and video is None) or (video is None and audio is None):
        raise MediaTypeError
    return video, audio


def _codec(stream: VideoStream | AudioStream) -> str:
    return "" if stream.codec_context is None else stream.codec_context.name


# --- sound ------------------------------------------------------------------------------------------------


class _Sound:
    """Decodes the packets of one track and encodes them anew as AAC."""

    def __init__(self, source: AudioStream, output: OutputContainer, limit_s: float) -> None:
        context = source.codec_context
        rate = context.sample_rate if context.sample_rate in _RATES else 48_000
        layout = "mono" if context.channels == 1 else "stereo"
        self._stream = output.add_stream("aac", rate=rate, layout=layout)
        self._stream.bit_rate = 64_000 if layout == "mono" else 128_000
        self._resampler = AudioResampler("fltp", layout, rate)
        self._output = output
        self._rate = rate
        self._limit_s = limit_s
        self._packets = self._bad = self._samples = 0

    @property
    def seconds(self) -> float:
        """How long it was so far."""
        return self._samples / self._rate

    def take(self, packet: Packet[AudioStream]) -> None:
        """Write the sound of one packet."""
        self._packets += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            self._bad += 1
            return
        for frame in frames:
            for resampled in self._resampler.resample(frame):
                self._write(resampled)

    def end(self) -> None:
        """Write what is left. Raises: MediaDamagedError when too little could be decoded."""
        if not self._samples or self._bad > max(2, self._packets * _MOST_BAD):
            raise MediaDamagedError(reason="sound")
        for resampled in self._resampler.resample(None):
            self._write(resampled)
        self._output.mux(self._stream.encode(None))

    def _write(self, frame: Any) -> None:
        self._samples += frame.samples
        if self.seconds > self._limit_s + _GRACE_S:
            raise MediaTooLargeError(limit=f"{self._limit_s:g} s")
        self._output.mux(self._stream.encode(frame))


def _clean_audio(source: Path, format_: MediaFormat, target: Path, limits: MediaLimits) -> Cleaned:
    with _open(source, format_) as container, _create(target, "ipod") as output:
        _, audio = _tracks(container)
        assert audio is not None  # noqa: S101 - or the file is a video
        sound = _Sound(audio, output, limits.audio_s)
        for packet in container.demux(audio):
            sound.take(packet)
        sound.end()
    return Cleaned(MediaKind.AUDIO, "audio/mp4", duration_s=round(sound.seconds, 2))


# --- video ------------------------------------------------------------------------------------------------


def _clean_video(
    source: Path,
    format_: MediaFormat,
    target: Path,
    thumbnail: Path,
    limits: MediaLimits,
) -> Cleaned:
    with _open(source, format_) as container:
        announced_s = (container.duration or 0) / av.time_base
        if announced_s > limits.video_s + _GRACE_S:
            raise MediaTooLargeError(limit=f"{limits.video_s:g} s")
        picture = _first_picture(container, limits)
    turns = round(picture.rotation / 90) % 4
    shown: Image.Image = picture.to_image()  # type: ignore[no-untyped-call]
    if turns:
        shown = shown.rotate(90 * turns, expand=True)
    write_thumbnail(shown, thumbnail)
    with _open(source, format_) as container, _create(target, "mp4") as output:
        seconds = _copy(container, output, picture.rotation, limits)
    if not seconds or seconds < announced_s * _LEAST_SHARE - 1:
        raise MediaDamagedError(reason="cut off")
    return Cleaned(
        MediaKind.VIDEO,
        "video/mp4",
        width=shown.width,
        height=shown.height,
        duration_s=round(seconds, 2),
        has_thumbnail=True,
    )


def _first_picture(container: InputContainer, limits: MediaLimits) -> VideoFrame:
    video, _ = _tracks(container)
    assert video is not None  # noqa: S101 - as the caller has found
    context = video.codec_context
    _check_pixels(context.width, context.height, limits)
    for frame in container.decode(video):
        _check_pixels(frame.width, frame.height, limits)
        return frame
    raise MediaDamagedError(reason="no picture")


def _check_pixels(width: int, height: int, limits: MediaLimits) -> None:
    if not width or not height:
        raise MediaDamagedError(reason="no size")
    if width * height > limits.video_pixels:
        raise MediaTooLargeError(limit=f"{limits.video_pixels / 1_000_000:g} MP")


def _copy(
    container: InputContainer,
    output: OutputContainer,
    rotation: int,
    limits: MediaLimits,
) -> float:
    """Copy pictures and encode sound anew; give the seconds of pictures that there are."""
    video, audio = _tracks(container)
    assert video is not None  # noqa: S101 - as the caller has found
    copy = output.add_stream_from_template(video)
    codec = _codec(video)
    units = av.bitstream.BitStreamFilterContext(f"filter_units=pass_types={_UNITS[codec]}", video, copy)
    context = copy.codec_context
    context.extradata = parameter_sets(bytes(context.extradata or b""), codec)
    context.codec_tag = _TAGS[codec]
    if rotation:
        copy.set_display_rotation(rotation)
    sound = _Sound(audio, output, limits.video_s) if audio is not None else None
    first_s, end_s = None, 0.0
    tracks = (video,) if audio is None else (video, audio)
    for packet in container.demux(*tracks):
        if packet.is_corrupt:
            raise MediaDamagedError(reason="cut off")
        if sound is not None and packet.stream.type == "audio":
            sound.take(cast("Packet[AudioStream]", packet))
        elif packet.stream.type == "video" and packet.dts is not None:
            starts_s, ends_s = _span(packet)
            first_s = starts_s if first_s is None else min(first_s, starts_s)
            end_s = max(end_s, ends_s)
            if end_s - first_s > limits.video_s + _GRACE_S:
                raise MediaTooLargeError(limit=f"{limits.video_s:g} s")
            _write(units, packet, copy, output)
    _write(units, None, copy, output)
    if sound is not None:
        sound.end()
    return end_s - (first_s or 0.0)


def _span(packet: Packet[Any]) -> tuple[float, float]:
    base = packet.time_base or Fraction(1, 1_000)
    starts = packet.pts if packet.pts is not None else packet.dts or 0
    return float(starts * base), float((starts + (packet.duration or 0)) * base)


def _write(
    units: av.bitstream.BitStreamFilterContext,
    packet: Packet[Any] | None,
    stream: VideoStream,
    output: OutputContainer,
) -> None:
    for filtered in units.filter(packet):
        filtered.stream = stream
        output.mux(filtered)


def parameter_sets(extradata: bytes, codec: str) -> bytes:
    """Give only the parameter sets of a decoder's configuration, whose other units may hold any text.

    Both in the byte stream format (ITU-T H.264 and H.265, annex B).
    """
    return b"".join(b"\0\0\0\1" + unit for unit in _units(extradata) if _is_parameter_set(unit, codec))


def _units(extradata: bytes) -> Iterator[bytes]:
    return (unit for unit in _START_CODE.split(extradata) if unit)


def _is_parameter_set(unit: bytes, codec: str) -> bool:
    return unit[0] & 0x1F in (7, 8) if codec == "h264" else unit[0] >> 1 & 0x3F in (32, 33, 34)


def _create(target: Path, muxer: str) -> OutputContainer:
    """Open a new file without name of a program, date or tags; its index comes first, to play at once."""
    output = av.open(str(target), "w", format=muxer, options={"movflags": "+faststart"})
    output.flags |= Flags.bitexact.value  # type: ignore[operator]
    return output
