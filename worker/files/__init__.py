"""Uploaded images of queued jobs: renewed before Kie deletes them, named by their present URLs."""
