"""Checks and reads the values of settings, by subject. `shared.settings` lists the settings."""
