"""Measurements of what is promised to be fast, each beside the plain way of doing the same."""
