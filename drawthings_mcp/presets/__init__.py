"""Presets: recommended settings per model, mode and family, the user's own, and how they are laid over each other."""

from drawthings_mcp.presets.cells import (
    CUSTOM,
    Chosen,
    choose_model,
    choose_recipe,
    choose_variant,
    explain_gap,
    find_strength,
    list_families,
    list_preferred_models,
    list_recipes_for,
    match_family,
    parse_cell_name,
)
from drawthings_mcp.presets.checkpoints import find_family, strip_variant
from drawthings_mcp.presets.collection import PresetCollection, read_presets
from drawthings_mcp.presets.layers import DEFAULT, Layer, Merged, join_loras, merge
from drawthings_mcp.presets.preset import Preset
from drawthings_mcp.presets.recipes import find_recipe, list_recipes, recommended_configuration

__all__ = [
    "CUSTOM",
    "DEFAULT",
    "Chosen",
    "Layer",
    "Merged",
    "Preset",
    "PresetCollection",
    "choose_model",
    "choose_recipe",
    "choose_variant",
    "explain_gap",
    "find_family",
    "find_recipe",
    "find_strength",
    "join_loras",
    "list_families",
    "list_preferred_models",
    "list_recipes",
    "list_recipes_for",
    "match_family",
    "merge",
    "parse_cell_name",
    "read_presets",
    "recommended_configuration",
    "strip_variant",
]
