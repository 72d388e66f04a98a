"""Acts on many jobs at once: their selection, the cancel and the retry."""
