-- The tables of the catalog. Ids are dense integers in ingest order: they compress, sort and zone-map well.
-- No primary-key indexes on the large tables: uniqueness is kept by committing every part exactly once.

-- One row per (uri, byte_offset). Two files with the same bytes are two rows with one sha256.
CREATE TABLE images (
    image_id      BIGINT    NOT NULL,
    sha256        VARCHAR,             -- of the bytes, lower-case hex; NULL if they could not be read
    source        VARCHAR   NOT NULL,  -- which of the paper's source kinds, or the user's own word
    uri           VARCHAR   NOT NULL,  -- absolute path, or a URL that fsspec opens
    byte_offset   BIGINT    NOT NULL,  -- 0 for a whole file; where the bytes start inside a tar
    byte_length   BIGINT    NOT NULL,
    format        VARCHAR,             -- jpeg, png, webp, ...
    width         INTEGER,             -- pixels, after EXIF orientation
    height        INTEGER,
    frames        INTEGER,             -- more than 1: animated, and the first composited frame counts
    status        VARCHAR   NOT NULL,  -- ok, ok-warnings, truncated, corrupt, unsupported, too-large, timeout, missing
    status_reason VARCHAR,
    alt_text      VARCHAR,             -- the source's own text
    alt_error     VARCHAR,             -- why its text could not be used, or what was mended in it
    licence       VARCHAR,
    url           VARCHAR,
    ingested_at   TIMESTAMP NOT NULL,
    file_size     BIGINT,              -- bytes of the file and its sidecars (or of the tar) when it was last read,
    file_mtime_ns BIGINT               -- and the latest of their times: where they differ, ingest reads again
);

-- Who measured a column: model, revision and preprocessing. Scores of two scorers are never mixed in silence.
CREATE TABLE scorers (
    scorer_id     INTEGER   NOT NULL,
    metric        VARCHAR   NOT NULL,
    name          VARCHAR   NOT NULL,
    revision      VARCHAR   NOT NULL,
    preprocessing VARCHAR   NOT NULL,
    tier          VARCHAR   NOT NULL,
    created_at    TIMESTAMP NOT NULL
);

-- One row per image. Each metric has three states: NULL (missing), 'failed' (with its reason) and 'scored'.
CREATE TABLE scores (
    image_id   BIGINT NOT NULL,
    nsfw       FLOAT, nsfw_state       VARCHAR, nsfw_error       VARCHAR, nsfw_scorer       INTEGER,
    aesthetic  FLOAT, aesthetic_state  VARCHAR, aesthetic_error  VARCHAR, aesthetic_scorer  INTEGER,
    watermark  FLOAT, watermark_state  VARCHAR, watermark_error  VARCHAR, watermark_scorer  INTEGER,
    clarity    FLOAT, clarity_state    VARCHAR, clarity_error    VARCHAR, clarity_scorer    INTEGER,
    entropy    FLOAT, entropy_state    VARCHAR, entropy_error    VARCHAR, entropy_scorer    INTEGER,
    luminance  FLOAT, luminance_state  VARCHAR, luminance_error  VARCHAR, luminance_scorer  INTEGER,
    phash      UBIGINT                     -- 64-bit perceptual hash, beside the embedding when judging near-duplicates
);

-- Where the vector of an image stands: row `row` of embeddings/MODEL/PART.npy (float16), with a thumbnail at the same
-- row of PART.thumb.npy. A row of -1 failed.
CREATE TABLE embeddings (
    image_id BIGINT  NOT NULL,
    model    VARCHAR NOT NULL,
    part     VARCHAR NOT NULL,
    row      INTEGER NOT NULL,
    error    VARCHAR
);

-- The result of deduplication. An image that is its own keeper is kept; similarity is the cosine to the keeper.
CREATE TABLE clusters (
    image_id   BIGINT NOT NULL,
    cluster_id BIGINT NOT NULL,
    keeper_id  BIGINT NOT NULL,
    similarity FLOAT  NOT NULL,
    reason     VARCHAR,            -- bytes, pixels, embedding; NULL for a keeper
    members    INTEGER             -- images in the cluster, the keeper among them
);

