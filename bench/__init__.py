"""Measurements against other libraries and on real data: see README.md in this folder."""
