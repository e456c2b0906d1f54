"""Lossarium: which loss function makes the best pictures from your data, with evidence."""

__version__ = "0.1.0"
