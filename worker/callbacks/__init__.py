"""Kie's callbacks: received, stored, and used as hints that record-info must confirm."""
