"""The console through a real pseudo-terminal, read back by an emulator (pyte)."""
