"""What works, what does not, and which switch to flip: the questions of ``drawthings-mcp doctor``."""