CREATE TABLE captions (
    image_id    BIGINT    NOT NULL,
    style       VARCHAR   NOT NULL,  -- dense, brief, alt
    text        VARCHAR,             -- NULL if captioning failed
    words       INTEGER,
    model       VARCHAR   NOT NULL,
    prompt_hash VARCHAR,
    settings    VARCHAR,             -- sampling settings, as JSON
    tokens      INTEGER,
    cost        DOUBLE,              -- US dollars
    error       VARCHAR,
    created_at  TIMESTAMP NOT NULL
);

CREATE TABLE buckets (
    image_id BIGINT  NOT NULL,
    base     INTEGER NOT NULL,
    aspect   VARCHAR NOT NULL,
    width    INTEGER NOT NULL,
    height   INTEGER NOT NULL
);

CREATE TABLE manifests (
    manifest        VARCHAR   NOT NULL,
    fingerprint     VARCHAR   NOT NULL,  -- sha256 of what it selects, in order
    query           VARCHAR   NOT NULL,
    parameters      VARCHAR   NOT NULL,  -- JSON
    catalog_version BIGINT    NOT NULL,
    samples         BIGINT    NOT NULL,
    virtual         BOOLEAN   NOT NULL,
    created_at      TIMESTAMP NOT NULL
);

CREATE TABLE shards (
    manifest VARCHAR NOT NULL,
    shard    VARCHAR NOT NULL,
    bucket   VARCHAR NOT NULL,
    samples  BIGINT  NOT NULL,
    bytes    BIGINT  NOT NULL,
    sha256   VARCHAR NOT NULL,
    build    VARCHAR NOT NULL   -- builds of one manifest with other shard sizes differ
);

CREATE TABLE taxonomy (
    item_id     INTEGER NOT NULL,
    category    VARCHAR NOT NULL,
    subcategory VARCHAR NOT NULL,
    item        VARCHAR NOT NULL
);

CREATE TABLE rl_prompts (
    prompt_id   INTEGER NOT NULL,
    item_id     INTEGER NOT NULL,
    dimensions  VARCHAR[] NOT NULL,
    prompt      VARCHAR,
    model       VARCHAR,
    prompt_hash VARCHAR,
    error       VARCHAR,
    created_at  TIMESTAMP
);

CREATE TABLE rubrics (
    prompt_id   INTEGER NOT NULL,
    rubric_no   INTEGER NOT NULL,
    text        VARCHAR NOT NULL,
    is_global   BOOLEAN NOT NULL,
    model       VARCHAR,
    prompt_hash VARCHAR,
    created_at  TIMESTAMP
);

-- The ledger of paid model calls.
CREATE TABLE llm_calls (
    request_hash  VARCHAR   NOT NULL,
    model         VARCHAR   NOT NULL,
    response      VARCHAR,
    input_tokens  BIGINT,
    output_tokens BIGINT,
    cost          DOUBLE,
    status        VARCHAR   NOT NULL,
    error         VARCHAR,
    created_at    TIMESTAMP NOT NULL
);

CREATE TABLE runs (
    run_id     VARCHAR   NOT NULL,
    manifest   VARCHAR,
    config     VARCHAR   NOT NULL,
    git_commit VARCHAR,
    out        VARCHAR   NOT NULL,
    started_at TIMESTAMP NOT NULL
);

CREATE TABLE rewards (
    run_id       VARCHAR NOT NULL,
    step         BIGINT  NOT NULL,
    prompt_id    INTEGER NOT NULL,
    image_sha256 VARCHAR NOT NULL,
    rubric_no    INTEGER NOT NULL,
    verdict      BOOLEAN,
    judge        VARCHAR NOT NULL,
    error        VARCHAR
);

-- What has been committed. A part id stands here exactly once, written in the transaction that stored its rows;
-- `version` counts the catalog's states.
CREATE TABLE parts (
    version      BIGINT    NOT NULL,
    part_id      VARCHAR   NOT NULL PRIMARY KEY,
    stage        VARCHAR   NOT NULL,
    rows         BIGINT    NOT NULL,
    committed_at TIMESTAMP NOT NULL
);
