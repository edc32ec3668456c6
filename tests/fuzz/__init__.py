"""Readers fed with what nobody thought of; `make fuzz` runs it, tests/fuzz/kept is what it found.

`targets` are functions of bytes that raise where something does not hold, `__main__` drives them
with atheris (libFuzzer), `test_kept` replays what is kept, without atheris.
"""
