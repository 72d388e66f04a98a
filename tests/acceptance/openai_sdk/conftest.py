"""Leaves out the tests of the SDK for Node on a machine without Node."""

from __future__ import annotations

import shutil

collect_ignore = [] if shutil.which("node") else ["test_node_sdk.py"]
