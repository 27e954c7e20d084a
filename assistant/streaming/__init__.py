"""Questions as streams of events: one worker, a fair queue, and an end at any moment."""
