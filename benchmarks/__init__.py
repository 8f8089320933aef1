"""The numbers that gmc is held to: each module is a script, run as `python -m benchmarks.NAME`."""
