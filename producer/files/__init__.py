"""Uploads images of callers to Kie, and records them."""
