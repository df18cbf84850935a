"""One question to an agent of each Python framework, by the example of its documentation.

Run by the Python of the framework's own environment: ``frameworks.py FUNCTION SERVER QUESTION``.
"""

from __future__ import annotations

import asyncio
import os
import sys

_MODEL = "scripted"
_PATIENCE = 120


async def openai_responses(server: str, question: str) -> None:
    from agents import OpenAIResponsesModel

    await _ask_openai(OpenAIResponsesModel, server, question)


async def openai_chat(server: str, question: str) -> None:
    from agents import OpenAIChatCompletionsModel

    await _ask_openai(OpenAIChatCompletionsModel, server, question)


async def _ask_openai(kind: type, server: str, question: str) -> None:
    from agents import Agent, Runner, set_tracing_disabled
    from agents.mcp import MCPServerStdio
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    async with MCPServerStdio(params={"command": server}, client_session_timeout_seconds=_PATIENCE) as tools:
        agent = Agent(name="lab", mcp_servers=[tools], model=kind(model=_MODEL, openai_client=AsyncOpenAI()))
        await Runner.run(agent, question)


async def pydantic(server: str, question: str) -> None:
    from fastmcp.client import Client
    from fastmcp.client.transports import StdioTransport
    from pydantic_ai import Agent
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.models.openai import OpenAIChatModel

    toolset = MCPToolset(Client(StdioTransport(server, [])))
    await Agent(OpenAIChatModel(_MODEL), toolsets=[toolset]).run(question)


async def langchain(server: str, question: str) -> None:
    from langchain.agents import create_agent
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.tools import load_mcp_tools
    from langchain_openai import ChatOpenAI

    client = MultiServerMCPClient({"drawthings": {"transport": "stdio", "command": server, "args": []}})
    async with client.session("drawthings") as session:
        agent = create_agent(ChatOpenAI(model=_MODEL), await load_mcp_tools(session))
        await agent.ainvoke({"messages": [{"role": "user", "content": question}]})


async def agno(server: str, question: str) -> None:
    from agno.agent import Agent
    from agno.models.openai import OpenAIChat
    from agno.tools.mcp import MCPTools
    from mcp import StdioServerParameters

    parameters = StdioServerParameters(command=server, env=dict(os.environ))
    async with MCPTools(server_params=parameters, timeout_seconds=_PATIENCE) as tools:
        await Agent(model=OpenAIChat(id=_MODEL), tools=[tools], telemetry=False).arun(question)


async def strands(server: str, question: str) -> None:
    from mcp import StdioServerParameters, stdio_client
    from strands import Agent
    from strands.models.openai import OpenAIModel
    from strands.tools.mcp import MCPClient

    def ask() -> None:
        with MCPClient(lambda: stdio_client(StdioServerParameters(command=server))) as tools:
            Agent(model=OpenAIModel(model_id=_MODEL), tools=tools.list_tools_sync())(question)

    await asyncio.to_thread(ask)


async def smolagents(server: str, question: str) -> None:
    from mcp import StdioServerParameters
    from smolagents import MCPClient, OpenAIServerModel, ToolCallingAgent

    def ask() -> None:
        parameters = StdioServerParameters(command=server, env=dict(os.environ))
        with MCPClient(parameters, structured_output=False) as tools:
            model = OpenAIServerModel(_MODEL, api_base=os.environ["OPENAI_BASE_URL"], api_key="x")
            ToolCallingAgent(tools=tools, model=model, max_steps=8).run(question)

    await asyncio.to_thread(ask)


async def google(server: str, question: str) -> None:
    from google.adk.agents import LlmAgent
    from google.adk.runners import InMemoryRunner
    from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams
    from google.genai import types
    from mcp import StdioServerParameters

    parameters = StdioConnectionParams(server_params=StdioServerParameters(command=server), timeout=_PATIENCE)
    tools = McpToolset(connection_params=parameters)
    runner = InMemoryRunner(LlmAgent(name="lab", model="gemini-2.5-pro", tools=[tools]), app_name="lab")
    session = await runner.session_service.create_session(app_name="lab", user_id="lab")
    message = types.Content(role="user", parts=[types.Part(text=question)])
    async for _ in runner.run_async(user_id="lab", session_id=session.id, new_message=message):
        pass
    await tools.close()


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
