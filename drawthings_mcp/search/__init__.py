"""The user's pictures found again: by words, filters, visual likeness and meaning, and on the web when asked."""
