"""Texts that come with images: their encoding, their values, and tables of them beside the images."""
