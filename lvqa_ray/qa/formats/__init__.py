"""Formats of replies: parsing and rendering of questions, answers, reasons, analyses."""
