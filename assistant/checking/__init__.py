"""Whether a paper says what a sentence says, and which of its sentences do. Pure, no model."""
