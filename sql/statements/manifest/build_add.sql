INSERT INTO builds VALUES ($manifest, $fingerprint, $folder, $samples, $dropped, $virtual, now()::TIMESTAMP)
