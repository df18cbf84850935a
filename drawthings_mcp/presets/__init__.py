"""Presets: recommended settings per model, mode and family, the user's own, and how they are laid over each other."""
