"""Chat clients' configuration files: which there are, where they stand, and the entry that starts this program."""
