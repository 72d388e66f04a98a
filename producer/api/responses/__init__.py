"""Responses: problem documents and errors that only HTTP raises."""
