"""Messages ↔ values, without sockets, async or files; besides the simulator only this room knows generated code."""
