-- A block of ids at a time, so that the joins' hash tables stay small however many images there are.
INSERT INTO {{ name }}.trainable FROM {{ home }}.trainable WHERE image_id BETWEEN $first AND $last ORDER BY image_id
