"""Model files: which there are, how they come here, and that they are what they should be."""
