-- Captions of one style by their words, in bins of $width words; the last of $bins takes all that is longer.
SELECT least($bins - 1, words // $width)::INTEGER AS bin, count(*) AS images, count(*) AS kept, 0 AS dropped
FROM captions WHERE style = $style AND text IS NOT NULL
GROUP BY bin ORDER BY bin
