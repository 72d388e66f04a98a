"""Lanes of arq deliveries: claims under a lease, wake-ups, periodic work. Import by
absolute names.
"""
