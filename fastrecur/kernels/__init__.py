"""Compiled loops, and the equations that they are checked against."""
