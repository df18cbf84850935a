"""What picture files say about how they were made: one file per dialect, and one per container."""
