"""Prunes data of ended jobs by age, and erases the prompts of an account."""
