"""Apply a trained model: swap the face in frames of one identity for the other identity's face."""
