"""The parts of an index in a folder, and how they are written, searched, compared and mended."""
