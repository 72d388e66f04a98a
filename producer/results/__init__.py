"""Copies of images: finds, reads and deletes them."""
