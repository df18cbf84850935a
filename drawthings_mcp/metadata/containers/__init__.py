"""Picture files of each format → the texts, EXIF block and size in them, without reading a pixel."""
