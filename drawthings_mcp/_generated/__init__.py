"""Made by ``make generate``; never edited."""
