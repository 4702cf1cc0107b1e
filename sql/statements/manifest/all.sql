-- All manifests, in the order in which they were made.
SELECT manifest, fingerprint, samples, virtual, created_at FROM manifests ORDER BY created_at, manifest
