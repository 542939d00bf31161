"""The manual: the recipe that builds it (`python -m tests.manual`), and the tests that run what it shows."""
