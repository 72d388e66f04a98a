"""The fixtures that the client gives to the tests of services."""

from darkroom_client.pytest_plugin import darkroom, darkroom_kie

__all__ = ["darkroom", "darkroom_kie"]
