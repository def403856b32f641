"""The thin shell around the core: performs effects, supervises engines, keeps the time. Knows no clients."""
