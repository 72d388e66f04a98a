"""The HTTP API: a thin way to the same client; `routes.py` lists what there is."""

from producer.api.api_server import serve, serving_api

__all__ = ["serve", "serving_api"]
