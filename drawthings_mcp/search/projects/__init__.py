"""The app's own project files, read without ever writing beside them (formats §5)."""

from drawthings_mcp.search.projects.entry import ProjectEntry
from drawthings_mcp.search.projects.project_file import ProjectFile
from drawthings_mcp.search.projects.reference import format_reference, is_project, parse_reference

__all__ = ["ProjectEntry", "ProjectFile", "format_reference", "is_project", "parse_reference"]
