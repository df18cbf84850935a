"""Frames and sound → an MP4 file, where PyAV is installed (``pip install "drawthings-mcp[video]"``).

The only module that knows PyAV. It is imported when the first file is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, StorageError
from drawthings_mcp.library.audio import Sound

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.audio import AudioStream
    from av.container import OutputContainer
    from av.video import VideoStream

_VIDEO_CODEC: Final = "libx264"
_AUDIO_CODEC: Final = "aac"
_ENCODER_OPTIONS = {
    "crf": "18",  # the eye sees no difference to the frames
    # By default 40 frames are looked at ahead, which takes twice the memory and makes no smaller files.
    "x264-params": "rc-lookahead=10:sync-lookahead=0",
}
_PIXEL_FORMAT = "yuv420p"
"""The only one that every player and browser shows; width and height are even."""


def is_available() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None


def write_mp4(frames: Iterable[NDArray[np.uint8]], path: Path, rate: Fraction, sound: Sound | None) -> None:
    """Write frames as they come, H.264 with AAC; at no time more than two are in memory, apart from the encoder's own.

    Parameters
    ----------
    frames
        At least one, ``(H, W, 3)`` uint8, sRGB, all of the same shape. An odd width or height is made even by
        repeating the last column or row.
    path
        A file that may be overwritten.
    rate
        Frames per second.
    sound
        Starts with the first frame; None for none.

    Raises
    ------
    InvalidImageError
        The frames are transparent.
    StorageError
        The encoder fails.
    OSError
        The file cannot be written.
    """
    import av

    with _translate_errors(), av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        video: VideoStream | None = None
        audio: AudioStream | None = None
        for pixels in frames:
            if video is None:
                video = _add_video(film, pixels, rate)
                audio = film.add_stream(_AUDIO_CODEC, rate=sound.rate, layout="stereo") if sound else None
            film.mux(video.encode(_build_frame(pixels)))
        if video is not None:
            film.mux(video.encode())
        if audio is not None and sound is not None:
            film.mux(audio.encode(_build_sound(sound)))
            film.mux(audio.encode())


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Make one kind of error of FFmpeg's; those of the disk are translated with all others."""
    import av

    try:
        yield
    except OSError:
        raise
    except av.FFmpegError as exc:
        raise StorageError(f"The frames cannot be encoded as MP4 ({exc}); save them as APNG.") from exc


def _add_video(film: OutputContainer, pixels: NDArray[np.uint8], rate: Fraction) -> VideoStream:
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    if pixels.shape[2] != 3:
        raise InvalidImageError("MP4 files cannot be transparent; save the frames as APNG.")
    stream = film.add_stream(_VIDEO_CODEC, rate=rate, options=_ENCODER_OPTIONS)
    stream.height, stream.width = (side + side % 2 for side in pixels.shape[:2])
    stream.pix_fmt = _PIXEL_FORMAT
    # Players guess by the size what is not said, and guess wrong.
    context = stream.codec_context
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.IEC61966_2_1
    return stream


def _build_frame(pixels: NDArray[np.uint8]) -> VideoFrame:
    from av import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace

    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else pixels
    frame = VideoFrame.from_ndarray(even, format="rgb24")
    return frame.reformat(format=_PIXEL_FORMAT, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)


def _build_sound(sound: Sound) -> AudioFrame:
    from av import AudioFrame

    frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound.clean()), format="fltp", layout="stereo")
    frame.sample_rate = sound.rate
    return frame
