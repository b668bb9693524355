"""Checks of questions, one module each."""
