"""From a question to a cited answer: what is asked of which paper, written, verified and quoted."""
