"""The bytes of an image: where they are, tars that hold them, and whether they are still the ones that are known."""
