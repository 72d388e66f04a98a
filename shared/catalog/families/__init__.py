"""The model families, one module each; every module exports `FAMILY`."""
