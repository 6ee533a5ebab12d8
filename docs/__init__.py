"""The documentation; `python -m docs` writes the pages that are made from the code."""
