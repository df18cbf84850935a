"""The app's own project files, read without ever writing next to them (formats §5)."""
