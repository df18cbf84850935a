"""The Python face: clients that generate, decode and save, and ``generate_image`` for a first try."""
