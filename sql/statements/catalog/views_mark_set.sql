COMMENT ON VIEW trainable IS '{{ hash }}'
