"""How the mini corpora are made: texts, voices, noises, rooms, and what goes into which split."""
