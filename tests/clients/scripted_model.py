"""A model on loopback that follows a script, in the four interfaces that chat clients speak, and keeps what it is sent.

It answers each request by what the conversation in it holds: the first step of the script whose result is not there
yet is called; when all are there, or after too many requests, it says that it is done.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

MARK = "LABORATORY"
"""Stands in the question, so that requests for titles and summaries are told from the conversation."""
DONE = "The laboratory is done."
_MOST_REQUESTS = 14
_THINKING = 1.0
"""Seconds before a tool is called that was not offered yet: some clients ask before the server is there."""
_SEARCH = re.compile(r"tool_?search", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the script, and what its result has to hold for the next."""

    tool: str
    arguments: Mapping[str, object]
    expected: str


@dataclass(frozen=True, slots=True)
class Call:
    """What the model answers: a tool by the name under which it was offered, or text."""

    name: str = ""
    namespace: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict)
    number: int = 0

    @property
    def id(self) -> str:
        """That of the call; different for each request."""
        return f"call_lab{self.number:04d}"


class ScriptedModel:
    """Serves one conversation on a free port of 127.0.0.1.

    Attributes
    ----------
    requests
        Bodies of the conversation's requests, in the order in which they came.
    """

    def __init__(self, script: Sequence[Step], prefix: str) -> None:
        self.script = tuple(script)
        self.prefix = prefix
        self.requests: list[str] = []
        self._turn = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"model": self}))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, text: str) -> Call:
        """The next call of the script; one without a name when there is nothing more to call."""
        if MARK not in text or not (tools := list(_list_tools(json.loads(text)))):
            return Call()
        with self._turn:
            self.requests.append(text)
            number = len(self.requests)
        results = list(find_results(json.loads(text)))
        step = self._find_step(results)
        if step is None or number > _MOST_REQUESTS:
            return Call()
        offered = next((tool for tool in tools if tool.name.endswith(step.tool)), None)
        if offered is not None:
            return Call(offered.name, offered.namespace, offered.fill(step.arguments), number)
        search = next((tool.name for tool in tools if _SEARCH.search(tool.name)), "")
        if search and number % 2:
            return Call(search, "", {"query": f"select:{self.prefix}{step.tool}", "max_results": 5}, number)
        # What was found by a search, or comes late, is called by the name that the client gives to such tools.
        time.sleep(_THINKING)
        return Call(f"{self.prefix}{step.tool}", "", step.arguments, number)

    def _find_step(self, results: Sequence[str]) -> Step | None:
        """The first step without a result, in the order of the script."""
        left = iter(results)
        return next((step for step in self.script if not any(re.search(step.expected, text) for text in left)), None)


