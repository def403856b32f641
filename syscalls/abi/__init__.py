"""The boundary as data: words, errors, messages and the table of calls. Pure; no IO."""
