"""Messages ↔ values, without sockets, async or files. The client's calls and the simulator know messages, too."""
