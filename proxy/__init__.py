"""The agent proxy."""

__version__ = "0.1.0"
