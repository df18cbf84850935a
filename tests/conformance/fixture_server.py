"""The product's server with the tools, resources and prompts that scenarios of the conformance suite ask for by name.

What they have to return is written in the suite, where each scenario describes itself.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import anyio
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import (
    AudioContent,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from drawthings_mcp.address import Address
from drawthings_mcp.cli.output import say
from drawthings_mcp.server import completion
from drawthings_mcp.server.app import build_server
from drawthings_mcp.server.http import HttpOptions, serve_http
from drawthings_mcp.server.session import Session
from drawthings_mcp.settings import load_settings
from drawthings_mcp.tensors.png import encode_png

Content: TypeAlias = TextContent | ImageContent | AudioContent | EmbeddedResource
_MISSING_CAPABILITY = -32021
_SILENCE = base64.b64encode(
    b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\2\0\0\0\0\0"
)
"""A WAV file of one sample."""


def draw_dot() -> bytes:
    import numpy as np

    return encode_png(np.full((1, 1, 3), 200, np.uint8), "")


def show_dot() -> ImageContent:
    return ImageContent(data=base64.b64encode(draw_dot()).decode(), mime_type="image/png")


def embed(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


CONTENTS: dict[str, list[Content]] = {
    "test_simple_text": [TextContent(text="This is a simple text response for testing.")],
    "test_image_content": [show_dot()],
    "test_audio_content": [AudioContent(data=_SILENCE.decode(), mime_type="audio/wav")],
    "test_embedded_resource": [embed("test://embedded-resource", "text/plain", "An embedded resource.")],
    "test_multiple_content_types": [
        TextContent(text="Multiple content types test:"),
        show_dot(),
        embed("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}
"""Tools that always return the same."""


def elicit(message: str, **properties: dict[str, Any]) -> ElicitRequest:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str, tokens: int) -> Any:
    from mcp.types import CreateMessageRequest, CreateMessageRequestParams

    messages = [SamplingMessage(role="user", content=TextContent(text=text))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=tokens))


_TEXT, _YES = {"type": "string"}, {"type": "boolean"}
_NAME = elicit("What is your name?", name=_TEXT)
ROUNDS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "test_input_required_result_elicitation": ([{"user_name": _NAME}], False),
    "test_input_required_result_sampling": (
        [{"capital_question": sample("What is the capital?", 100)}],
        False,
    ),
    "test_input_required_result_list_roots": ([{"client_roots": ListRootsRequest()}], False),
    "test_input_required_result_request_state": ([{"confirm": elicit("Please confirm", ok=_YES)}], True),
    "test_input_required_result_tampered_state": ([{"confirm": elicit("Please confirm", ok=_YES)}], True),
    "test_input_required_result_multiple_inputs": (
        [{"user_name": _NAME, "greeting": sample("Generate a greeting", 50), "client_roots": ListRootsRequest()}],
        True,
    ),
    "test_input_required_result_multi_round": (
        [
            {"step1": elicit("Step 1: What is your name?", name=_TEXT)},
            {"step2": elicit("Step 2: What is your favorite color?", color=_TEXT)},
        ],
        True,
    ),
    "test_input_required_result_capabilities": ([{"user_name": _NAME, "greeting": sample("A greeting", 50)}], False),
    "test_streaming_elicitation": ([{"user_name": _NAME}], False),
}
"""Tools that ask their client: what in each round, and whether they give it a state to send back."""


def lack(requests: dict[str, Any]) -> MCPError:
    """What a client is told that cannot do what a tool needs."""
    required: dict[str, Any] = {request.method.partition("/")[0]: {} for request in requests.values()}
    return MCPError(
        code=_MISSING_CAPABILITY, message="The client lacks a capability", data={"requiredCapabilities": required}
    )


def ask(context: Context[Any, Any], rounds: list[dict[str, Any]], has_state: bool) -> InputRequiredResult | None:
    """The next question; None once all are answered."""
    answers = context.input_responses or {}
    place = int(context.request_state or 0) if has_state else 0
    if rounds[place].keys() <= answers.keys():
        place += 1
    if place == len(rounds):
        return None
    params = context.request_context.session.client_params
    assert params is not None
    has = {
        "elicitation/create": params.capabilities.elicitation,
        "sampling/createMessage": params.capabilities.sampling,
        "roots/list": params.capabilities.roots,
    }
    wanted = {key: request for key, request in rounds[place].items() if has[request.method] is not None}
    if not wanted:
        raise lack(rounds[place])
    return InputRequiredResult(input_requests=wanted, request_state=str(place) if has_state else None)


def add_fixed_tools(server: MCPServer[Session]) -> None:
    def build(content: list[Content]) -> Callable[[], Awaitable[CallToolResult]]:
        async def tool() -> CallToolResult:
            return CallToolResult(content=[*content])

        return tool

    for name, content in CONTENTS.items():
        server.add_tool(build(content), name=name, description="A fixture.", structured_output=False)


def add_asking_tools(server: MCPServer[Session]) -> None:
    def build(rounds: list[dict[str, Any]], has_state: bool) -> Callable[..., Awaitable[Any]]:
        async def tool(ctx: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
            question = ask(ctx, rounds, has_state)
            answer = json.dumps(sorted(ctx.input_responses or {}))
            return question or CallToolResult(content=[TextContent(text=f"state-ok, answered: {answer}")])

        return tool

    for name, (rounds, has_state) in ROUNDS.items():
        server.add_tool(build(rounds, has_state), name=name, description="A fixture.", structured_output=False)


class _Response(BaseModel):
    response: str = Field(description="User's response")


class _Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def _titled(**titles: str) -> list[Any]:
    return [{"const": value, "title": title} for value, title in titles.items()]


class _Enums(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": ["option1", "option2", "option3"]})  # noqa: N815
    titledSingle: str = Field(json_schema_extra={"oneOf": _titled(value1="First", value2="Second")})  # noqa: N815
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2"]}})  # noqa: N815
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _titled(value1="First", value2="Second")}})  # noqa: N815
    legacyEnum: str = Field(json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["One", "Two"]})  # noqa: N815


async def _elicit(ctx: Context[Any, Any], message: str, schema: type[BaseModel]) -> CallToolResult:
    answer = await ctx.elicit(message=message, schema=schema)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return CallToolResult(content=[TextContent(text=f"action={answer.action}, content={content}")])


async def test_elicitation(ctx: Context[Any, Any], message: str) -> CallToolResult:
    return await _elicit(ctx, message, _Response)


async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> CallToolResult:
    return await _elicit(ctx, "Please review and update the form fields with defaults", _Defaults)


async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> CallToolResult:
    return await _elicit(ctx, "Please select options from the enum fields", _Enums)


async def test_sampling(ctx: Context[Any, Any], prompt: str) -> CallToolResult:
    messages = [SamplingMessage(role="user", content=TextContent(text=prompt))]
    answer = await ctx.request_context.session.create_message(messages=messages, max_tokens=100)
    text = answer.content.text if isinstance(answer.content, TextContent) else ""
    return CallToolResult(content=[TextContent(text=f"LLM response: {text}")])


async def test_tool_with_progress(ctx: Context[Any, Any]) -> CallToolResult:
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100, f"Completed step {progress} of 100")
        await anyio.sleep(0.05)
    return CallToolResult(content=[TextContent(text="done")])


async def test_error_handling() -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text="This tool intentionally returns an error for testing")], is_error=True
    )


async def test_missing_capability(ctx: Context[Any, Any]) -> CallToolResult:
    raise lack({"question": sample("Anything", 1)})


async def test_custom_headers(
    text: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Text"})],
) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


async def json_schema_2020_12_tool() -> CallToolResult:
    return CallToolResult(content=[TextContent(text="done")])


async def test_logging_tool(ctx: Context[Any, Any]) -> CallToolResult:
    """Logs nothing, as the product, which does not offer logging."""
    return CallToolResult(content=[TextContent(text="done")])


TOOLS: tuple[Callable[..., Awaitable[CallToolResult]], ...] = (
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_sampling,
    test_tool_with_progress,
    test_error_handling,
    test_missing_capability,
    test_custom_headers,
    test_logging_tool,
    json_schema_2020_12_tool,
)
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""Words of JSON Schema that must reach clients as they are."""


