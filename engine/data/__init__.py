"""From files and generators to validated price tables; `engine.sources` is the door."""
