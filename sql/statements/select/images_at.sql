-- The images that a person may mean by a place: a path or URL itself, the URL that an image was downloaded from, and
-- with $within what ends in it. A tar or table gives all its images. One more than $most says that there are more.
SELECT image_id
FROM images
WHERE list_contains($places, located(uri)) OR list_contains($places, url)
    OR ($within AND ends_with(located(uri), '/' || $ending))
ORDER BY image_id
LIMIT $most + 1
