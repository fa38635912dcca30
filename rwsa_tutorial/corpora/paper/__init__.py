"""The three corpora of the paper: fetched from their sources, checked, and built."""
