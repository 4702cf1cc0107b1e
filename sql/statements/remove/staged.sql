-- What an ingest that was killed noted of the same bytes in other places.
UPDATE staged SET alt_text = NULL, brief_text = NULL, dense_text = NULL, url = NULL
WHERE sha256 IN (SELECT sha256 FROM removed)