@dataclass(frozen=True, slots=True)
class _Offered:
    """A tool that a request offers."""

    name: str
    namespace: str
    schema: Mapping[str, Any]

    def fill(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        """The arguments, with something for each other that the client demands."""
        fields = self.schema.get("properties", {})
        missing = [name for name in self.schema.get("required", ()) if name not in arguments]
        return {**arguments, **{name: _make_up(fields.get(name, {})) for name in missing}}


def _make_up(schema: Mapping[str, Any]) -> object:
    """The default, or the least that a schema allows."""
    empty: dict[str, object] = {"array": [], "object": {}, "boolean": False, "string": ""}
    least = schema.get("minimum", empty.get(str(schema.get("type")), ""))
    return schema.get("default", next(iter(schema.get("enum", ())), least))


def _list_tools(value: Any, namespace: str = "") -> Iterator[_Offered]:
    """The tools of a request, in whichever interface."""
    for tool in value.get("tools", ()):
        if "functionDeclarations" in tool or tool.get("type") == "namespace":
            inner = {"tools": tool.get("functionDeclarations") or tool.get("tools", ())}
            yield from _list_tools(inner, tool.get("name", ""))
        else:
            entry = tool.get("function", tool)
            schema = entry.get("parameters") or entry.get("input_schema") or entry.get("parametersJsonSchema") or {}
            yield _Offered(entry.get("name", ""), namespace, schema)


def find_results(value: Any) -> Iterator[str]:
    """The results of calls in a request, each as JSON, in their order."""
    if isinstance(value, list):
        for item in value:
            yield from find_results(item)
    elif isinstance(value, dict):
        if is_result(value):
            yield json.dumps(value, ensure_ascii=False)
        else:
            for item in value.values():
                yield from find_results(item)


def is_result(value: Mapping[str, Any]) -> bool:
    """Whether a part of a request is the result of a call."""
    kinds = ("tool_result", "function_call_output")
    # One framework has the results of calls in words of the user.
    is_observed = str(value.get("text")).startswith("Observation:")
    return value.get("type") in kinds or value.get("role") == "tool" or "functionResponse" in value or is_observed


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, and answers in the interface that its path belongs to."""

    model: ScriptedModel
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Lists of models, and whatever else is looked for."""
        entry = {"id": "scripted", "object": "model", "owned_by": "lab", "name": "models/scripted"}
        self._send_json({"object": "list", "data": [entry], "models": []})

    def do_POST(self) -> None:
        """One answer of the model."""
        text = self._read()
        if "count" in self.path.lower().split("?")[0].rsplit("/", 1)[-1]:
            return self._send_json({"input_tokens": 100, "totalTokens": 100})
        call = self.model.answer(text)
        body = json.loads(text or "{}")
        streams = bool(body.get("stream")) or "streamGenerateContent" in self.path
        path = self.path.split("?")[0]
        if path.endswith("/messages"):
            events, whole = _answer_anthropic(call)
        elif path.endswith("/responses"):
            events, whole = _answer_responses(call)
        elif path.endswith("/completions"):
            events, whole = _answer_chat(call)
        elif "generateContent" in path or "streamGenerateContent" in path:
            events, whole = _answer_gemini(call)
        else:
            return self._send_json({})
        return self._send_events(events) if streams else self._send_json(whole)

    def _read(self) -> str:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(parts)
        else:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
        encoding = self.headers.get("content-encoding", "")
        if encoding == "gzip":
            import gzip

            data = gzip.decompress(data)
        return data.decode()

    def _send_json(self, value: object) -> None:
        self._send("application/json", json.dumps(value).encode())

    def _send_events(self, events: Sequence[_Event]) -> None:
        lines = []
        for event in events:
            name = event.get("type") if isinstance(event, Mapping) else None
            data = event if isinstance(event, str) else json.dumps(event)
            lines.append((f"event: {name}\n" if name else "") + f"data: {data}\n\n")
        self._send("text/event-stream", "".join(lines).encode())

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


_Event: TypeAlias = Mapping[str, Any] | str
_Answer: TypeAlias = tuple[Sequence[_Event], Mapping[str, Any]]
"""The events of a stream, and the answer in one."""


def _answer_anthropic(call: Call) -> _Answer:
    usage = {"input_tokens": 100, "output_tokens": 10}
    block: dict[str, Any] = {"type": "text", "text": DONE}
    delta: dict[str, Any] = {"type": "text_delta", "text": DONE}
    start = {**block, "text": ""}
    if call.name:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        start = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call.arguments)}
    reason = "tool_use" if call.name else "end_turn"
    message = {"id": f"msg_{call.id}", "type": "message", "role": "assistant", "model": "scripted", "usage": usage}
    ending = {"stop_reason": reason, "stop_sequence": None}
    events: list[_Event] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ending, "usage": usage},
        {"type": "message_stop"},
    ]
    return events, {**message, "content": [block], **ending}


def _answer_responses(call: Call) -> _Answer:
    item: dict[str, Any] = {
        "type": "message",
        "id": f"msg_{call.id}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": DONE, "annotations": []}],
    }
    if call.name:
        item = {
            "type": "function_call",
            "id": f"fc_{call.id}",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(call.arguments),
            "status": "completed",
            **({"namespace": call.namespace} if call.namespace else {}),
        }
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 110,
    }
    response = {
        "id": f"resp_{call.id}",
        "object": "response",
        "created_at": 1,
        "model": "scripted",
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "temperature": None,
        "top_p": None,
    }
    whole = {**response, "status": "completed", "output": [item], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)], whole


def _answer_chat(call: Call) -> _Answer:
    message: dict[str, Any] = {"role": "assistant", "content": DONE}
    if call.name:
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"index": 0, "id": call.id, "type": "function", "function": function}],
        }
    reason = "tool_calls" if call.name else "stop"
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    head = {"id": f"chat_{call.id}", "created": 1, "model": "scripted"}
    chunk = {**head, "object": "chat.completion.chunk"}
    events: list[_Event] = [
        {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage},
        "[DONE]",
    ]
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return events, {**head, "object": "chat.completion", "choices": [choice], "usage": usage}


def _answer_gemini(call: Call) -> _Answer:
    part: dict[str, Any] = {"text": DONE}
    if call.name:
        part = {"functionCall": {"name": call.name, "args": call.arguments}}
    whole = {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110},
        "modelVersion": "scripted",
    }
    return [whole], whole
