"""Tables of images: Parquet and Arrow files, and datasets that `datasets` saved."""
