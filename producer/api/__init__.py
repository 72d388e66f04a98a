"""The HTTP API over the Python client. `routes.py` lists its routes."""

from producer.api.api_server import serve, serving_api

__all__ = ["serve", "serving_api"]
