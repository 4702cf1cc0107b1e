"""A world with known truth: scenes of coloured shapes, their pictures, exact captions, and a verifier.

`scene` samples scenes, `render` draws them, `caption` says what is in them, `spec` is what a text asserts,
`verify` checks an assertion against pixels alone, `prompts` makes the six tasks, `world` writes a folder.
"""
