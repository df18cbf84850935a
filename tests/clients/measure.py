"""What a client did, read from what the server and the model were sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.scripted_model import MARK, is_result

_BASE64 = re.compile(r"[A-Za-z0-9+/]{2000,}")
_PICTURE_KINDS = {"image", "input_image", "image_url", "file"}
_TOKENS = re.compile(r"~([\d,]+) tokens")
_TOKENS_PER_CHARACTER = 0.7
"""Of base64 that is read as text, measured with cl100k."""

AS_TEXT = "as base64 text"


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of one call as the server sent it."""

    texts: tuple[str, ...]
    pictures: tuple[str, ...]

    @property
    def spent(self) -> int:
        """Tokens of its pictures, as its line says."""
        found = _TOKENS.search("".join(self.texts))
        return int(found[1].replace(",", "")) if found else 0


@dataclass(slots=True)
class Recording:
    """What passed between a client and the server in one session, and how it ended."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Recording:
        """From the log of ``recorder.py``; empty when there is none."""
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return cls([json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")])

    def pick(self, kind: str) -> list[Any]:
        """Values of one kind, in their order."""
        return [entry[kind] for entry in self.entries if kind in entry]

    @property
    def name(self) -> tuple[str, str]:
        """Name and version by which the client introduces itself; that of a handshake, where there is one."""
        messages = sorted(self.pick("client"), key=lambda message: _get(message, "method") != "initialize")
        for message in messages:
            params = _get(message, "params") or {}
            meta = params.get("_meta") or {}
            info = params.get("clientInfo") or meta.get("io.modelcontextprotocol/clientInfo")
            if info:
                return str(info.get("name", "")), str(info.get("version", ""))
        return "", ""

    @property
    def handshake(self) -> str:
        """The version of the protocol that was agreed on."""
        for message in self.pick("server"):
            result = _get(message, "result") or {}
            if "protocolVersion" in result:
                return str(result["protocolVersion"])
        return "2026-07-28" if self.pick("server") else ""

    @property
    def tools(self) -> frozenset[str]:
        """Names of those that the client was given for its model."""
        return self._list_tools(is_for_views=False)

    @property
    def view_tools(self) -> frozenset[str]:
        """Names of those that are for views alone; only clients that show views are given any."""
        return self._list_tools(is_for_views=True)

    def _list_tools(self, *, is_for_views: bool) -> frozenset[str]:
        listed = (tool for message in self.pick("server") for tool in (_get(message, "result") or {}).get("tools", ()))
        return frozenset(tool["name"] for tool in listed if _is_for_views(tool) == is_for_views)

    @property
    def calls(self) -> list[str]:
        """The tools that were called."""
        methods = (message for message in self.pick("client") if _get(message, "method") == "tools/call")
        return [message["params"]["name"] for message in methods]

    @property
    def results(self) -> list[Sent]:
        """What the server answered to calls."""
        found = []
        for message in self.pick("server"):
            blocks = (_get(message, "result") or {}).get("content")
            if blocks and isinstance(blocks, list):
                texts = tuple(block["text"] for block in blocks if block["type"] == "text")
                found.append(Sent(texts, tuple(block["data"] for block in blocks if block["type"] == "image")))
        return found

    @property
    def ending(self) -> str:
        """What ended the server, in the order in which it came."""
        seen = [entry.get("signal") or ("EOF" if entry.get("event") == "eof" else "") for entry in self.entries]
        return " + ".join(dict.fromkeys(filter(None, seen))) or "SIGKILL"

    @property
    def cancellation(self) -> str:
        """The reason of a cancellation; empty when there was none."""
        for message in self.pick("client"):
            if _get(message, "method") == "notifications/cancelled":
                return str(message.get("params", {}).get("reason") or "without a reason")
        return ""


def _is_for_views(tool: Mapping[str, Any]) -> bool:
    return bool(tool.get("_meta", {}).get("ui", {}).get("visibility") == ["app"])


def _get(message: Any, key: str) -> Any:
    return message.get(key) if isinstance(message, Mapping) else None


@dataclass(frozen=True, slots=True)
class _Text:
    """A text in a request, with what it stands in, from outside inwards."""

    text: str
    parents: tuple[Mapping[str, Any], ...]
    keys: tuple[str, ...]

    @property
    def is_picture(self) -> bool:
        """Whether the interface takes it as a picture."""
        kinds = {str(parent.get("type")) for parent in self.parents}
        is_data = "functionResponse" in self.keys and "response" in self.keys
        return not is_data and bool(kinds & _PICTURE_KINDS or "inlineData" in self.keys)

    @property
    def place(self) -> str:
        """Where a picture stands, in words."""
        for parent in reversed(self.parents):
            if parent.get("type") == "tool_result":
                return "in the tool result"
            if parent.get("type") == "function_call_output":
                return "in the function's output"
            if parent.get("role") == "tool":
                return "in the tool message"
            if "functionResponse" in parent:
                return "in the function's response"
        last = self.parents[1] if len(self.parents) > 1 else {}
        is_beside = any(is_result(part) for part in last.get("parts", ()))
        return "beside the function's response" if is_beside else f"in the next {last.get('role', 'other')} message"


def _walk(value: Any, parents: tuple[Mapping[str, Any], ...] = (), keys: tuple[str, ...] = ()) -> Iterator[_Text]:
    """All texts of a request, in their order."""
    if isinstance(value, str):
        yield _Text(value, parents, keys)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, parents, keys)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, (*parents, value), (*keys, key))


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of one result on its way to the model.

    Attributes
    ----------
    picture
        Where the first picture stands; ``AS_TEXT``, or empty when it is nowhere.
    pictures
        How many arrived, of how many.
    unchanged
        Whether their bytes are those that were sent.
    text
        Whether the text arrived word for word.
    in_order
        Whether it stands before its pictures.
    characters
        By how much the request grew.
    tokens
        What it costs, about.
    held
        Whether the request still holds what the user asked.
    """

    picture: str
    pictures: tuple[int, int]
    unchanged: bool
    text: bool
    in_order: bool
    characters: int
    tokens: int
    held: bool


