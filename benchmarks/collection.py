"""A collection of pictures that nobody made: what they would say about themselves, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.search.source import NONE_KNOWN, Entry, FileStamp, KnownFolders, Listing

_COMMON = (
    "portrait woman man fox cat dog landscape city night snow forest mountain sea light detailed photo cinematic "
    "soft warm blue red green golden old young street rain morning evening house castle robot dragon flower garden "
    "river bridge boat sky cloud sun moon star winter summer autumn spring lighthouse astronaut watercolour"
)
COMMON = tuple(_COMMON.split())
"""From the most to the least frequent."""
MODELS = tuple(f"{name}_{number}.ckpt" for name in ("flux", "qwen", "sdxl", "z_image") for number in range(10))
SIZES = ((1024, 1024), (1344, 768), (768, 1344), (512, 512))
_FILES_PER_FOLDER = 1000
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
_MINUTES_APART = 3


def make_rare_words(count: int = 30_000) -> list[str]:
    """Words that look like words."""
    dice = random.Random(7)
    syllables = [a + b for a in "bcdfgklmnprst" for b in "aeiou"]
    return ["".join(dice.choices(syllables, k=dice.randint(2, 5))) for _ in range(count)]


@dataclass(frozen=True)
class MadeUpSource:
    """Pictures that exist as numbers only.

    Attributes
    ----------
    first, last
        Numbers of its pictures.
    """

    first: int
    last: int
    root: Path = Path("/nowhere")
    kind: str = "folders"

    def is_there(self) -> bool:
        """Always."""
        return True

    def list_folders(self, known: KnownFolders = NONE_KNOWN) -> Iterator[Listing]:
        """A thousand pictures in each."""
        for start in range(self.first, self.last, _FILES_PER_FOLDER):
            numbers = range(start, min(start + _FILES_PER_FOLDER, self.last))
            yield Listing(self.root / f"{start}", {f"{n}.png": FileStamp(n + 1, 1, n) for n in numbers})

    def read(self, path: Path) -> Iterator[Entry]:
        """One picture."""
        number = int(path.stem)
        yield Entry("", f"made-{number}", path.stem, FIRST, make_facts(number))

    def find_place(self, path: Path, key: str) -> str | None:
        """Where it would be."""
        return str(path)

    def read_preview(self, path: Path, key: str) -> bytes:
        """Nothing to see."""
        return b""


_WEIGHTS = tuple(accumulate(1 / (place + 1) for place in range(len(COMMON))))
_RARE = make_rare_words()


def make_facts(number: int) -> ImageMetadata:
    """What a picture says about itself: common words as in natural language, and some that few have."""
    dice = random.Random(number)
    words = dice.choices(COMMON, cum_weights=_WEIGHTS, k=dice.randint(6, 14))
    words += [_RARE[int(len(_RARE) * dice.random() ** 3)] for _ in range(dice.randint(2, 6))]
    dice.shuffle(words)
    width, height = SIZES[int(len(SIZES) * dice.random() ** 2)]
    return ImageMetadata(
        "draw-things",
        width,
        height,
        prompt=f"a {' '.join(words[:4])} in the {' '.join(words[4:])}",
        model=MODELS[int(len(MODELS) * dice.random() ** 2)],
        seed=number * 2654435761 % 2**32,
        created=FIRST + timedelta(minutes=_MINUTES_APART * number),
    )
