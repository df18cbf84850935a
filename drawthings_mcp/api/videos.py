"""A run that makes a video → numbered frames, sound and one file that moves, in the user's folder.

While one frame is written the next is decoded, and no third one is in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from drawthings_mcp.api.results import EventCallback, report, warn_about_size, warn_caller
from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.events import AudioReceived, Event, ImageReceived
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.generation import GenerationRequest, ResultImage, find_audio_rate, frame_rate
from drawthings_mcp.library.animation import find_container, save_animation
from drawthings_mcp.library.audio import Sound, save_audio
from drawthings_mcp.library.frames import FrameSet
from drawthings_mcp.metadata.draw_things_keys import ModelKind
from drawthings_mcp.planning.compose import Plan
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.tasks import raised_alone
from drawthings_mcp.tensors.audio import decode_audio
from drawthings_mcp.tensors.image import decode_image, explained_as_received
from drawthings_mcp.tensors.pixels import ensure_pixels


@dataclass(frozen=True, slots=True)
class SavedVideo:
    """The files of one video.

    Attributes
    ----------
    frames
        ``<prefix>-0001.png`` and so on, in order, each with its metadata.
    animation
        ``<prefix>.mp4`` where PyAV is installed, with the sound; else ``<prefix>.png``, an animated PNG. None for a
        single frame.
    audio
        ``<prefix>.wav``; None when the model makes no sound.
    frames_per_second
        At which the frames are to be played.
    """

    frames: tuple[Path, ...]
    animation: Path | None
    audio: Path | None
    frames_per_second: float


class VideoRecorder:
    """Saves what one run sends.

    Parameters
    ----------
    composed
        The request, and what is known of its model.
    folder, prefix
        Where to and the beginning of the names.
    server
        Its address, for the metadata.

    Raises
    ------
    InvalidInputError
        The request is not one for a single video.
    """

    def __init__(self, composed: Plan, folder: Path, prefix: str, server: str) -> None:
        self._model = composed.model
        _check_video(self._model, len(composed.requests))
        self.request: GenerationRequest = composed.requests[0]
        self._folder = folder
        self._notes: list[str] = []
        kind = ModelKind(version=self._model.version, modifier=self._model.modifier)
        self._frames = FrameSet(folder, prefix, server=server, kind=kind)
        fps = self.request.configuration.fps
        self._rate = frame_rate(self._model.version, self._model.specification, fps)

    async def record(
        self, events: AsyncIterator[Event], is_simulated: Callable[[], bool], on_event: EventCallback | None
    ) -> SavedVideo:
        """The files of a run's events.

        Parameters
        ----------
        is_simulated
            Whether the simulator sends the events, as it is known once the first one is there.

        Raises
        ------
        TensorError
            A frame or the sound cannot be decoded; what was saved before stays.
        StorageError
            A file cannot be written; what was saved before stays.
        """
        sound: bytes | None = None
        sender, receiver = anyio.create_memory_object_stream[ResultImage]()
        with raised_alone():
            async with receiver, anyio.create_task_group() as saving, sender:
                saving.start_soon(self._save_frames, receiver)
                async for event in events:
                    if isinstance(event, ImageReceived):
                        frame = await anyio.to_thread.run_sync(self._decode_frame, event)
                        await sender.send(replace(frame, simulated=is_simulated()))
                    elif isinstance(event, AudioReceived):
                        sound = event.payload
                    await report(on_event, event)
        return await anyio.to_thread.run_sync(self._finish, sound)

    def _decode_frame(self, event: ImageReceived) -> ResultImage:
        with explained_as_received("a frame"):
            pixels = decode_image(event.payload, report=self._notes.append)
        configuration = self.request.configuration
        if event.index == 0:
            warn_about_size(configuration, pixels, event.upscale_factor)
        return ResultImage(pixels, self.request.prompt, self.request.negative_prompt, configuration)

    async def _save_frames(self, receiver: MemoryObjectReceiveStream[ResultImage]) -> None:
        async for frame in receiver:
            await anyio.to_thread.run_sync(self._frames.add, frame)

    def _finish(self, payload: bytes | None) -> SavedVideo:
        for note in dict.fromkeys(self._notes):
            warn_caller(note)
        sound = self._decode_sound(payload) if payload else None
        stem, paths = self._frames.stem, tuple(self._frames.paths)
        return SavedVideo(
            frames=paths,
            animation=self._animate(stem, paths, sound) if len(paths) > 1 else None,
            audio=save_audio(sound.samples, self._folder, stem, sound.rate) if sound else None,
            frames_per_second=self._rate,
        )

    def _decode_sound(self, payload: bytes) -> Sound | None:
        rate = find_audio_rate(self._model.version)
        if rate is None:
            warn_caller(
                f"Sound came with the video, but how fast sound of {self._model.version or 'an unknown version'} is "
                "played is not known; it is not saved. Read it with stream() and tensors.decode_audio."
            )
            return None
        with explained_as_received("sound"):
            return Sound(decode_audio(payload), rate)

    def _animate(self, stem: str, paths: tuple[Path, ...], sound: Sound | None) -> Path:
        container = find_container()
        frames = map(ensure_pixels, paths)
        save = partial(save_animation, frames, self._folder, stem, self._rate, container)
        return save(sound=sound if container == "mp4" else None)


def _check_video(model: Model, passes: int) -> None:
    facts = load_known().versions.get(model.version)
    if facts is not None and not facts.makes_video:
        template = "{file} makes pictures. {step:C}, or name a model that makes videos."
        problem = Text(template, file=model.file, step=Step("generate"))
        raise InvalidInputError(problem, parameter="model", value=model.file)
    if passes > 1:
        advice = "a video is made by one run. Leave it at 1 and call once per video."
        raise InvalidInputError(advice, parameter="batch_count", value=passes)
