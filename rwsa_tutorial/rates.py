"""16 kHz: the sample rate of the network, of its corpora and of the scores."""

SAMPLE_RATE = 16_000
