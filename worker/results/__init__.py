"""Copies the images of jobs into the store of RESULTS_URL, before Kie's links end."""
