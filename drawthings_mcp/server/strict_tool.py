"""A tool that refuses what it does not know, in one short line per argument."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from mcp.types import CallToolResult, Icon, TextContent, ToolAnnotations
from pydantic import ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.quoting import shorten_text
from drawthings_mcp.server.arguments import ALIASES, read_arguments
from drawthings_mcp.server.face import MCP
from drawthings_mcp.validation import build_refusal, make_encodable

MAX_BLOCK = 24_000
"""Characters of any text block: a hundred rows of a listing."""
MAX_ERROR = 2_000
"""Characters of an error."""


class _PlainSchema(GenerateJsonSchema):
    """A flat schema: no titles, which repeat the names, and no "or null" for what may be left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        plain = super().default_schema(schema)
        return {key: value for key, value in plain.items() if key != "default" or value is not None}


class StrictTool(Tool):
    """A tool with closed arguments, whose failures a model can act on.

    Arguments that do not fit and every ``DrawThingsError`` become the text of an error result; anything else
    is a bug, which the SDK logs with its traceback and hides from the model.

    Attributes
    ----------
    withheld
        Arguments that there are, but not here: who gives one is told to leave it out.
    """

    withheld: frozenset[str] = frozenset()

    @classmethod
    def from_function(
        cls,
        fn: Callable[..., Any],
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        context_kwarg: str | None = None,
        annotations: ToolAnnotations | None = None,
        icons: list[Icon] | None = None,
        meta: dict[str, Any] | None = None,
        structured_output: bool | None = None,
    ) -> Self:
        """Like ``Tool.from_function``, with unknown arguments forbidden and titles left out of the schema."""
        tool = super().from_function(
            fn, name, title, description, context_kwarg, annotations, icons, meta, structured_output
        )
        metadata = tool.fn_metadata.model_copy(update={"arg_model": _closed(tool.fn_metadata.arg_model)})
        schema = metadata.arg_model.model_json_schema(schema_generator=_PlainSchema)
        schema.pop("title", None)
        closed = tool.model_copy(update={"fn_metadata": metadata, "parameters": schema})
        assert isinstance(closed, cls)
        return closed

    def trim(self, description: str, **offered: Collection[str] | None) -> Self:
        """The same tool for a small model, which is told of less; all else is still understood.

        Parameters
        ----------
        offered
            The arguments that it is told of; of those that are not None, these values.
        """
        shown = {name: dict(self.parameters["properties"][name]) for name in offered}
        for name, values in offered.items():
            if values is not None:
                shown[name]["enum"] = [value for value in shown[name]["enum"] if value in values]
        return self.model_copy(
            update={"parameters": {**self.parameters, "properties": shown}, "description": description}
        )

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Runs the tool; see ``Tool.run``.

        Raises
        ------
        ToolError
            With a text that says what was wrong and what to do next.
        """
        fields = self.fn_metadata.arg_model.model_fields
        try:
            return _make_sendable(await super().run(read_arguments(arguments, fields), context, convert_result))
        except ToolError as error:
            text = _explain_failure(error.__cause__, fields, self.withheld)
            if text is None:
                raise
            raise ToolError(make_encodable(shorten_text(text, MAX_ERROR))) from error.__cause__


def _make_sendable(result: Any) -> Any:
    """The result with texts that can be encoded: one that cannot be would end the connection."""
    if isinstance(result, CallToolResult):
        for block in result.content:
            if isinstance(block, TextContent):
                block.text = make_encodable(shorten_text(block.text, MAX_BLOCK))
        result.structured_content, result.meta = _clean(result.structured_content), _clean(result.meta)
    return result


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return make_encodable(value)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _closed(arg_model: type[ArgModelBase]) -> type[ArgModelBase]:
    class Arguments(arg_model):  # type: ignore[valid-type,misc]
        model_config = ConfigDict(extra="forbid")

    return Arguments


def _explain_failure(
    cause: BaseException | None, fields: Mapping[str, FieldInfo], withheld: Collection[str]
) -> str | None:
    if isinstance(cause, ValidationError):
        return build_refusal(cause, fields, {**ALIASES, **dict.fromkeys(withheld, ())}).word(MCP)
    if isinstance(cause, DrawThingsError):
        return cause.word_all(MCP)
    return None
