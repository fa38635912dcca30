"""Are these different domains? What is measured of corpora, and how far they lie apart."""
