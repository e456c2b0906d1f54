"""Applying a trained model: frames of one identity in, the same frames with the other's face out."""
