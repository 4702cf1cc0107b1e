-- The catalog's folder, with its final slash: what `located` puts before the places of its own files.
SET VARIABLE lens_root = $root
