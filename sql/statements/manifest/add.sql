INSERT INTO manifests VALUES
($manifest, $fingerprint, $query, $parameters, $catalog_version, $samples, $virtual, now()::TIMESTAMP)
