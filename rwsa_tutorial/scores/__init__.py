"""How good is it? Scores of a pair, of many, and how sure they are."""
