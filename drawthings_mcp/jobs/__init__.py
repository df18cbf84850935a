"""Renders as jobs: in this process, durable ones of ``serve --http``, and the board on which all can be seen."""
