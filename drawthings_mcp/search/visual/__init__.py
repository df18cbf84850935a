"""How pictures look: their features, and finding what looks alike."""
