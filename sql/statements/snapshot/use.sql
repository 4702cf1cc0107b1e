-- Takes the place of the view of this name in everything that the connection runs, the other views among it.
CREATE OR REPLACE TEMP VIEW trainable AS FROM {{ name }}.trainable
