"""Tests, stand-ins and the demonstration."""
