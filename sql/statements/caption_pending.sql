SELECT i.image_id, i.uri, i.byte_offset, i.byte_length, i.alt_text, i.alt_error
FROM images i
WHERE i.status IN ('ok', 'ok-warnings')
  AND NOT EXISTS (
    SELECT 1 FROM captions c
    WHERE c.image_id = i.image_id AND c.style = $style AND c.model = $model
      AND c.prompt_hash IS NOT DISTINCT FROM $prompt_hash
      AND (c.text IS NOT NULL OR NOT $retry)
  )
ORDER BY i.image_id
