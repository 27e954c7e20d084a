"""The model as a reader of papers: in this process or on servers; what it has read is kept."""
