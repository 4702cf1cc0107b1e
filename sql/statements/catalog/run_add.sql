INSERT INTO runs (run_id, manifest, config, git_commit, out, started_at)
VALUES ($run_id, $manifest, $config, $git_commit, $out, now()::TIMESTAMP)