def follow(sent: Sent, requests: Sequence[str]) -> Passed | None:
    """What the first request that holds a result holds of it; None when no request does."""
    head = sent.texts[0]
    before = 0
    for request in requests:
        texts = list(_walk(json.loads(request)))
        if any(_holds(text.text, head[:40]) for text in texts):
            return _compare(sent, texts, len(request) - before, request)
        before = len(request)
    return None


def _holds(text: str, part: str) -> bool:
    return part in text or json.dumps(part)[1:-1] in text or json.dumps(part, ensure_ascii=False)[1:-1] in text


def _compare(sent: Sent, texts: Sequence[_Text], characters: int, request: str) -> Passed:
    words = [place for place, text in enumerate(texts) if _holds(text.text, sent.texts[0])]
    whole = [(place, text) for place, text in enumerate(texts) if text.text.endswith(sent.pictures) and text.is_picture]
    others = [(place, text) for place, text in enumerate(texts) if _BASE64.search(text.text) and text.is_picture]
    spilled = any(_is_spilled(text, sent) for text in texts)
    shown = whole or others
    picture = AS_TEXT if spilled else shown[0][1].place if shown and sent.pictures else ""
    arrived = len(sent.pictures) if spilled else len({text.text for _, text in shown})
    base64 = sum(map(len, sent.pictures))
    cost = round(base64 * _TOKENS_PER_CHARACTER) if spilled else sent.spent if picture else 0
    return Passed(
        picture=picture,
        pictures=(arrived if sent.pictures else 0, len(sent.pictures)),
        unchanged=bool(whole) and not spilled,
        text=bool(words),
        in_order=not shown or (bool(words) and words[0] < shown[0][0]),
        characters=characters,
        tokens=cost + len("".join(sent.texts)) // 4,
        held=MARK in request,
    )


def _is_spilled(text: _Text, sent: Sent) -> bool:
    """Whether a text holds the data of a picture and is none."""
    return not text.is_picture and any(data[:400] in text.text for data in sent.pictures)


def has_base64_text(requests: Sequence[str]) -> bool:
    """Whether any request holds base64 that is no picture to its interface."""
    return any(
        _BASE64.search(text.text) and not text.is_picture for request in requests for text in _walk(json.loads(request))
    )
