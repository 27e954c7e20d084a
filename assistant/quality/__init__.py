"""How good answers and searches are: measured, reported, and beside a baseline."""
