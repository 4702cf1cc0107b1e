-- What the name of a manifest was given to.
SELECT fingerprint FROM manifests WHERE manifest = $manifest
