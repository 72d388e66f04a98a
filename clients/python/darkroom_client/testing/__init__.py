"""A Darkroom in memory with a scripted Kie, for the tests of services."""

from darkroom_client.testing.memory_darkroom import InMemoryDarkroom
from darkroom_client.testing.scripted_kie import Outcome, ScriptedKie
from darkroom_client.testing.webhooks.webhook_sender import SentWebhook

__all__ = ["InMemoryDarkroom", "Outcome", "ScriptedKie", "SentWebhook"]
