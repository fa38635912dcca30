"""What made the files in data/ and the outputs of the notebooks. Nothing else needs it."""
