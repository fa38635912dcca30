"""The building blocks of the network, one module an idea. Images are (B, C, T, F)."""
