"""What the rooms below say about a request, in the words of those who call the studio.

Owns the names: the library speaks of ``input_image`` and the fields of a configuration, tools and commands of
``canvas`` and the app's keys. Knows no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation.configuration import list_app_keys
from drawthings_mcp.presets.preset import Preset

_ARGUMENTS: Mapping[str, str] = {
    **{name: name for name in ("guidance_scale", "negative_prompt")},
    "input_image": "canvas",
    "mask_image": "mask",
    "hint_images": "control",
    "batch_count": "variants",
}
"""Names of the library, and what the studio calls that."""

_COMPOUND = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b")


def reword(text: str) -> str:
    """A sentence with ``canvas`` for ``input_image``, ``resolutionDependentShift`` for that field, and so on."""
    keys = {name: key for key, name in list_app_keys().items()}
    return _COMPOUND.sub(lambda found: _ARGUMENTS.get(found[0]) or keys.get(found[0], found[0]), text)


@contextmanager
def refusals_reworded(preset: Preset | None) -> Iterator[None]:
    """Refusals in the caller's words, with the preset in which a file stands that they are about."""
    try:
        yield
    except InvalidInputError as error:
        text = reword(str(error))
        files = preset.files if preset is not None else ()
        blamed = next((file for file in files if preset and file != preset.model and file in text), None)
        if preset is not None and blamed:
            text = f"{text} {blamed} stands in the preset {preset.name!r}: download it, or name another preset."
        error.problem = text
        raise
