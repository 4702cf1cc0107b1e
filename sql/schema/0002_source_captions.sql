-- What a source may give of an image beside alt_text. Where a file was read before this, NULL until it is read again.
ALTER TABLE images ADD COLUMN brief_text VARCHAR;  -- a brief caption
ALTER TABLE images ADD COLUMN dense_text VARCHAR;  -- a dense one
