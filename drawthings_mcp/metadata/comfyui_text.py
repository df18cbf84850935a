"""The texts that reach a sampler of a ComfyUI graph, through encoders, combiners and nodes that glue texts together.

Owns what such nodes are called by their many authors. Each node adds its text once, so that graphs that run in circles
or double at every node stay small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from drawthings_mcp.metadata.comfyui_graph import Graph, Link, Node

_ENCODED = ("populated_text", "text", "prompt", "t5xxl", "clip_l", "text_g", "text_l", "string", "value")
"""Inputs of an encoder that hold its text; several when it has several."""
_PLAIN = ("populated_text", "text", "string", "value", "prompt")
_GLUED = ("concat", "join", "combine")
_GLUE = ("delimiter", "separator")
_FLAGS = frozenset((*_GLUE, "clean_whitespace", "linebreak_addition"))
_DISCARDING = "ConditioningZeroOut"
_OTHERWISE = frozenset(
    (
        *("clip", "model", "vae", "image", "images", "pixels", "mask", "samples", "latent", "latent_image"),
        *("control_net", "clip_vision", "clip_vision_output", "style_model", "guidance", "seed", "noise_seed"),
    )
)
"""Inputs by which no prompt comes."""
_MAX_NODES = 150
"""Of one prompt; each may need several frames of the stack."""


class PromptReader:
    """Reads the texts of one side of a graph.

    Parameters
    ----------
    side
        ``positive`` or ``negative``.
    """

    def __init__(self, graph: Graph, side: str) -> None:
        self._graph = graph
        self._side = side
        self._seen: set[str] = set()

    def read(self, value: Any) -> str:
        """The prompt that comes by an input."""
        return "\n".join(_list_different(self._list_texts(value)))

    def _list_texts(self, value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        node = self._visit(value)
        if node is None or _DISCARDING in node.kind:
            return
        if texts := self._read_encoder(node):
            yield from texts
            return
        for source in self._list_conditionings(node):
            yield from self._list_texts(source)

    def _read_encoder(self, node: Node) -> list[str]:
        own = [node.inputs.get(name) for name in (self._side, f"{self._side}_prompt", f"text_{self._side}")]
        entered = [text for text in own if isinstance(text, str)]
        linked = [node.inputs[f"{self._side}_prompt"]] if isinstance(own[1], Link) else []
        if entered or linked:
            return [*entered, *(self.resolve(link) for link in linked)]
        if _is_glue(node):
            return [self._glue(node)]
        return [self.resolve(node.inputs[name]) for name in _ENCODED if isinstance(node.inputs.get(name), str | Link)]

    def _list_conditionings(self, node: Node) -> list[Link]:
        links = {name: source for name, source in node.inputs.items() if isinstance(source, Link)}
        named = [source for name, source in links.items() if "cond" in name or name in (self._side, "text_embeds")]
        return named or [source for name, source in links.items() if name not in _OTHERWISE]

    def resolve(self, value: Any) -> str:
        """The text of an input: as entered, or what the nodes before it make of theirs."""
        if isinstance(value, str):
            return value
        node = self._visit(value)
        if node is None:
            return ""
        if _is_glue(node):
            return self._glue(node)
        texts = [node.inputs[name] for name in _PLAIN if name in node.inputs]
        others = [source for source in node.inputs.values() if isinstance(source, str | Link)]
        return next((text for source in (*texts, *others) if (text := self.resolve(source))), "")

    def _glue(self, node: Node) -> str:
        glue = next((node.inputs[name] for name in _GLUE if isinstance(node.inputs.get(name), str)), " ")
        sources = [
            source for name, source in node.inputs.items() if name not in _FLAGS and isinstance(source, str | Link)
        ]
        return glue.replace("\\n", "\n").join(filter(None, (self.resolve(source) for source in sources)))

    def _visit(self, value: Any) -> Node | None:
        """The node at the other end of a link; None when its text has been read."""
        if not isinstance(value, Link) or value.node in self._seen or len(self._seen) >= _MAX_NODES:
            return None
        self._seen.add(value.node)
        return self._graph.get(value.node)


def _is_glue(node: Node) -> bool:
    kind = node.kind.lower()
    return "conditioning" not in kind and any(word in kind for word in _GLUED)


def _list_different(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in (text.strip() for text in texts) if text))
