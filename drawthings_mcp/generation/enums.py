"""The enumerations of a configuration, with their numbers on the wire (protocol §2.2)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.faces import Text
from drawthings_mcp.validation import find_nearest


class SamplerType(enum.IntEnum):
    """Sampling method and schedule. For flow-matching models use a Trailing or AYS one."""

    DPMPP2MKarras = 0
    EulerA = 1
    DDIM = 2
    PLMS = 3
    DPMPPSDEKarras = 4
    UniPC = 5
    LCM = 6
    EulerASubstep = 7
    DPMPPSDESubstep = 8
    TCD = 9
    EulerATrailing = 10
    DPMPPSDETrailing = 11
    DPMPP2MAYS = 12
    EulerAAYS = 13
    DPMPPSDEAYS = 14
    DPMPP2MTrailing = 15
    DDIMTrailing = 16
    UniPCTrailing = 17
    UniPCAYS = 18
    TCDTrailing = 19

    @property
    def display_name(self) -> str:
        """The name that the app shows and that image metadata carry."""
        return _SAMPLER_NAMES[self]

    @classmethod
    def parse(cls, name: str) -> SamplerType:
        """The sampler of a display name, a member name or a short form, in any case and order of words.

        The beginning of a name is enough when only one begins so.

        Raises
        ------
        UnknownNameError
            No sampler is called so, or several are; the nearest names are suggested.
        """
        meant = _find_samplers(name)
        if len(meant) == 1:
            return meant[0]
        nearest = [_SAMPLER_NAMES[one] for one in meant] or find_nearest(name, _SAMPLER_NAMES.values())
        raise UnknownNameError(
            Text("There is no sampler {name!r}. Nearest: {nearest}.", name=name, nearest=tuple(nearest)),
            name=name,
            nearest=nearest,
        )


_MIN_BEGINNING = 3
"""Letters from which on the beginning of a sampler's name is taken for it."""

_SAMPLER_NAMES: Mapping[SamplerType, str] = dict(
    zip(
        SamplerType,
        (
            "DPM++ 2M Karras",
            "Euler Ancestral",
            "DDIM",
            "PLMS",
            "DPM++ SDE Karras",
            "UniPC",
            "LCM",
            "Euler A Substep",
            "DPM++ SDE Substep",
            "TCD",
            "Euler A Trailing",
            "DPM++ SDE Trailing",
            "DPM++ 2M AYS",
            "Euler A AYS",
            "DPM++ SDE AYS",
            "DPM++ 2M Trailing",
            "DDIM Trailing",
            "UniPC Trailing",
            "UniPC AYS",
            "TCD Trailing",
        ),
        strict=True,
    )
)


def _key(name: str) -> str:
    # "DPM++ 2M Karras", "DPMPP2M Karras" and "dpm_2m_karras" are one name; so are "Euler a" and its long form.
    plain = re.sub(r"[^a-z0-9]", "", re.sub(r"^k[_-]", "", name.strip().lower()).replace("++", "pp"))
    return plain.replace("ancestral", "a").replace("dpmpp", "dpm").replace("alignyoursteps", "ays")


def _sort_words(name: str) -> str:
    return "".join(sorted(_key(word) for word in re.split(r"[\s_-]+", name.strip())))


def _find_samplers(name: str) -> list[SamplerType]:
    """The sampler of a name, or those that it may mean."""
    wanted, words = _key(name), _sort_words(name)
    if wanted in _SAMPLERS_BY_KEY:
        return [_SAMPLERS_BY_KEY[wanted]]
    reordered = [sampler for sampler, known in _SAMPLER_NAMES.items() if _sort_words(known) == words]
    is_beginning = len(wanted) >= _MIN_BEGINNING
    begun = [sampler for key, sampler in _SAMPLERS_BY_KEY.items() if is_beginning and key.startswith(wanted)]
    return reordered or list(dict.fromkeys(begun))


_SAMPLERS_BY_KEY: Mapping[str, SamplerType] = {
    _key(name): sampler
    for sampler in SamplerType
    for name in (_SAMPLER_NAMES[sampler], sampler.name)
}  # fmt: skip


class SeedMode(enum.IntEnum):
    """How noise is drawn from the seed. Only ``ScaleAlike`` is portable and reproducible within a batch."""

    Legacy = 0
    TorchCpuCompatible = 1
    ScaleAlike = 2
    NvidiaGpuCompatible = 3

    @property
    def display_name(self) -> str:
        """The exact name that the app reads back from image metadata."""
        return _SEED_MODE_NAMES[self]


_SEED_MODE_NAMES: Mapping[SeedMode, str] = {
    SeedMode.Legacy: "Legacy",
    SeedMode.TorchCpuCompatible: "Torch CPU Compatible",
    SeedMode.ScaleAlike: "Scale Alike",
    SeedMode.NvidiaGpuCompatible: "NVIDIA GPU Compatible",
}


class ControlMode(enum.IntEnum):
    """Whether the prompt or the control matters more."""

    Balanced = 0
    Prompt = 1
    Control = 2


class ControlInputType(enum.IntEnum):
    """What kind of picture a control reads."""

    Unspecified = 0
    Custom = 1
    Depth = 2
    Canny = 3
    Scribble = 4
    Pose = 5
    Normalbae = 6
    Color = 7
    Lineart = 8
    Softedge = 9
    Seg = 10
    Inpaint = 11
    Ip2p = 12
    Shuffle = 13
    Mlsd = 14
    Tile = 15
    Blur = 16
    Lowquality = 17
    Gray = 18


class LoRAMode(enum.IntEnum):
    """Which model a LoRA is applied to; without a compatible refiner the server takes ``All``."""

    All = 0
    Base = 1
    Refiner = 2


class CompressionMethod(enum.IntEnum):
    """Compression artefacts that a video model should expect."""

    Disabled = 0
    H264 = 1
    H265 = 2
    Jpeg = 3


class ColorCalibration(enum.IntEnum):
    """Whether the colours of the result are matched to the canvas."""

    Disabled = 0
    Lab = 1


class HintType(enum.StrEnum):
    """Names of hints that a server reads (protocol §5.1); any other name is dropped there without a word."""

    Custom = "custom"
    Depth = "depth"
    Scribble = "scribble"
    Pose = "pose"
    Color = "color"
    Shuffle = "shuffle"
    Audio = "audio"
