CREATE TABLE {{ name }}.trainable AS FROM {{ home }}.trainable LIMIT 0