def add_resources(server: MCPServer[Session]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return draw_dot()

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_prompts(server: MCPServer[Session]) -> None:
    def write(content: Content) -> Any:
        return {"role": "user", "content": content}

    @server.prompt(description="A fixture.")
    def test_simple_prompt() -> list[Any]:
        return [write(TextContent(text="This is a simple prompt for testing."))]

    @server.prompt(description="A fixture.")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[Any]:
        return [write(TextContent(text=f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]

    @server.prompt(description="A fixture.")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803
        embedded = embed(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [write(embedded), write(TextContent(text="Please process the embedded resource above."))]

    @server.prompt(description="A fixture.")
    def test_prompt_with_image() -> list[Any]:
        return [write(show_dot()), write(TextContent(text="Please analyze the image above."))]

    @server.prompt(description="A fixture.")
    def test_input_required_result_prompt(ctx: Context[Any, Any]) -> Any:
        question = elicit("What context should the prompt use?", context=_TEXT)
        asked = ask(ctx, [{"user_context": question}], False)
        return asked or [write(TextContent(text="Use the context that was given."))]

    cast(dict[Any, Any], completion.COMPLETIONS)["test_prompt_with_arguments", "arg1"] = completion._complete_nothing


def build_fixture(settings: Any, session: Session) -> MCPServer[Session]:
    server = build_server(settings, session)
    server._tool_manager.list_tools()  # ours come first
    add_fixed_tools(server)
    add_asking_tools(server)
    for function in TOOLS:
        server.add_tool(function, description="A fixture.", structured_output=False)
    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = SCHEMA
    add_resources(server)
    add_prompts(server)
    return server


def main(folder: Path) -> None:
    settings = load_settings({"server": "demo", "output_dir": folder / "pictures", "state_dir": folder / "state"})
    options = HttpOptions(Address("127.0.0.1", 0))
    anyio.run(serve_http, settings, options, say, build_fixture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
