-- Metrics whose column holds the scores of more than one scorer, among readable images.
UNPIVOT (
    SELECT
        list_sort(list(DISTINCT nsfw_scorer)      FILTER (nsfw_state = 'scored'))      AS nsfw,
        list_sort(list(DISTINCT aesthetic_scorer) FILTER (aesthetic_state = 'scored')) AS aesthetic,
        list_sort(list(DISTINCT watermark_scorer) FILTER (watermark_state = 'scored')) AS watermark,
        list_sort(list(DISTINCT clarity_scorer)   FILTER (clarity_state = 'scored'))   AS clarity,
        list_sort(list(DISTINCT entropy_scorer)   FILTER (entropy_state = 'scored'))   AS entropy,
        list_sort(list(DISTINCT luminance_scorer) FILTER (luminance_state = 'scored')) AS luminance
    FROM scores JOIN images USING (image_id)
    WHERE status IN ('ok', 'ok-warnings')
) ON nsfw, aesthetic, watermark, clarity, entropy, luminance INTO NAME metric VALUE scorers
