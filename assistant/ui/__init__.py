"""The page: its tabs, its HTML, its scripts and styles, and what it keeps."""
