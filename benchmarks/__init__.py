"""Measurements of what is promised to be fast, each next to the plain way of doing the same."""
