"""ComfyUI's graph of nodes, from what was executed (``prompt``) or what was drawn (``workflow``) (formats §4.2).

Every walk along its links ends, whatever the links say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from drawthings_mcp.metadata.dialect import find_list, find_object, find_text, parse_object


@dataclass(frozen=True, slots=True)
class Link:
    """An input that comes from a node."""

    node: str


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node.

    Attributes
    ----------
    kind
        Its class.
    inputs
        By name: a ``Link``, or the value that was entered.
    """

    kind: str
    inputs: Mapping[str, Any]


Graph: TypeAlias = Mapping[str, GraphNode]

MAX_WALK = 1000
"""Nodes of one way; large graphs have some hundred in all."""
_MAX_BYPASSED = 50
"""In a row."""
_MUTED, _BYPASSED = 2, 4
"""Modes of a drawn node that is not executed; a bypassed one passes on what it gets."""
_SEED_STEERING = frozenset(("fixed", "increment", "decrement", "randomize"))
"""What stands behind a seed among the values of a drawn node and is no input."""

_WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler"),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "RandomNoise": ("noise_seed",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "Flux2Scheduler": ("steps", "width", "height"),
    "KSamplerSelect": ("sampler_name",),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSDXL": (
        *("width", "height", "crop_w", "crop_h", "target_width", "target_height"),
        *("text_g", "text_l"),
    ),
    "TextEncodeQwenImageEdit": ("prompt",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "PrimitiveNode": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
}
"""Order of a drawn node's values, for files from before nodes stated it themselves."""


def parse_graph(prompt: Any, workflow: Any) -> Graph | None:
    """The graph that was executed, else the one that was drawn; None when there is neither.

    Parameters
    ----------
    prompt, workflow
        A text, or its object.

    Raises
    ------
    InvalidImageError
        A text has more values than are read.
    """
    return _parse_prompt(_open(prompt)) or _parse_workflow(_open(workflow))


def _open(value: Any) -> dict[str, Any]:
    return (parse_object(value) or {}) if isinstance(value, str) else find_object(value)


def _parse_prompt(data: Mapping[str, Any]) -> Graph | None:
    nodes = {key: node for key, node in data.items() if isinstance(node, dict) and "class_type" in node}
    graph = {
        key: GraphNode(
            find_text(node["class_type"]), {n: _read(v, nodes) for n, v in find_object(node.get("inputs")).items()}
        )
        for key, node in nodes.items()
    }
    return graph or None


def _read(value: Any, nodes: Mapping[str, Any]) -> Any:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in nodes:
        return Link(value[0])
    return value


def _parse_workflow(data: Mapping[str, Any]) -> Graph | None:
    """The graph that was drawn, without what is switched off; some programs wrap it once more."""
    data = find_object(data.get("workflow")) or data
    drawn = [node for node in find_list(data.get("nodes")) if isinstance(node, dict) and "type" in node]
    graph = _Drawing(drawn, find_list(data.get("links"))).build() if drawn else {}
    return graph or None


class _Drawing:
    """The nodes and links of an editor's file."""

    def __init__(self, drawn: list[dict[str, Any]], links: list[Any]) -> None:
        self._nodes = {str(node.get("id")): node for node in drawn}
        self._origins: dict[Any, str] = dict(_read_link(link) for link in links)
        self._setters = {_first_text(node): node for node in drawn if node["type"] == "SetNode"}

    def build(self) -> Graph:
        return {
            key: GraphNode(find_text(node["type"]), {**_name_values(node), **self._list_links(node)})
            for key, node in self._nodes.items()
            if node.get("mode") not in (_MUTED, _BYPASSED)
        }

    def _list_links(self, node: Mapping[str, Any]) -> dict[str, Link]:
        if node["type"] == "GetNode":
            node = self._setters.get(_first_text(node), node)
        found = {find_text(slot.get("name")): self._find_source(slot.get("link")) for slot in _list_slots(node)}
        return {name: Link(source) for name, source in found.items() if source is not None}

    def _find_source(self, link: Any) -> str | None:
        """The executed node at the other end of a link, through those that only pass on what they get."""
        for _ in range(_MAX_BYPASSED):
            origin = self._origins.get(link) if isinstance(link, int | str) else None
            node = self._nodes.get(origin or "")
            if origin is None or node is None or node.get("mode") == _MUTED:
                return None
            if node.get("mode") != _BYPASSED:
                return origin
            kind = next((slot.get("type") for slot in find_list(node.get("outputs")) if _feeds(slot, link)), None)
            link = next((slot.get("link") for slot in _list_slots(node) if slot.get("type") == kind), None)
        return None


def _read_link(link: Any) -> tuple[Any, str]:
    """Number and origin of a link, in the older form (a list) or the newer one (an object)."""
    if isinstance(link, list) and len(link) >= 2 and isinstance(link[0], int | str):
        return link[0], str(link[1])
    found = find_object(link)
    number = found.get("id")
    return (number if isinstance(number, int | str) else None), str(found.get("origin_id"))


def _feeds(slot: Any, link: Any) -> bool:
    return link in find_list(find_object(slot).get("links"))


def _list_slots(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [slot for slot in find_list(node.get("inputs")) if isinstance(slot, dict)]


def _first_text(node: Mapping[str, Any]) -> str:
    return next((value for value in find_list(node.get("widgets_values")) if isinstance(value, str)), "")


def _name_values(node: Mapping[str, Any]) -> dict[str, Any]:
    """The entered values of a drawn node by the names of its inputs, as far as they are known."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return values
    entered = [value for value in find_list(values) if not (isinstance(value, str) and value in _SEED_STEERING)]
    slots = (find_text(slot.get("name")) for slot in _list_slots(node) if "widget" in slot)
    names = _WIDGETS.get(find_text(node["type"])) or tuple(slots)
    numbered = {
        f"lora_{index}": value for index, value in enumerate(entered) if isinstance(value, dict) and "lora" in value
    }
    return (
        {**dict(zip(names, entered, strict=False)), **numbered} if names or numbered else {"value": _first_text(node)}
    )


def walk_up(
    graph: Graph,
    value: Any,
    follows: Callable[[str], bool] = lambda _: True,
    *,
    seen: set[str] | None = None,
    limit: int = MAX_WALK,
) -> Iterator[GraphNode]:
    """The node at the other end of a link, then those that feed it, nearest first, each once.

    Parameters
    ----------
    value
        An input; nothing comes from one that was entered.
    follows
        Whether to go on along an input of this name.
    seen
        Nodes that are left out; those that come are added.
    limit
        The most nodes, so that ways within ways stay short.
    """
    seen = set() if seen is None else seen
    waiting = deque([value])
    while waiting and limit > 0:
        link = waiting.popleft()
        if not isinstance(link, Link) or link.node in seen or link.node not in graph:
            continue
        seen.add(link.node)
        limit -= 1
        node = graph[link.node]
        yield node
        waiting.extend([source for name, source in node.inputs.items() if type(source) is Link and follows(name)])
