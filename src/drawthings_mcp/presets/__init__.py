"""Recommended settings per model, and the model to take when it is left open."""

from drawthings_mcp.presets.checkpoints import Checkpoint, find_family, strip_variant
from drawthings_mcp.presets.families import choose_model, list_preferred_models
from drawthings_mcp.presets.recipes import Recipe, find_recipe, list_recipes, recommended_configuration

__all__ = [
    "Checkpoint",
    "Recipe",
    "choose_model",
    "find_family",
    "find_recipe",
    "list_preferred_models",
    "list_recipes",
    "recommended_configuration",
    "strip_variant",
]
