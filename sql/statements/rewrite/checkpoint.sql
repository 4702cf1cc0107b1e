-- All that was committed into the file itself, so that no log is left that a later opening would add to it.
FORCE CHECKPOINT
