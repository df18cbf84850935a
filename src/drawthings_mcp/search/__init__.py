"""Finding pictures again."""
