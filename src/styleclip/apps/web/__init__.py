"""The page, for who writes no Python: `serve` starts it; `page`, `api` and `telling` know gradio."""
