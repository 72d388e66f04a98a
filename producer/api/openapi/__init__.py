"""The OpenAPI document, and the routes that serve it."""
