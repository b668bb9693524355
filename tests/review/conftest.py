"""The browser of the tests of the report."""

from tests.report.conftest import chromium

__all__ = ["chromium"]
