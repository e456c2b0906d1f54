"""The report for people: one self-contained `report.html`."""

from lossarium.report.html import render, write

__all__ = ["render", "write"]
