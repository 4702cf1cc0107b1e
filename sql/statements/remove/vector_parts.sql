SELECT DISTINCT model, part FROM embeddings WHERE row >= 0
