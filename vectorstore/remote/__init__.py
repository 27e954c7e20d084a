"""An index on a Chroma server, with a copy on this machine."""
