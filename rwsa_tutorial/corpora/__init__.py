"""Corpora: gathering, rendering and mixing of speech and noise."""
