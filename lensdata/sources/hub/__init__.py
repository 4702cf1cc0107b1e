"""Hugging Face datasets, streamed."""
