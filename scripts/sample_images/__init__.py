"""The parts of scripts/fetch-images: where the quickstart's real images come from."""
