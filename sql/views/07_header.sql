-- What is judged of an image by its header alone: a macro NAME_of for each such metric of the registry.
CREATE OR REPLACE MACRO area_of(width, height) AS width::BIGINT * height;

-- Long side over short side, 1 up.
CREATE OR REPLACE MACRO elongation_of(width, height) AS
    greatest(width, height)::DOUBLE / nullif(least(width, height), 0);

-- The folder of a file; of an image inside a tar or a table the folder of that file. Also of a URL.
CREATE OR REPLACE MACRO folder_of(uri) AS regexp_extract(uri, '^(.*)/[^/]*$', 1)
