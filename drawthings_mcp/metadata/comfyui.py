"""ComfyUI: the graph that made a picture → what was asked of it (formats §4.2).

Anybody can write nodes, so inputs are known by their names rather than nodes by theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from drawthings_mcp.metadata.a1111 import join_sampler, parse_a1111
from drawthings_mcp.metadata.comfyui_graph import Graph, GraphNode, Link, parse_graph, walk_up
from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    Weights,
    complete_metadata,
    find_float,
    find_int,
    find_text,
    parse_object,
)

_MARKS = ('"class_type"', '"nodes"', '"prompt"', '"workflow"')
"""One of which every comment with a graph has."""
_NOT_GIVEN = "unknown"
"""What the Image Saver node writes for a prompt that it was not given."""
_MAX_SAMPLERS = 20
"""Whose prompts are kept."""

_SAMPLERS = frozenset(("SamplerCustom", "SamplerCustomAdvanced", "WanVideoSampler", "DrawThingsSampler"))
_AGAIN = ("detailer", "upscale")
"""Nodes that sample, but only to repair or enlarge what another made."""
_SEEDS = ("seed", "noise_seed")
_MODELS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name", "gguf_name", "model")
_STRENGTHS = ("denoise", "strength", "denoise_strength")
_NO_MODEL = frozenset(
    (
        *("clip", "vae", "positive", "negative", "conditioning", "image", "images", "pixels", "mask", "control_net"),
        *("latent", "latent_image", "samples", "noise", "sigmas", "text_embeds", "image_embeds"),
    )
)
"""Inputs by which no model comes."""
_LORA = re.compile(r"lora(?:_name)?(_?\d+)?")
_WEIGHTS = ("strength_model", "strength", "model_weight", "model_str", "lora_wt", "weight")
_MAX_DETOUR = 50
"""Nodes between an input and the number that is handed on to it."""
_MAX_ENCODERS = 20
"""Texts that are gathered where it is not known which was used."""
_PREFERRED = (*_SEEDS, "value", "int", "number", "float")
"""Inputs of a node that hands on a number, the likeliest first."""

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


def parse_comfyui(tags: ImageTags) -> ImageMetadata | None:
    """What the graph that was executed says, else the one that was drawn; None when there is neither.

    Nodes that write a text of parameters besides the graph say there what they were given, which counts first.
    """
    graph = parse_graph(tags.texts.get("prompt"), tags.texts.get("workflow")) or _parse_comment(tags.comment)
    if graph is None:
        return None
    found, text = _build_metadata(graph), parse_a1111(tags)
    return found if text is None else _prefer_text(text, found)


def _parse_comment(text: str) -> Graph | None:
    """The graph of an object with both graphs in a comment, or of one that is a graph itself."""
    data = (parse_object(text) or {}) if any(mark in text for mark in _MARKS) else {}
    return parse_graph(data.get("prompt"), data.get("workflow")) or parse_graph(data, data)


def _prefer_text(text: ImageMetadata, graph: ImageMetadata) -> ImageMetadata:
    found = replace(
        text,
        dialect=graph.dialect,
        prompt="" if text.prompt == _NOT_GIVEN else text.prompt,
        negative_prompt="" if text.negative_prompt == _NOT_GIVEN else text.negative_prompt,
        loras=graph.loras or text.loras,  # the graph has files, the text what somebody calls them
        software=graph.software,
    )
    return complete_metadata(found, graph)


def _build_metadata(graph: Graph) -> ImageMetadata:
    samplers = _list_samplers(graph)
    sampler = _find_sampler(graph, samplers)
    if sampler is None:
        return _build_roughly(graph)
    guide = _find_guided(graph, sampler).inputs
    inputs, positive = sampler.inputs, _find_positive(guide)
    prompted = [node for node in reversed(samplers) if node is sampler or _is_guided(node)][:_MAX_SAMPLERS]
    model, loras = _find_model(graph, inputs.get("model", guide.get("model")))
    schedule = inputs.get("sigmas")
    guidance = _find_number(graph, inputs, "cfg")
    guidance = _find_number(graph, guide, "cfg", "cfg_conds") if guidance is None else guidance
    return ImageMetadata(
        dialect="comfyui",
        prompt=_join(_read_prompt(graph, node) for node in prompted),
        negative_prompt=_join(_read_negative(graph, node) for node in prompted),
        model=model,
        loras=loras,
        seed=_find_seed(graph, inputs),
        steps=find_int(_find_here_or_up(graph, inputs, schedule, "steps")),
        guidance_scale=_find_upstream(graph, positive, "guidance") if guidance is None else guidance,
        sampler=join_sampler(
            _find_name(graph, inputs, inputs.get("sampler"), "sampler_name"),
            _find_name(graph, inputs, schedule, "scheduler"),
        ),
        strength=_find_here_or_up(graph, inputs, schedule, *_STRENGTHS),
        software="ComfyUI",
    )


def _build_roughly(graph: Graph) -> ImageMetadata:
    """The metadata without a sampler that is known: whatever is encoded, the first model."""
    encoders = islice((key for key, node in graph.items() if "TextEncode" in node.kind), _MAX_ENCODERS)
    texts = [_PromptReader(graph, "positive").read(Link(key)) for key in encoders]
    models = (_name_model(node) for node in graph.values())
    return ImageMetadata(
        dialect="comfyui",
        prompt="\n".join(dict.fromkeys(filter(None, texts))),
        model=next(filter(None, models), ""),
        loras=tuple(lora for node in graph.values() for lora in _list_loras(graph, node)),
        software="ComfyUI",
    )


def _join(texts: Iterable[str]) -> str:
    return "\n".join(dict.fromkeys(filter(None, texts)))


def _find_positive(guide: Mapping[str, Any]) -> Any:
    return next((guide[name] for name in ("positive", "conditioning", "cond1", "text_embeds") if name in guide), None)


def _read_prompt(graph: Graph, sampler: GraphNode) -> str:
    """The prompt that reaches a sampler, or the text of its own that it takes in place of one."""
    reader, positive = _PromptReader(graph, "positive"), _find_positive(_find_guided(graph, sampler).inputs)
    found = reader.read(Link("") if positive is None else positive)
    return found or _PromptReader(graph, "positive").resolve(sampler.inputs.get("prompt", ""))


def _read_negative(graph: Graph, sampler: GraphNode) -> str:
    guide = _find_guided(graph, sampler).inputs
    return _PromptReader(graph, "negative").read(guide.get("negative", guide.get("text_embeds")))


def _list_samplers(graph: Graph) -> list[GraphNode]:
    """Every sampler, the nearest to what was saved first; of several that were saved the last."""
    used = {source.node for node in graph.values() for source in node.inputs.values() if isinstance(source, Link)}
    ends = [key for key in reversed(list(graph)) if key not in used]
    ends.sort(key=lambda key: "save" not in graph[key].kind.lower())
    seen: set[str] = set()
    order = [node for end in ends for node in walk_up(graph, Link(end), seen=seen)]
    # In a graph that runs in circles nothing is an end.
    left = (node for key, node in graph.items() if key not in seen)
    return [node for node in (*order, *left) if _samples(node)]


def _find_sampler(graph: Graph, samplers: Sequence[GraphNode]) -> GraphNode | None:
    """The first that does not only repair; of one run in several passes the one that began it."""
    first = next((node for node in samplers if not _repairs(node)), next(iter(samplers), None))
    return first and _find_beginning(graph, first)


def _samples(node: GraphNode) -> bool:
    return _is_guided(node) or ("prompt" in node.inputs and _has_seed(node))


def _is_guided(node: GraphNode) -> bool:
    """Whether a sampler gets its prompts from other nodes, as all do that are not one node for everything."""
    names = node.inputs.keys()
    if node.kind in _SAMPLERS or names >= {"sampler_name", "steps", "cfg"}:
        return True
    return _has_seed(node) and "steps" in names and not names.isdisjoint(("positive", "guider"))


def _has_seed(node: GraphNode) -> bool:
    return not node.inputs.keys().isdisjoint(_SEEDS)


def _repairs(node: GraphNode) -> bool:
    return any(word in node.kind.lower() for word in _AGAIN)


def _find_beginning(graph: Graph, sampler: GraphNode) -> GraphNode:
    if sampler.inputs.get("add_noise") not in ("disable", False):
        return sampler
    earlier = (node for node in walk_up(graph, sampler.inputs.get("latent_image")) if _samples(node))
    return next((node for node in earlier if node.inputs.get("add_noise") not in ("disable", False)), sampler)


def _find_guided(graph: Graph, sampler: GraphNode) -> GraphNode:
    """The node that the conditionings go to: the sampler, or the guider before it."""
    guiders = walk_up(graph, sampler.inputs.get("guider"))
    named = (node for node in guiders if not node.inputs.keys().isdisjoint(("positive", "conditioning", "cond1")))
    return next(named, sampler)


def _find_model(graph: Graph, value: Any) -> tuple[str, Weights]:
    """The model at the end of a chain, and the LoRAs on it in the order in which they apply."""
    chain = list(walk_up(graph, value, lambda name: name not in _NO_MODEL))
    entered = "" if isinstance(value, Link) else _name_file(value)
    names = (_name_model(node) for node in chain)
    loras = [lora for node in reversed(chain) for lora in _list_loras(graph, node)]
    return entered or next(filter(None, names), ""), tuple(loras)


def _name_model(node: GraphNode) -> str:
    return next((name for key in _MODELS if key in node.inputs and (name := _name_file(node.inputs[key]))), "")


def _name_file(value: Any) -> str:
    """A file that was entered as its name, or as an object that names it."""
    if isinstance(value, dict):
        return next((found for key in ("file", "value", "lora", "name") if (found := _name_file(value.get(key)))), "")
    return find_text(value)


def _list_loras(graph: Graph, node: GraphNode) -> Iterator[tuple[str, float | None]]:
    for key, value in node.inputs.items():
        if key[:4].lower() != "lora":  # as most inputs, quickly
            continue
        match = _LORA.fullmatch(key.lower())
        name = _name_file(value) if match else ""
        if match is None or name in ("", "None"):
            continue
        suffix = match[1] or ""
        if isinstance(value, dict):
            if value.get("on", True) is not False:
                yield name, find_float(value.get("strength", value.get("weight")))
        elif node.inputs.get(f"switch{suffix}") != "Off":
            yield name, _find_number(graph, node.inputs, *(f"{weight}{suffix}" for weight in _WEIGHTS))


def _find_seed(graph: Graph, inputs: Any) -> int | None:
    seed = _find_number(graph, inputs, *_SEEDS, whole=True)
    return find_int(_find_upstream(graph, inputs.get("noise"), *_SEEDS, whole=True) if seed is None else seed)


def _find_here_or_up(graph: Graph, inputs: Any, way: Any, *names: str) -> Any:
    """A number of the sampler itself, or of the nearest node along one of its inputs."""
    found = _find_number(graph, inputs, *names)
    return _find_upstream(graph, way, *names) if found is None else found


def _find_upstream(graph: Graph, value: Any, *names: str, whole: bool = False) -> Any:
    numbers = (_find_number(graph, node.inputs, *names, whole=whole) for node in walk_up(graph, value))
    return next((number for number in numbers if number is not None), None)


def _find_number(graph: Graph, inputs: Any, *names: str, whole: bool = False) -> Any:
    """The number that was entered for the first of some inputs, or that a node hands on to it."""
    read = find_int if whole else find_float
    for name in names:
        value = inputs.get(name)
        if isinstance(value, Link):
            value = next(_list_numbers(graph, value, whole), None)
        if (number := read(value)) is not None:
            return number
    return None


def _list_numbers(graph: Graph, link: Link, whole: bool) -> Iterator[Any]:
    read = find_int if whole else find_float
    for node in walk_up(graph, link, limit=_MAX_DETOUR):
        values = [*(node.inputs.get(name) for name in _PREFERRED), *node.inputs.values()]
        yield from (value for value in values if not isinstance(value, str) and read(value) is not None)


def _find_name(graph: Graph, inputs: Any, way: Any, name: str) -> str:
    """A name that was entered at the sampler, handed on to it, or entered at the nearest node along an input."""
    value = inputs.get(name)
    if isinstance(value, str):
        return value
    ways = (*walk_up(graph, value), *walk_up(graph, way))
    return next((found for node in ways for key in (name, "value") if (found := find_text(node.inputs.get(key)))), "")


class _PromptReader:
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
        return "\n".join(dict.fromkeys(filter(None, map(str.strip, self._list_texts(value)))))

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

    def _read_encoder(self, node: GraphNode) -> list[str]:
        own = [node.inputs.get(name) for name in (self._side, f"{self._side}_prompt", f"text_{self._side}")]
        entered = [text for text in own if isinstance(text, str)]
        linked = [node.inputs[f"{self._side}_prompt"]] if isinstance(own[1], Link) else []
        if entered or linked:
            return [*entered, *(self.resolve(link) for link in linked)]
        if _is_glue(node):
            return [self._glue(node)]
        return [self.resolve(node.inputs[name]) for name in _ENCODED if isinstance(node.inputs.get(name), str | Link)]

    def _list_conditionings(self, node: GraphNode) -> list[Link]:
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

    def _glue(self, node: GraphNode) -> str:
        glue = next((node.inputs[name] for name in _GLUE if isinstance(node.inputs.get(name), str)), " ")
        sources = [
            source for name, source in node.inputs.items() if name not in _FLAGS and isinstance(source, str | Link)
        ]
        return glue.replace("\\n", "\n").join(filter(None, (self.resolve(source) for source in sources)))

    def _visit(self, value: Any) -> GraphNode | None:
        """The node at the other end of a link; None when its text has been read."""
        if not isinstance(value, Link) or value.node in self._seen or len(self._seen) >= _MAX_NODES:
            return None
        self._seen.add(value.node)
        return self._graph.get(value.node)


def _is_glue(node: GraphNode) -> bool:
    kind = node.kind.lower()
    return "conditioning" not in kind and any(word in kind for word in _GLUED)
