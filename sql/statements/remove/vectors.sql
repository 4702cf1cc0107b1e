SELECT model, part, row FROM embeddings WHERE list_contains($ids, image_id) AND row >= 0
