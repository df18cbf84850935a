"""What a server does not survive or silently does otherwise: one small function for each, by subject."""
