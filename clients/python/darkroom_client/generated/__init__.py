"""What `make types` writes: the OpenAPI document of Darkroom as Python."""
