"""The user's pictures on disk, and the catalog that gives them ids."""
