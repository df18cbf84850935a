"""HTTP to others than Draw Things servers."""
