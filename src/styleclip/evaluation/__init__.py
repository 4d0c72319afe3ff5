"""How edits are judged: by a reader that editing never sees."""
