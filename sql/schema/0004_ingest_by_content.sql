-- An id belongs to its bytes, wherever they lie. What ingest meets is matched with what it misses when all is listed;
-- until then it is noted here.
CREATE TABLE arrivals (  -- images with new bytes that nobody has looked for among the missing yet
    image_id BIGINT NOT NULL,
    replaces BIGINT            -- itself, if it was there before, without bytes that can be read
);
CREATE TABLE retired (
    image_id BIGINT NOT NULL,  -- an id that is given no more,
    became   BIGINT NOT NULL   -- since its image proved to be this one, moved
);
-- Images in the place of others, or in a tar that is known from before: they get an id once they are matched.
CREATE TABLE staged AS
SELECT 0::BIGINT AS ordinal, 0::BIGINT AS replaces, * EXCLUDE (image_id, ingested_at) FROM images LIMIT 0;
ALTER TABLE images ADD COLUMN passing BOOLEAN;  -- the storage did not answer: the next ingest reads it again
ALTER TABLE staged ADD COLUMN passing BOOLEAN;
-- What the catalog keeps itself (imported/, downloads/) is known by its place in the catalog, which may be moved.
UPDATE images SET uri = 'catalog:' || substr(uri, len(getvariable('lens_root')) + 1)
WHERE starts_with(uri, getvariable('lens_root') || 'imported/') OR starts_with(uri, getvariable('lens_root') || 'downloads/');
-- Where the bytes of a uri are. The variable is set with every connection of Lens's; elsewhere the uri stays as it is.
CREATE MACRO located(uri) AS CASE
    WHEN starts_with(uri, 'catalog:') AND getvariable('lens_root') IS NOT NULL
        THEN getvariable('lens_root') || substr(uri, 9)
    ELSE uri
END;
