"""``python -m drawthings_mcp`` is ``drawthings-mcp``."""

from drawthings_mcp.cli import main

if __name__ == "__main__":
    main()
