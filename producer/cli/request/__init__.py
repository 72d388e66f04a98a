"""The image request of `darkroom enqueue` and `quote`, from options and the catalog."""
