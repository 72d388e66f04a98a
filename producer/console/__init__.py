"""The console: pages for operators and admins, which `darkroom api` serves at `/console`.

`page_table.py` lists the pages and actions. docs/console.md describes how to add one.
"""
