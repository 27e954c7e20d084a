"""Benchmarks: they print tables and are read by people; nothing of them is a test."""
