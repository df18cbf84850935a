"""References to images → records of the catalog: ids, paths, data and URLs, checked before they are believed."""
