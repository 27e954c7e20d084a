"""Papers out of files of many formats, and back into them."""
