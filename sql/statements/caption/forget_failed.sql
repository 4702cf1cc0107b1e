-- What a captioner failed on before and has tried again: the new row takes the place of the old ones.
DELETE FROM captions
USING (SELECT DISTINCT image_id, style, model, prompt_hash FROM read_parquet($part)) AS p
WHERE captions.image_id = p.image_id AND captions.style = p.style AND captions.model = p.model
  AND captions.prompt_hash IS NOT DISTINCT FROM p.prompt_hash AND captions.text IS NULL
