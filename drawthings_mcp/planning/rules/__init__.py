"""What a server does not survive or silently does in another way: one small function for each, by subject."""
