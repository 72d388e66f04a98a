"""The console: pages for operators and admins, which `darkroom api` serves at `/console`.

`page_table.py` lists the pages and actions. docs/console.md describes how to add one.
"""

# The API serves the console, and each uses modules of the other: either may be imported first.
import producer.api  # noqa: F401
