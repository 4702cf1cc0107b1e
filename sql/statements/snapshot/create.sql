CREATE TABLE {{ name }}.trainable AS FROM main.trainable LIMIT 0
