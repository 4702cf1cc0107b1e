-- Where manifests were built, and what was taken down.
CREATE TABLE builds (
    manifest    VARCHAR   NOT NULL,
    fingerprint VARCHAR   NOT NULL,  -- of what the folder held when it was built; a build that dropped samples has its own
    folder      VARCHAR   NOT NULL,  -- absolute path
    samples     BIGINT    NOT NULL,
    dropped     BIGINT    NOT NULL,  -- selected images whose bytes could not be had
    virtual     BOOLEAN   NOT NULL,
    created_at  TIMESTAMP NOT NULL
);
-- Bytes that no image may have any more, under whatever name they come back.
CREATE TABLE removed (
    sha256     VARCHAR   NOT NULL,
    reason     VARCHAR,
    removed_at TIMESTAMP NOT NULL
);
INSERT INTO removed
SELECT sha256, any_value(status_reason), now()::TIMESTAMP
FROM images WHERE status = 'removed' AND sha256 IS NOT NULL GROUP BY sha256;
