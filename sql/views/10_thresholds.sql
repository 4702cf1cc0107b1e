-- The defaults of a selection, in the units of the columns. min_area and min_aesthetic are the paper's (section 2.1);
-- the paper gives no number for the others, so those are ours: docs/thresholds.md says how they were chosen.
CREATE OR REPLACE VIEW thresholds AS
SELECT
    384 * 384    AS min_area,       -- pixels: an area, not a side
    0.5::DOUBLE  AS max_nsfw,       -- probability
    3.0::DOUBLE  AS min_aesthetic,  -- about 1-10
    0.75::DOUBLE AS max_watermark,  -- probability
    20.0::DOUBLE AS min_clarity,    -- variance of the Laplacian at the working side
    1.0::DOUBLE  AS min_entropy,    -- bits, 0-8
    0.05::DOUBLE AS min_luminance,  -- mean of HSV's V, 0-1
    0.98::DOUBLE AS max_luminance
