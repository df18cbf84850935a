"""How many typing errors lie between two words. Pure."""

from __future__ import annotations


def within_distance(one: str, other: str, limit: int) -> int | None:
    """Letters to insert, delete, replace or swap with their neighbour to get from one word to another.

    None when more than ``limit`` are needed (optimal string alignment).
    """
    if abs(len(one) - len(other)) > limit:
        return None
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last_before, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and wanted == one[i - 2]:
                cost = min(cost, last_before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return None
    return row[-1] if row[-1] <= limit else None
