UPDATE scorers SET in_use = list_contains($ids, scorer_id)
