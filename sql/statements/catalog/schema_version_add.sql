INSERT INTO schema_versions VALUES ($version, now()::TIMESTAMP)
