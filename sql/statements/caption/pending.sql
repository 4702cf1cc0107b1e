-- Readable images without a caption of the style by this captioner; with $retry also those it failed on. With $offered
-- only those whose source gives a text of the style, and no captioner has yet. The brief and the dense text come along
-- only for their own style, since the rows are held in memory. Of the ids above $after and up to $until.
SELECT
    i.image_id, located(i.uri) AS uri, i.byte_offset, i.byte_length, i.alt_text, i.alt_error,
    CASE WHEN $style = 'brief' THEN i.brief_text END AS brief_text,
    CASE WHEN $style = 'dense' THEN i.dense_text END AS dense_text
FROM images i
WHERE i.image_id > $after AND i.image_id <= $until AND i.status IN ('ok', 'ok-warnings')
  AND (
    NOT $offered
    OR CASE $style WHEN 'brief' THEN i.brief_text WHEN 'dense' THEN i.dense_text ELSE i.alt_text END IS NOT NULL
  )
  AND NOT EXISTS (
    SELECT 1 FROM captions c
    WHERE c.image_id > $after AND c.image_id <= $until AND c.image_id = i.image_id AND c.style = $style
      AND (
        (
            c.model = $model AND c.prompt_hash IS NOT DISTINCT FROM $prompt_hash
            AND (c.text IS NOT NULL OR NOT $retry)
        )
        OR ($offered AND c.text IS NOT NULL)
      )
  )
ORDER BY i.image_id
