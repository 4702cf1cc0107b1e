-- Captions per style and model: how many, their mean and longest length in words, failures.
SELECT style, model, count(text) AS captions, round(avg(words), 1) AS mean_words, max(words) AS most_words,
       count(error) AS failures
FROM captions GROUP BY style, model ORDER BY captions DESC
