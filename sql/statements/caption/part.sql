INSERT INTO captions
SELECT
    image_id, style, text, len(regexp_extract_all(text, '\S+')), model, prompt_hash, settings, tokens, cost, error,
    now()::TIMESTAMP
FROM read_parquet($part)
