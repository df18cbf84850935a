"""Questions about the models and LoRAs that are recommended: is there one of each family, and the fast way to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from drawthings_mcp.doctor.evidence import Evidence
from drawthings_mcp.doctor.finding import Verdict, blame, ok, problem, skipped, warning
from drawthings_mcp.doctor.inventory import FAMILIES, Inventory, list_fast_recipes
from drawthings_mcp.doctor.server import NOT_ASKED, Check
from drawthings_mcp.presets.mode_table import choose_model, find_recipe, list_preferred_models
from drawthings_mcp.presets.preset import Preset, strip_variant

_DOWNLOAD = "Download it in Draw Things (Settings → Model → Manage)"


def check_model(evidence: Evidence) -> Verdict:
    """Whether there is a model that ``generate_image`` can choose by itself."""
    inventory, refusal = evidence.talk.inventory, evidence.talk.refusal
    if inventory is None:
        unanswered = evidence.talk.info is not None and refusal is not None
        return blame(refusal) if unanswered and refusal else skipped(NOT_ASKED)
    chosen = choose_model(_list_files(inventory))
    if chosen is None:
        return problem(
            "none that generate_image could choose by itself",
            f"{_DOWNLOAD}: {_label(list_preferred_models()[0])}.",
        )
    return ok(f"generate_image chooses {_label(chosen)} when none is named")


def check_family(family: str, evidence: Evidence) -> Verdict:
    """Whether there is a model of a family, and which is the preferred one."""
    inventory = evidence.talk.inventory
    if inventory is None:
        return skipped(NOT_ASKED)
    preferred = list_preferred_models(family)
    best, chosen = preferred[0], choose_model(_list_files(inventory), family)
    if chosen is not None:
        same = strip_variant(chosen) == strip_variant(best)
        return ok(f"installed: {_label(chosen)}" + ("" if same else f"; preferred would be {_label(best)}"))
    if broken := [file for file in preferred if file in inventory.files]:
        return warning(
            f"{_label(broken[0])} is there, but a file that it needs is missing",
            f"{_DOWNLOAD} again: that fetches what is missing.",
        )
    return warning("not installed (needed only if you want this family)", f"{_DOWNLOAD}: {_label(best)}.")


def check_fast_loras(evidence: Evidence) -> Verdict:
    """Whether installed models have the LoRAs with which four steps are enough."""
    inventory = evidence.talk.inventory
    if inventory is None:
        return skipped(NOT_ASKED)
    usable = [recipe for recipe in list_fast_recipes() if set(recipe.checkpoint.files) & inventory.files]
    if not usable:
        return skipped("none is needed: no installed model has one")
    missing = [recipe for recipe in usable if not recipe.loras <= inventory.files]
    present = [recipe for recipe in usable if recipe not in missing]
    if missing:
        return warning(
            f"missing: {_join(missing)}{f'; installed: {_join(present)}' if present else ''}",
            "Download them in Draw Things (Settings → LoRA → Manage): pictures then take 4 steps instead of 30 or so.",
        )
    return ok(f"installed: {_join(present)}")


def _list_files(inventory: Inventory) -> list[str]:
    return [model.file for model in inventory.models]


def _label(file: str) -> str:
    """Display name and file of a model: ``Qwen Image 2512 (qwen_image_2512_q6p.ckpt)``."""
    recipe = find_recipe(file)
    return f"{recipe.name} ({file})" if recipe else file


def _join(recipes: list[Preset]) -> str:
    return ", ".join(map(_label_loras, recipes))


def _label_loras(recipe: Preset) -> str:
    # The app calls a LoRA "Qwen Image 2512 Lightning 4-Step v1.0" and its recipe "Qwen Image 2512 with Lightning …".
    return f"{recipe.name.replace(' with ', ' ')} ({', '.join(sorted(recipe.loras))})"


MODEL_CHECKS: Mapping[str, Check] = {
    "model": check_model,
    **{f"{family} model": partial(check_family, family) for family in FAMILIES},
    "4-step LoRAs": check_fast_loras,
}
